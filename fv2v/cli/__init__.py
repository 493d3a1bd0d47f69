# SPDX-License-Identifier: Apache-2.0
"""`fv2v …` on the command line: a module for each command. A user's mistake is one line and exit code 2.

Each command imports what it runs when it runs: torch takes seconds, and `--help` should not.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer

from fv2v.cli import (
    bandwidth,
    batch,
    bench,
    call,
    convert,
    decode,
    demo,
    doctor,
    encode,
    evaluate,
    export,
    extract,
    info,
    inspect,
    live,
    preprocess,
    reenact,
    render,
    serve,
    stills,
    synthesize,
    talk,
    train,
)
from fv2v.cli.calls import carried_out
from fv2v.cli.groups import spell_out
from fv2v.cli.help import GroupedHelp
from fv2v.cli.notes import forget_waiting, tell_waiting
from fv2v.cli.printable import printable

# of click, or of the copy of click that typer has of its own
USAGE_ERROR: Any = typer.BadParameter.__base__
INTERRUPTED = 128 + signal.SIGINT  # as shells count

app = typer.Typer(
    help="Talking heads from one portrait: face-vid2vid on fused CUDA, Triton and CPU kernels.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its boxes leave the words a quarter of the line
)
for _command in (  # in the order of `fv2v --help`
    demo.demo,
    carried_out(reenact.reenact),
    stills.imitate,
    carried_out(talk.talk),
    stills.frontalize,
    extract.extract,
    carried_out(render.render),
    batch.batch,
    encode.encode,
    carried_out(decode.decode),
    live.live,
    call.call,
    inspect.inspect,
    export.export,
    serve.serve,
    preprocess.preprocess,
    synthesize.synthesize,
    train.train,
    evaluate.evaluate,
    bandwidth.bandwidth,
    convert.convert,
    info.info,
    doctor.doctor,
    bench.bench,
):
    app.command(cls=GroupedHelp)(spell_out(_command))


def _print_version(wanted: bool) -> None:
    if wanted:
        from fv2v import __version__

        typer.echo(f"fv2v {__version__}")
        raise typer.Exit


@app.callback()
def _before_commands(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options of `fv2v` itself."""


def main() -> None:
    """The `fv2v` command."""
    with _sigterm_as_sigint() as terminations:
        code = _run()
    sys.exit(128 + terminations[0] if code == INTERRUPTED and terminations else code)


@contextmanager
def _sigterm_as_sigint() -> Iterator[list[int]]:
    """SIGTERM interrupts the block as Ctrl-C does; what is yielded then holds its number."""
    arrived: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        arrived.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # where Python handles no signals
        yield arrived
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield arrived
    finally:
        signal.signal(signal.SIGTERM, before)


def _run() -> int:
    """Run the command line; the exit code."""
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="fv2v", standalone_mode=False)
        tell_waiting()
        if code == INTERRUPTED:
            raise KeyboardInterrupt
    except USAGE_ERROR as error:
        code = _complain(error.format_message())
    except (typer.Abort, KeyboardInterrupt):
        _complain("interrupted; no file was left half written")
        code = INTERRUPTED
    except (ValueError, OSError) as error:
        code = _complain(str(error))
    except RuntimeError as error:  # torch's own class for this is newer than the oldest torch supported
        if not any(words in str(error) for words in ("out of memory", "allocate memory")):
            raise
        code = _complain("out of memory; try a smaller --batch-size, --dtype float16 or --device cpu")
    return code or 0


def _complain(message: str) -> int:
    """One line: of a list of faults the heading, the first, and how many there are. Returns the exit code."""
    forget_waiting()
    first, *rest = message.strip().split("\n")
    if rest:
        first = f"{first} {rest[0].strip()}" + (f" (and {len(rest) - 1} more)" if len(rest) > 1 else "")
    typer.echo(f"fv2v: {printable(first)}", err=True)
    return 2
