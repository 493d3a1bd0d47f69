"""`fv2v …` on the command line. A user's mistake is one line on stderr and exit code 2.

Each command imports what it runs: torch takes seconds, and `--help` should not.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fv2v.cli import bench as cli_bench
from fv2v.cli import demo as cli_demo
from fv2v.cli import evaluate as cli_evaluate
from fv2v.cli import export as cli_export
from fv2v.cli import inspect as cli_inspect
from fv2v.cli import reenact as cli_render
from fv2v.cli import render as cli_motion
from fv2v.cli import synthesize as cli_data
from fv2v.cli import train as cli_train
from fv2v.cli.tables import print_table

# of click, or of the copy of click that typer has of its own
USAGE_ERROR: Any = typer.BadParameter.__base__
INTERRUPTED = 130  # as shells count: 128 + SIGINT

app = typer.Typer(
    help="Talking heads from one portrait: face-vid2vid on fused CUDA, Triton and CPU kernels.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.command()(cli_demo.demo)
for command in (cli_render.reenact, cli_render.imitate, cli_render.talk, cli_render.frontalize):
    app.command()(command)
app.command()(cli_motion.extract)
app.command()(cli_motion.render)
app.command()(cli_inspect.inspect)
app.command()(cli_export.export)
app.command()(cli_data.synthesize)
app.command()(cli_train.train)
app.command()(cli_evaluate.evaluate)


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
def info(
    preset: Annotated[
        str | None,
        typer.Argument(metavar="[PRESET]", help="One of them, with all of its config.", show_default=False),
    ] = None,
) -> None:
    """The presets: sizes and conventions, parameters and GFLOP of each; or one of them, whole."""
    from fv2v.diagnostics.info import preset_tables, tables
    from fv2v.presets import preset as find_preset

    for table in tables() if preset is None else preset_tables(find_preset(preset)):
        print_table(table)


@app.command()
def doctor() -> None:
    """What is installed, and which kernels each operator would use here, and why."""
    from fv2v.diagnostics.doctor import tables

    for table in tables():
        print_table(table)


app.command()(cli_bench.bench)


def main() -> None:
    """The `fv2v` command."""
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="fv2v", standalone_mode=False)
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
    sys.exit(code)


def _complain(message: str) -> int:
    """One line: of a list of faults the heading, the first, and how many there are. Returns the exit code."""
    first, *rest = message.strip().splitlines()
    if rest:
        first = f"{first} {rest[0].strip()}" + (f" (and {len(rest) - 1} more)" if len(rest) > 1 else "")
    typer.echo(f"fv2v: {first}", err=True)
    return 2
