# SPDX-License-Identifier: Apache-2.0
"""`fv2v synthesize`."""

from pathlib import Path
from typing import Annotated

import typer


def synthesize(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder to write: a new one, or one that the same command has begun.",
            show_default=False,
        ),
    ],
    identities: Annotated[int, typer.Option(help="How many people.")] = 1000,
    frames: Annotated[int, typer.Option(help="Pictures of each, 2 or more.")] = 24,
    size: Annotated[int, typer.Option(help="Pixels across, an even number.")] = 128,
    seed: Annotated[int, typer.Option(help="Other seeds draw other people.")] = 0,
    first: Annotated[
        int,
        typer.Option(
            help="Number of the first person: ranges that do not overlap have nobody in common, as training "
            "and test data should not."
        ),
    ] = 0,
    look: Annotated[
        str,
        typer.Option(
            help="plain; or photograph: skin, shadows and a camera as in photographs, hats, hands, and wider "
            "smiles, gazes and frowns."
        ),
    ] = "plain",
    workers: Annotated[
        int, typer.Option(help="Processes, of one thread each: as many as there are cores.")
    ] = 1,
    clips: Annotated[
        int,
        typer.Option(help="Also write so many .mp4 clips, of the first people, who turn, blink and speak."),
    ] = 0,
    clip_frames: Annotated[int, typer.Option(help="Frames of a clip, 25 a second.")] = 100,
) -> None:
    """Draw heads with their true motion, for `fv2v train`: no videos, no downloads.

    The same command resumes an interrupted run.
    """
    from fv2v.cli.progress import frame_progress
    from fv2v.data.shards import check_clips, write_clips, write_shards
    from fv2v.data.synthetic import SyntheticHeads

    heads = SyntheticHeads(size, identities, seed, first, look)
    check_clips(heads, clips, clip_frames)
    with frame_progress() as progress:
        write_shards(output, heads, frames, workers=workers, progress=progress)
        write_clips(output, heads, clips, clip_frames, workers=workers, progress=progress)
    written = f"{identities} identities, {frames} frames each, {size} x {size}"
    typer.echo(f"{output}: {written}" + (f", {clips} clips" if clips else ""))
