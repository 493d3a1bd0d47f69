# SPDX-License-Identifier: Apache-2.0
"""`fv2v synthesize`."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from fv2v.cli.batch import Ray, Workers
from fv2v.jobs.call import Call


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
    workers: Workers = None,
    clips: Annotated[
        int,
        typer.Option(help="Also write so many .mp4 clips, of the first people, who turn, blink and speak."),
    ] = 0,
    clip_frames: Annotated[int, typer.Option(help="Frames of a clip, 25 a second.")] = 100,
    ray: Ray = None,
) -> None:
    """Draw heads with their true motion, for `fv2v train`: no videos, no downloads.

    The same command resumes an interrupted run.
    """
    from fv2v.cli.progress import frame_progress
    from fv2v.data.shards import check_clips, write_clips, write_shards
    from fv2v.data.synthetic import SyntheticHeads
    from fv2v.jobs.spread import check_spread, spread

    def draw(what: str, numbers: list[int]) -> Iterator[int]:
        words = [(what, str(output), str(clip_frames), str(number)) for number in numbers]
        return (facts["frames"] for facts in spread(words, call_of, workers, ray, cores=1))

    check_spread(workers, ray)
    elsewhere = workers not in (None, 1) or ray is not None
    heads = SyntheticHeads(size, identities, seed, first, look)
    check_clips(heads, clips, clip_frames)
    with frame_progress() as progress:
        shards, films = (partial(draw, what) if elsewhere else None for what in ("shard", "clip"))
        write_shards(output, heads, frames, draw=shards, progress=progress)
        write_clips(output, clips, clip_frames, draw=films, progress=progress)
    written = f"{identities} identities, {frames} frames each, {size} x {size}"
    typer.echo(f"{output}: {written}" + (f", {clips} clips" if clips else ""))


def call_of(words: Sequence[str]) -> Call:
    """A shard, or a clip, of a folder that the command has begun."""
    what, folder, frames, number = words
    arguments = {"folder": Path(folder), "frames": int(frames), "number": int(number)}
    return Call({"shard": _shard, "clip": _clip}[what], {}, arguments)


def _shard(folder: Path, frames: int, number: int, progress: Any) -> dict[str, Any]:
    from fv2v.data.shards import write_shard

    return {"frames": write_shard(folder, number)}


def _clip(folder: Path, frames: int, number: int, progress: Any) -> dict[str, Any]:
    from fv2v.data.shards import write_clip

    return {"frames": write_clip(folder, frames, number)}
