# SPDX-License-Identifier: Apache-2.0
"""Parts of one piece of work, by the workers that batches have, put together in their order."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from fv2v.jobs.cluster import carry_out_on_ray, check_ray
from fv2v.jobs.plan import Job
from fv2v.jobs.pool import carry_out
from fv2v.jobs.worker import CallOf


def spread(
    parts: Sequence[Sequence[str]],
    call_of: CallOf,
    workers: int | None,
    ray: str | None,
    cores: int | None = None,
) -> Iterator[dict[str, Any]]:
    """What each command line gives, in their order.

    A part whose worker dies is begun again, as a batch's job. When the iterator is closed, what is under way
    is given up.

    Args:
        parts: the command lines.
        call_of: what one of them asks for; a function that processes find by its name.
        workers: processes, or actors; None: one, on a cluster as many as it has place for.
        ray: address of a cluster, as `carry_out_on_ray` takes it; None: this machine.
        cores: as `carry_out_on_ray` takes it.

    Raises:
        ValueError: as `carry_out_on_ray`; a part that failed.
    """
    jobs = [Job(str(i), i, tuple(words), Path(), "") for i, words in enumerate(parts)]
    pool = (
        carry_out(jobs, workers or 1, call_of)
        if ray is None
        else carry_out_on_ray(jobs, ray, call_of, workers=workers, cores=cores)
    )
    following, early = 0, dict[int, dict[str, Any]]()
    with closing(pool) as outcomes:
        for job, outcome in outcomes:
            if outcome.error:
                raise ValueError(outcome.error)
            early[job.row] = outcome.facts
            while following in early:
                yield early.pop(following)
                following += 1


def check_spread(workers: int | None, ray: str | None) -> None:
    """ValueError for fewer than 1 worker, or a cluster where there is no Ray."""
    if workers is not None and workers < 1:
        raise ValueError(f"--workers: expected 1 or more, got {workers}")
    if ray is not None:
        check_ray()
