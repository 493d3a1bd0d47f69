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

from fv2v.options import BatchSize, Crop, Device, Dtype, Portrait, Preset, Video, Weights

# of click, or of the copy of click that typer has of its own
USAGE_ERROR: Any = typer.BadParameter.__base__
DEGREES, WALK = "DEGREES", "so many degrees in place of the driver's, or a walk through them, as -30,0,30."
INTERRUPTED = 130  # as shells count: 128 + SIGINT

app = typer.Typer(
    help="Talking heads from one portrait: face-vid2vid on fused CUDA, Triton and CPU kernels.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def reenact(
    portrait: Portrait,
    driving: Annotated[
        Path,
        typer.Argument(
            metavar="DRIVING", help="Video of the face whose motion is taken.", show_default=False
        ),
    ],
    output: Video,
    weights: Weights = None,
    preset: Preset = None,
    relative: Annotated[
        bool | None,
        typer.Option(
            "--relative/--absolute",
            help="--relative adds the driver's movement since the first frame to the portrait's own pose, so "
            "the portrait keeps its place and build; --absolute takes the driver's pose as it is. By default "
            "what the preset's release does.",
            show_default=False,
        ),
    ] = None,
    yaw: Annotated[float | None, typer.Option(help="Turn the head to its side by so many degrees.")] = None,
    pitch: Annotated[float | None, typer.Option(help="Nod the head by so many degrees.")] = None,
    roll: Annotated[float | None, typer.Option(help="Tilt the head by so many degrees.")] = None,
    view_mode: Annotated[
        str,
        typer.Option(
            metavar="compose|replace",
            help="compose turns the head by those angles from where the driver has it; replace holds it "
            "at them.",
        ),
    ] = "compose",
    adapt_scale: Annotated[
        bool,
        typer.Option(
            "--adapt-scale",
            help="With --relative: scale the driver's movement to the portrait's size of face.",
        ),
    ] = False,
    frames: Annotated[
        int | None,
        typer.Option("--frames", "-n", help="Stop after so many frames; the sound is cut to match."),
    ] = None,
    crop: Crop = True,
    batch_size: BatchSize = 1,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Move PORTRAIT as the face in DRIVING moves, and write the video: same frames, time stamps and sound."""
    from fv2v.files import reenact as run
    from fv2v.geometry import View
    from fv2v.progress import frame_progress

    turned = any(angle is not None for angle in (pitch, yaw, roll))
    view = View(pitch=pitch, yaw=yaw, roll=roll, mode=view_mode)  # also refuses a mode there is not
    with frame_progress() as progress:
        report = run(
            portrait,
            driving,
            output,
            _preset(preset, weights),
            weights=_weights(weights),
            relative=relative,
            view=view if turned else None,
            adapt_scale=adapt_scale,
            frames=frames,
            crop=crop,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            progress=progress,
        )
    typer.echo(report)


@app.command()
def talk(
    portrait: Portrait,
    coefficients: Annotated[
        Path,
        typer.Argument(
            metavar="COEFFICIENTS",
            help="The driver's 3DMM coefficients: SadTalker's .mat, or .npy or .npz; a row a frame.",
            show_default=False,
        ),
    ],
    output: Video,
    source_coefficients: Annotated[
        Path,
        typer.Option(metavar="FILE", help="The portrait's own; its first row counts.", show_default=False),
    ],
    weights: Weights = None,
    preset: Preset = None,
    still: Annotated[
        bool, typer.Option("--still", help="Hold the head where the portrait has it; only the face moves.")
    ] = False,
    expression_scale: Annotated[float, typer.Option(help="How strong the driver's expression is.")] = 1.0,
    yaw: Annotated[str | None, typer.Option(metavar=DEGREES, help=f"Turn of the head: {WALK}")] = None,
    pitch: Annotated[str | None, typer.Option(metavar=DEGREES, help=f"Nod of the head: {WALK}")] = None,
    roll: Annotated[str | None, typer.Option(metavar=DEGREES, help=f"Tilt of the head: {WALK}")] = None,
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 25.0,
    crop: Crop = True,
    batch_size: BatchSize = 1,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Move PORTRAIT by 3DMM COEFFICIENTS, as SadTalker does, and write the video: a frame a row, no sound."""
    from fv2v.files import talk as run
    from fv2v.progress import frame_progress

    with frame_progress() as progress:
        report = run(
            portrait,
            coefficients,
            output,
            _preset(preset, weights, "sadtalker-256"),
            source_coefficients=source_coefficients,
            weights=_weights(weights),
            still=still,
            expression_scale=expression_scale,
            pitch=_degrees("pitch", pitch),
            yaw=_degrees("yaw", yaw),
            roll=_degrees("roll", roll),
            fps=fps,
            crop=crop,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            progress=progress,
        )
    typer.echo(report)


@app.command()
def frontalize(
    portrait: Portrait,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Picture to write: .png, .jpg or .webp.", show_default=False),
    ],
    weights: Weights = None,
    preset: Preset = None,
    crop: Crop = True,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Turn the face in PORTRAIT to the front."""
    from fv2v.files import frontalize as run

    report = run(
        portrait,
        output,
        _preset(preset, weights),
        weights=_weights(weights),
        crop=crop,
        device=device,
        dtype=dtype,
    )
    typer.echo(f"{report.output}: written")


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


def _weights(given: list[str] | None) -> str | list[str] | None:
    return given[0] if given and len(given) == 1 else given


def _preset(preset: str | None, weights: list[str] | None, untrained: str = "vox-256") -> str | None:
    return preset or (untrained if weights == ["random"] else None)


def _degrees(name: str, angles: str | None) -> list[float] | None:
    """The numbers of `--yaw -30,0,30`."""
    try:
        return None if angles is None else [float(angle) for angle in angles.split(",")]
    except ValueError:
        raise ValueError(f"--{name}: expected degrees, as 20 or -30,0,30; got {angles!r}") from None


def _print(table: Table) -> None:
    """As wide as the terminal; uncut where there is none, for files and pipes."""
    Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160).print(table)
