# SPDX-License-Identifier: Apache-2.0
"""Commands that say what is to be run, as a `Call`: by themselves they run it, `fv2v batch` runs many."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from fv2v.jobs.call import Call


def carried_out(command: Callable[..., Call]) -> Callable[..., None]:
    """`command`, after which its call is run, under a bar, and its report printed."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        from fv2v.cli.progress import frame_progress, print_report

        call = command(*arguments, **options)
        with frame_progress() as progress:
            report = call.run(progress=progress, **call.arguments, **call.model)
        print_report(report)

    return run
