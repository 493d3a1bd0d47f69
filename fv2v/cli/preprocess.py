# SPDX-License-Identifier: Apache-2.0
"""`fv2v preprocess`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fv2v.cli.batch import FailFast, Ray, Workers
from fv2v.jobs.call import Call

if TYPE_CHECKING:
    from fv2v.jobs.plan import Wish
    from fv2v.jobs.table import Row

Videos = Annotated[
    list[Path],
    typer.Argument(
        metavar="VIDEOS...",
        help="Raw videos, and folders of them, searched at any depth.",
        show_default=False,
    ),
]


def preprocess(
    videos: Videos,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="CLIPS",
            help="Folder for a folder of clips of each video, for `fv2v train`; made where there is none.",
            show_default=False,
        ),
    ],
    size: Annotated[
        int, typer.Option(help="Pixels a side; faces that had to be enlarged are rejected.")
    ] = 256,
    least_frames: Annotated[int, typer.Option(help="Shorter clips are rejected.")] = 50,
    workers: Workers = None,
    ray: Ray = None,
    fail_fast: FailFast = False,
) -> None:
    """Cut faces out of raw videos: a clip a person and shot, as the paper's data sets are cut.

    Beside the clips of a video are their boxes and points, .npz, and clips.jsonl: what was cut, what was
    rejected, and why. The same again takes only videos that are new or changed.
    """
    from fv2v.cli.printable import printable
    from fv2v.cli.progress import batch_progress
    from fv2v.jobs.run import run_batch

    rows = rows_of(videos, {"size": size, "least_frames": least_frames}, output)
    with batch_progress() as (progress, complain):
        summary = run_batch(
            rows,
            output,
            read_values,
            call_of,
            suffix="",
            workers=workers,
            ray=ray,
            fail_fast=fail_fast,
            complain=lambda line: complain(f"fv2v: {printable(line)}"),
            progress=progress,
        )
    typer.echo(printable(f"{output}: {summary}"))
    if summary.failed:
        raise typer.Exit(1)


def rows_of(videos: Sequence[Path], options: Mapping[str, Any], output: Path) -> "list[Row]":
    """A row a video. Its id is its name, of those in folders with the folders below, without the suffix.

    What lies in the folder `output` is the clips of an earlier run, and no video.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: a folder without videos, or `output` itself.
    """
    from fv2v.data.layouts import CLIP_SUFFIXES
    from fv2v.jobs.table import Row

    named: list[tuple[str, Path]] = []
    for path in videos:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        if not path.is_dir():
            named.append((path.stem, path))
            continue
        if path.resolve() == output.resolve():
            raise ValueError(f"{output}: expected another folder for clips than that of the videos")
        found = sorted(each for each in path.rglob("*") if each.suffix.lower() in CLIP_SUFFIXES)
        found = [each for each in found if output.resolve() not in each.resolve().parents]
        inside = [each for each in found if not any(part[0] == "." for part in each.relative_to(path).parts)]
        if not inside:
            raise ValueError(f"{path}: expected videos, {' '.join(CLIP_SUFFIXES)}, in this folder, got none")
        named += [("+".join(each.relative_to(path).with_suffix("").parts), each) for each in inside]
    return [
        Row(i, {"id": id_, "video": str(each), **options}, origin=str(each))
        for i, (id_, each) in enumerate(named, 1)
    ]


def read_values(values: Mapping[str, Any], output: Path | str) -> "Wish":
    """A row of `rows_of` as the words of `call_of`."""
    from fv2v.jobs.plan import Wish

    options = {name: value for name, value in values.items() if name != "id"}
    words = (values["video"], str(output), str(values["size"]), str(values["least_frames"]))
    return Wish(("preprocess", *words), (Path(values["video"]),), options)


def call_of(words: Sequence[str]) -> Call:
    """What such words ask for."""
    from fv2v.pipelines.preprocess import preprocess as run

    _, video, output, size, least_frames = words
    arguments = {"video": video, "output": output, "size": int(size), "least_frames": int(least_frames)}
    return Call(run, {}, arguments)
