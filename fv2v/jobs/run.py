# SPDX-License-Identifier: Apache-2.0
"""A batch: what of its rows is not made yet is made, and each adds a line to results.jsonl."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fv2v.io.paths import PathLike
from fv2v.io.stores import check_folder
from fv2v.jobs.cluster import carry_out_on_ray
from fv2v.jobs.key import changed_since
from fv2v.jobs.plan import Job, Reader, Refused, check_new, plan
from fv2v.jobs.pool import carry_out
from fv2v.jobs.results import DONE, FAILED, SUFFIX, Results, open_results
from fv2v.jobs.spread import check_spread
from fv2v.jobs.table import Row
from fv2v.jobs.worker import CallOf, Outcome
from fv2v.progress import BatchProgress

Complain = Callable[[str], None]  # takes a line about a row that failed
Outcomes = Generator[tuple[Job, Outcome], None, None]  # jobs as they end


@dataclass(slots=True)
class Summary:
    """What became of the rows of a batch."""

    rows: int
    made: int = 0
    kept: int = 0  # made before, of the same inputs with the same options
    failed: int = 0
    frames: int = 0  # of those made
    seconds: float = 0.0

    def __str__(self) -> str:
        text = f"{self.made} made, {self.kept} kept, {self.failed} failed of {self.rows}"
        if left := self.rows - self.made - self.kept - self.failed:
            text += f", {left} not begun"
        return f"{text}; {self.frames} frames in {self.seconds:.1f} s"


def run_batch(
    rows: Sequence[Row],
    folder: PathLike,
    read: Reader,
    call_of: CallOf,
    *,
    suffix: str = SUFFIX,
    workers: int | None = None,
    ray: str | None = None,
    to: str | None = None,
    fail_fast: bool = False,
    complain: Complain = lambda line: None,
    progress: BatchProgress | None = None,
) -> Summary:
    """Make the clips of a table in a folder, each whole or not at all.

    A clip is kept that its folder has of the same options and the same content of inputs. A row that fails
    is a line in results.jsonl, and the others go on. Whatever ends this function, also a kill, leaves what is
    done, and the next call goes on from there.

    Args:
        rows: from `read_rows` or `pair_rows`.
        folder: for the clips, `ID.mp4`, and results.jsonl; made where there is none.
        read: how a row's command understands it.
        call_of: what a command line of `read` asks for; a function that processes find by its name.
        suffix: of what a row makes; "" for a folder.
        workers: processes, which divide the threads of this machine; None: one. On a cluster, as
            `carry_out_on_ray`.
        ray: address of a cluster, as `carry_out_on_ray` takes it; None: this machine.
        to: the URL of a folder of a store, for the clips; in `folder` is then results.jsonl alone.
        fail_fast: end at the first row that fails.
        complain: called with a line for each row that failed.
        progress: called with the clips done, those under way in part, and their number.

    Raises:
        FileNotFoundError, ValueError: as `open_results`, and as `carry_out_on_ray`; no Ray; workers below 1;
            as `check_new`.
        OSError: as `check_folder`, for `to`.
    """
    check_spread(workers, ray)
    if to is not None:
        to = check_folder(to)

    def pool(jobs: Sequence[Job], tell: Callable[[float], None]) -> Outcomes:
        if ray is not None:
            return carry_out_on_ray(jobs, ray, call_of, tell, workers)
        return carry_out(jobs, workers or 1, call_of, tell)

    started, summary = time.perf_counter(), Summary(len(rows))
    if to is None:
        check_new(rows, Path(folder), suffix)
    with open_results(folder, suffix, to) as results:
        jobs = _jobs_left(rows, results, read, summary, fail_fast, complain)
        if not (fail_fast and summary.failed):
            _carry_out(jobs, results, pool, summary, fail_fast, complain, progress)
    summary.seconds = time.perf_counter() - started
    return summary


def _jobs_left(
    rows: Sequence[Row], results: Results, read: Reader, summary: Summary, fail_fast: bool, complain: Complain
) -> list[Job]:
    """The jobs of which no clip is there; rows that are none are counted and written down."""
    left = []
    for each in plan(rows, results, read):
        if isinstance(each, Job):
            if results.has(each.identity, each.key):
                summary.kept += 1
            else:
                left.append(each)
            continue
        _fail(each, each.error, results, summary, complain)
        if fail_fast:
            break
    return left


def _carry_out(
    jobs: Sequence[Job],
    results: Results,
    pool: Callable[[Sequence[Job], Callable[[float], None]], Outcomes],
    summary: Summary,
    fail_fast: bool,
    complain: Complain,
    progress: BatchProgress | None,
) -> None:
    ended = 0

    def tell(running: float = 0.0) -> None:
        if progress is not None:
            progress(ended + running, len(jobs))

    tell()
    with closing(pool(jobs, tell)) as outcomes:
        for job, outcome in outcomes:
            ended += 1
            error = outcome.error
            if not error and (changed := changed_since(job.inputs)):
                error = f"{changed}: it changed while the batch ran; the same again takes it as it is by then"
            if error:
                _fail(job, error, results, summary, complain)
                if fail_fast:
                    return
            else:
                name = job.output if isinstance(job.output, str) else job.output.name
                results.add(_line(job, DONE) | {"key": job.key, "output": name} | outcome.facts)
                summary.made += 1
                summary.frames += outcome.facts["frames"]
            tell()


def _fail(job: Job | Refused, error: str, results: Results, summary: Summary, complain: Complain) -> None:
    results.add(_line(job, FAILED) | {"error": error})
    summary.failed += 1
    complain(f"row {job.row}{f' ({job.identity})' if job.identity else ''}: {error}")


def _line(job: Job | Refused, status: str) -> dict[str, Any]:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"id": job.identity, "row": job.row, "status": status, "at": now}
