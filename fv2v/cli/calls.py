# SPDX-License-Identifier: Apache-2.0
"""Commands that say what is to be run, as a `Call`: by themselves they run it, `fv2v batch` runs many."""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fv2v.cli.printable import printable
from fv2v.jobs.call import Call

if TYPE_CHECKING:  # numpy and OpenCV need not be imported for `--help`
    from fv2v.io.kept_pictures import KeptPictures

SAME_PICTURES = ("output", "overwrite", "keep_partial", "resume")  # options that change none


def carried_out(command: Callable[..., Call]) -> Callable[..., None]:
    """`command`, after which its call is run, under a bar, and its report printed.

    It has an argument `film`, a `VideoOutput`, and its call one that is named `output`.
    """

    @wraps(command)
    def run(**options: Any) -> None:
        from fv2v.cli.progress import film_progress, print_report

        call, film = command(**options), options["film"]
        resume = None
        if film.resume:
            resume = _kept_pictures(command.__name__, options, call.arguments["output"])
        try:
            with film_progress() as (progress, ask):
                report = call.run(
                    progress=progress,
                    keep_partial=film.keep_partial or ask,
                    resume=resume,
                    **call.arguments,
                    **call.model,
                )
        except (KeyboardInterrupt, typer.Abort):  # this one ends the question
            _tell_where_it_goes_on(resume)
            raise
        print_report(report)
        if report.interrupted:
            _tell_where_it_goes_on(resume)
            raise KeyboardInterrupt

    return run


def _kept_pictures(command: str, options: Mapping[str, Any], output: Path) -> "KeptPictures":
    """Those of the film that a command line asks for, and a line of what is there."""
    from fv2v import __version__
    from fv2v.io.kept_pictures import KeptPictures
    from fv2v.jobs.key import Contents, key_of

    stated: dict[str, Any] = {"version": __version__}
    for name, value in options.items():
        stated |= vars(value) if is_dataclass(value) else {name: value}
    stated = {name: value for name, value in stated.items() if name not in SAME_PICTURES}
    key, _ = key_of(command, stated, Contents())
    kept = KeptPictures(output, key)
    if kept.are_others:
        _tell(f"{kept.folder}: of other inputs or options, or another version; made anew")
    elif kept.count:
        _tell(f"{kept.folder}: {kept.count} pictures are made; going on after them")
    return kept


def _tell_where_it_goes_on(kept: "KeptPictures | None") -> None:
    if kept is not None and kept.count:
        _tell(f"{kept.folder}: {kept.count} pictures are kept; the same command goes on after them")


def _tell(note: str) -> None:
    typer.echo(f"fv2v: note: {printable(note)}", err=True)
