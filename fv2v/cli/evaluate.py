# SPDX-License-Identifier: Apache-2.0
"""`fv2v evaluate`."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fv2v.cli.batch import Ray, Workers
from fv2v.cli.options import BatchSize, ModelOptions
from fv2v.cli.output_options import Overwrite, free_name
from fv2v.cli.tables import print_table
from fv2v.jobs.call import Call

if TYPE_CHECKING:  # torch takes seconds to import, and `--help` should not
    from fv2v.metrics.evaluate import Scorer, Task
    from fv2v.metrics.evaluation import Tally
    from fv2v.reenactor import Reenactor

QUICK_IDENTITIES, QUICK_FRAMES = 4, 6

Data = Annotated[
    Path | None,
    typer.Argument(
        metavar="DATA",
        help="Folder of videos to measure on. By default drawn heads that no training draws, whose motion "
        "and views are known.",
        show_default=False,
    ),
]
Identities = Annotated[
    int | None,
    typer.Option(
        help="Drawn heads, of which up to 32 are also driven by another face; or clips. By default 64 heads, "
        "or all clips.",
        show_default=False,
    ),
]
Frames = Annotated[int, typer.Option(help="Frames of each: the first is the source, the others drive.")]
Seed = Annotated[
    int,
    typer.Option(help="Which stream of held-out heads: 0 for results to publish, others to tune on."),
]
Json = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Write all numbers there.")
]
Sheet = Annotated[
    Path | None,
    typer.Option(metavar="PICTURE", help="Write a contact sheet: outputs beside the true pictures."),
]
Html = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.html",
        help="Write a page: tables, each head's scores, the sheet, and of weights in a run's folder its "
        "curves. One file, which needs no network.",
    ),
]
Rows = Annotated[int, typer.Option(help="Heads, or clips, on the sheet.")]
Features = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.pt2",
        help="For FID: a program of torch.export from pictures (B, 3, n, n) in [0, 1] to (B, F), for any B.",
    ),
]
Landmarks = Annotated[
    Path | None,
    typer.Option(metavar="FILE.pt2", help="For AKD: such a program to landmarks (B, N, 2), in pixels."),
]
Embedding = Annotated[
    Path | None, typer.Option(metavar="FILE.pt2", help="For CSIM: such a program to face embeddings (B, E).")
]
AlexNet = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.pth",
        help="For LPIPS: torchvision's AlexNet. By default where torch keeps it; it is never downloaded.",
        show_default=False,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Read the .pt2 files: they can run any code. Only for files of people you trust."
    ),
]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick", help=f"{QUICK_IDENTITIES} identities of {QUICK_FRAMES} frames: to see that it runs."
    ),
]


def evaluate(
    model: ModelOptions,
    data: Data = None,
    identities: Identities = None,
    frames: Frames = 16,
    seed: Seed = 0,
    output: Json = None,
    sheet: Sheet = None,
    html: Html = None,
    rows: Rows = 4,
    features: Features = None,
    landmarks: Landmarks = None,
    embedding: Embedding = None,
    alexnet: AlexNet = None,
    trust: Trust = False,
    quick: Quick = False,
    batch_size: BatchSize = 1,
    overwrite: Overwrite = False,
    workers: Workers = None,
    ray: Ray = None,
) -> None:
    """Measure a model by the paper's protocols, compared with the unchanged source and with true keypoints.

    On drawn heads there are true pictures of free views and of another face's motion, too.
    """
    from fv2v.cli.progress import frame_progress
    from fv2v.jobs.spread import check_spread, spread
    from fv2v.metrics.evaluate import MetricNetworkFiles, measure
    from fv2v.metrics.report import tables

    def score(task: "Task", count: int) -> "Iterator[Tally | None]":
        named = dumps({"task": asdict(task), "model": chosen}, default=str)
        parts = [(named, str(number)) for number in range(count)]
        return (pickle.loads(facts["tally"]) for facts in spread(parts, call_of, workers, ray))

    check_spread(workers, ray)
    for path in (output, sheet, html):
        if path is not None:
            free_name(path, overwrite)
    if quick:
        identities, frames = identities or QUICK_IDENTITIES, min(frames, QUICK_FRAMES)
    chosen = model.reenactor_arguments()
    with frame_progress() as progress:
        report = measure(
            data,
            identities=identities,
            frames=frames,
            seed=seed,
            output=output,
            sheet=sheet,
            html=html,
            rows=rows,
            networks=MetricNetworkFiles(features, landmarks, embedding, trust, alexnet),
            batch_size=batch_size,
            score=None if workers in (None, 1) and ray is None else score,
            progress=progress,
            **chosen,
        )
    for table in tables(report):
        print_table(table)
    for path in (output, sheet, html):
        if path is not None:
            typer.echo(f"{path}: written")


def call_of(words: Sequence[str]) -> Call:
    """The score of one scene."""
    named, number = words
    given = loads(named)
    return Call(_score, given["model"], {"named": named, "number": int(number)})


def _score(named: str, number: int, reenactor: "Reenactor", progress: Any) -> dict[str, Any]:
    # in bytes: torch would pass tensors by files that this process has to keep open
    return {"tally": pickle.dumps(_scorer(named, reenactor)(number))}


@lru_cache(1)
def _scorer(named: str, reenactor: "Reenactor") -> "Scorer":
    from fv2v.metrics.evaluate import MetricNetworkFiles, Scorer, Task

    task = loads(named)["task"]
    return Scorer(Task(**task | {"networks": MetricNetworkFiles(**task["networks"])}), reenactor)
