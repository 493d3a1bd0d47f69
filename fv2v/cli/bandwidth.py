# SPDX-License-Identifier: Apache-2.0
"""`fv2v bandwidth`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.options import ModelOptions
from fv2v.cli.tables import print_table

QUICK_CLIPS, QUICK_FRAMES = 1, 8

Clips = Annotated[
    str,
    typer.Argument(
        metavar="CLIPS|drawn",
        help="Video of a face crop, or a folder of them; or drawn heads that no training draws.",
    ),
]
Folder = Annotated[
    Path, typer.Option("--output", "-o", metavar="FOLDER", help="New folder to write.", show_default=False)
]
Count = Annotated[int, typer.Option("--clips", help="How many clips.")]
Frames = Annotated[int, typer.Option("--frames", "-n", help="Frames of each, at most.")]
Fps = Annotated[float, typer.Option(help="Frames a second that all codecs are told.")]
Judges = Annotated[
    list[Path] | None,
    typer.Option(
        "--judge",
        metavar="FILE.pt2",
        help="Another measure, as LPIPS or DISTS: a program of torch.export from two batches of pictures "
        "(B, 3, n, n) in [0, 1] to (B,).",
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="One clip of 8 frames, to see that it runs.")]


def bandwidth(
    output: Folder,
    model: ModelOptions,
    data: Clips = "drawn",
    clips: Count = 8,
    frames: Frames = 125,
    fps: Fps = 25.0,
    judge: Judges = None,
    quick: Quick = False,
) -> None:
    """Compare bytes and likeness: motion with a portrait, H.264, H.265, VP9 and AV1 on the same frames."""
    from fv2v.cli.progress import frame_progress
    from fv2v.metrics.bandwidth_report import bandwidth_tables
    from fv2v.metrics.bandwidth_run import run_study

    if quick:
        clips, frames = QUICK_CLIPS, min(frames, QUICK_FRAMES)
    with frame_progress() as progress:
        study = run_study(
            data,
            output,
            clips=clips,
            frames=frames,
            fps=fps,
            judges=judge or (),
            progress=progress,
            **model.reenactor_arguments(),
        )
    for table in bandwidth_tables(study):
        print_table(table)
    typer.echo(f"{output}: bandwidth.json, curves.png, bytes.png, strip.png written")
