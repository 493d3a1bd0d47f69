"""`fv2v …` on the command line. A user's mistake is one line on stderr and exit code 2.

Each command imports what it runs: torch takes seconds, and `--help` should not.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fv2v import cli_export, cli_render

# of click, or of the copy of click that typer has of its own
USAGE_ERROR: Any = typer.BadParameter.__base__
INTERRUPTED = 130  # as shells count: 128 + SIGINT

app = typer.Typer(
    help="Talking heads from one portrait: face-vid2vid on fused CUDA, Triton and CPU kernels.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


for command in (cli_render.reenact, cli_render.imitate, cli_render.talk, cli_render.frontalize):
    app.command()(command)
app.command()(cli_export.export)


@app.command()
def convert(
    source: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="A release's file, its files or the folder with them, or a .safetensors of ours.",
            show_default=False,
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET",
            help="What to write: a .safetensors; or what the weights' release has, a .pth.tar or a folder.",
            show_default=False,
        ),
    ],
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help="Refuse the weights unless they are of this preset.")
    ] = None,
) -> None:
    """Turn a release's weights into a .safetensors that knows its preset: safe to share, quick to load.

    And back: every tensor stays as it is, bit for bit.
    """
    from fv2v.checkpoints import convert as run

    typer.echo(f"{target}: {run(source, target, preset).name}")


@app.command()
def info() -> None:
    """The presets: sizes and conventions, parameters and GFLOP of each."""
    from fv2v.info import tables

    for table in tables():
        _print(table)


@app.command()
def doctor() -> None:
    """What is installed, and which kernels each operator would use here, and why."""
    from fv2v.doctor import tables

    for table in tables():
        _print(table)


@app.command()
def bench(
    quick: Annotated[
        bool, typer.Option("--quick/--full", help="A rough answer in about a minute, or the real numbers.")
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Older results (JSON of `pytest benches --benchmark-json FILE`): adds how many times faster "
            "each benchmark has become.",
        ),
    ] = None,
) -> None:
    """Time every operator against stock PyTorch, and the whole frame. Runs in a checkout of the project."""
    from fv2v import bench_table

    older = bench_table.load(against) if against else None
    results = bench_table.run(quick=quick)
    title = bench_table.machine(results) + (f", against {bench_table.machine(older)}" if older else "")
    rows = bench_table.read_rows(results, older)
    _print(bench_table.table(rows, title=title, compares=older is not None))


def main() -> None:
    """The `fv2v` command."""
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="fv2v", standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
    except USAGE_ERROR as error:
        code = _complain(error.format_message())
    except (typer.Abort, KeyboardInterrupt):
        _complain("interrupted; nothing was written")
        code = INTERRUPTED
    except (ValueError, OSError) as error:
        code = _complain(str(error))
    except RuntimeError as error:  # torch's own class for this is newer than the oldest torch supported
        if not any(words in str(error) for words in ("out of memory", "allocate memory")):
            raise
        code = _complain("out of memory; try a smaller --batch-size, --dtype float16 or --device cpu")
    sys.exit(code)


def _complain(message: str) -> int:
    """One line: of a list of faults the heading, the first, and how many there are. Returns the exit code."""
    first, *rest = message.strip().splitlines()
    if rest:
        first = f"{first} {rest[0].strip()}" + (f" (and {len(rest) - 1} more)" if len(rest) > 1 else "")
    typer.echo(f"fv2v: {first}", err=True)
    return 2


def _print(table: Table) -> None:
    """As wide as the terminal; uncut where there is none, for files and pipes."""
    Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160).print(table)
