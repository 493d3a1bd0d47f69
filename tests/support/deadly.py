# SPDX-License-Identifier: Apache-2.0
"""What ends the process that calls it; a module of its own, which a new process imports quickly."""

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn


def dies(words: Sequence[str]) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL cannot be survived")


def dies_of_some(words: Sequence[str]) -> Any:
    """Of the command `dies`; others are carried out."""
    from fv2v.cli.rows import call_of

    return dies(words) if words[0] == "dies" else call_of(words)


def dies_now_and_then(words: Sequence[str]) -> Any:
    """Soon after it begins a clip whose number ends in 0, 3, 6 or 9, once each: ID.tried is there then."""
    from fv2v.cli.rows import call_of

    call = call_of(words)
    clip: Path = call.arguments["output"]
    mark = clip.with_suffix(".tried")
    if clip.stem[-1] in "0369" and not mark.exists():
        mark.touch()
        threading.Timer(0.01 * int(clip.stem[-1]), os.kill, (os.getpid(), signal.SIGKILL)).start()
    return call
