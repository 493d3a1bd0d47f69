# SPDX-License-Identifier: Apache-2.0
"""`fv2v batch`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fv2v.cli.options import ModelOptions

if TYPE_CHECKING:
    from fv2v.jobs.table import Row

Jobs = Annotated[
    Path | None,
    typer.Argument(
        metavar="[JOBS]",
        help="A .jsonl, .csv or .toml with a row a clip: id, portrait, and driving (or motion, as `fv2v "
        "render`, or coefficients, as `fv2v talk`); other names are options of that command.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Processes, which divide the threads of this machine; each loads what it needs. With --ray, "
        "actors: one an accelerator if left out, or one for up to 8 cores. [default: 1]",
        show_default=False,
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Work on a Ray cluster: HOST:PORT, or auto, the one that this machine is in, or local, one "
        "that is started here. Its machines have fv2v, this folder and the files by the same paths or URLs.",
    ),
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="End at the first row that fails, in place of going on.")
]


def batch(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for the clips, ID.mp4, and results.jsonl; made where there is none.",
            show_default=False,
        ),
    ],
    model: ModelOptions,
    jobs: Jobs = None,
    portraits: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="In place of JOBS: each picture here by each of --drivers."),
    ] = None,
    drivers: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Videos, or files of motion, for --portraits.")
    ] = None,
    zipped: Annotated[
        bool,
        typer.Option("--zip", help="The first portrait by the first driver, the second by the second, ..."),
    ] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="NAME=VALUE",
            help="An option for every row that has none of that name, as relative=true or yaw=20; may be "
            "given more than once.",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A folder of a store for the clips, as s3://bucket/clips; in DIR is then results.jsonl "
            "alone. Files that rows name may be in stores, too.",
        ),
    ] = None,
    workers: Workers = None,
    ray: Ray = None,
    fail_fast: FailFast = False,
) -> None:
    """Animate many portraits, loading weights once; the same again makes only what is missing or changed.

    A row that fails is one line here and in results.jsonl, and the others go on; the exit code is then 1.
    """
    from fv2v.cli.printable import printable
    from fv2v.cli.progress import batch_progress
    from fv2v.cli.rows import call_of, read_values
    from fv2v.io.stores import is_url
    from fv2v.jobs.run import run_batch

    if is_url(str(output).replace(":/", "://", 1)):
        raise ValueError(
            f"--output: expected a folder of this machine, in which results.jsonl grows line by line, got "
            f"{output}: give one, and --to URL for the clips"
        )
    rows = _with_defaults(
        _rows(jobs, portraits, drivers, zipped, output), _defaults(model, assignments or ())
    )
    with batch_progress() as (progress, complain):
        summary = run_batch(
            rows,
            output,
            read_values,
            call_of,
            workers=workers,
            ray=ray,
            to=to,
            fail_fast=fail_fast,
            complain=lambda line: complain(f"fv2v: {printable(line)}"),
            progress=progress,
        )
    typer.echo(printable(f"{output}: {summary}"))
    if summary.failed:
        raise typer.Exit(1)


def _rows(
    jobs: Path | None, portraits: Path | None, drivers: Path | None, zipped: bool, output: Path
) -> "list[Row]":
    from fv2v.jobs.table import pair_rows, read_rows

    if jobs is not None:
        if portraits or drivers or zipped:
            raise ValueError("expected JOBS, or --portraits and --drivers, got both")
        return read_rows(jobs)
    if portraits is None or drivers is None:
        raise ValueError("expected JOBS, or both --portraits and --drivers")
    for folder in (portraits, drivers):
        if folder.exists() and output.exists() and folder.samefile(output):
            raise ValueError(f"{output}: expected another folder than {folder}, which holds inputs")
    return pair_rows(portraits, drivers, zipped)


def _defaults(model: ModelOptions, assignments: Sequence[str]) -> dict[str, Any]:
    """What the command line gives to rows."""
    assigned: dict[str, list[str]] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        name = name.strip().replace("-", "_")
        if not (name and equals):
            raise ValueError(f"--set: expected NAME=VALUE, as yaw=20; got {assignment!r}")
        assigned.setdefault(name, []).append(value)
    options = {name: value for name, value in vars(model).items() if value is not None}
    return options | {name: values if len(values) > 1 else values[0] for name, values in assigned.items()}


def _with_defaults(rows: "Sequence[Row]", defaults: Mapping[str, Any]) -> "list[Row]":
    """The rows with those values where they have none, and with the starter, said once, where no weights."""
    completed, starter = [], False
    for row in rows:
        spelt = [name.replace("-", "_") for name in row.values]
        if twice := next((name for name in spelt if spelt.count(name) > 1), None):
            row = replace(row, fault=row.fault or f"{twice}: expected one value, got it by two spellings")
        values = dict(defaults)
        values |= {n.replace("-", "_"): v for n, v in row.values.items() if v is not None and v != ""}
        if not row.fault and not any(name in values for name in ("weights", "preset", "coefficients")):
            values["preset"], starter = "starter", True
        completed.append(replace(row, values=values))
    if starter:
        from fv2v.checkpoints import STARTER_NOTE

        typer.echo(f"fv2v: {STARTER_NOTE}", err=True)
    return completed
