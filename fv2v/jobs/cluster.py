# SPDX-License-Identifier: Apache-2.0
"""The same workers as actors on a Ray cluster, which places them, and restarts those that die (README.md)."""

import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from fv2v.extras import check_extra
from fv2v.io.limits import shown
from fv2v.jobs.plan import Job
from fv2v.jobs.pool import PATIENCE, TRIES
from fv2v.jobs.worker import CallOf, Outcome, Worker, limit_threads

CORES = 8  # at most, of a worker without an accelerator, where nobody says how many workers


class Share(NamedTuple):
    """What each of some workers has."""

    workers: int
    cores: int
    accelerators: int  # 0 or 1


class Actor:
    """A worker as Ray starts it, on any machine of the cluster.

    Args:
        call_of: what a command line asks for.
        folder: in which relative paths of command lines begin.
        threads: for computing.

    Raises:
        OSError: the machine has no such folder.
    """

    def __init__(self, call_of: CallOf, folder: str, threads: int) -> None:
        os.chdir(folder)
        limit_threads(threads)
        self._worker = Worker(call_of)

    def begin(self) -> Outcome:
        """Of nothing: it is there."""
        return Outcome({})

    def carry_out(self, words: Sequence[str]) -> Outcome:
        """As `Worker.carry_out`."""
        return self._worker.carry_out(words)


def check_ray() -> None:
    """ValueError where Ray is not installed."""
    check_extra("--ray", ["ray"], "ray")


def carry_out_on_ray(
    jobs: Sequence[Job],
    address: str,
    call_of: CallOf,
    progress: Callable[[float], None] = lambda running: None,
    workers: int | None = None,
    cores: int | None = None,
) -> Generator[tuple[Job, Outcome], None, None]:
    """Each job with what became of it, as they end, as `pool.carry_out`.

    A job whose worker dies, alone or with its machine, is begun again, `TRIES` times in all. When the
    iterator is closed, what is under way is killed.

    Args:
        jobs: to be done, in this order but for those that run side by side.
        address: of the cluster, as `ray.init` takes it; "local" starts one on this machine.
        call_of: what a command line asks for; a function that processes find by its name.
        progress: called with 0 before each wait: how far a clip is, its worker does not tell.
        workers: the most of them; None: one an accelerator, or, where there are none, one for up to `CORES`
            cores of each machine.
        cores: of a worker that has no use for an accelerator, at most.

    Raises:
        ValueError: no cluster there, or none of its machines can start a worker.
    """
    if not jobs:
        return
    with _connected(address):
        actors = _started(len(jobs), workers, cores, call_of)
        yield from _carried_out(actors, jobs, progress)


def _carried_out(
    actors: Sequence[Any], jobs: Sequence[Job], progress: Callable[[float], None]
) -> Generator[tuple[Job, Outcome], None, None]:
    import ray

    waiting, left = deque(jobs), len(jobs)
    # by what Ray gives in place of a result; an actor gets a job when its beginning has ended, and no sooner:
    # the cluster may never have a place for it
    under_way: dict[Any, tuple[Any, Job | None]] = {}
    try:
        for actor in actors:
            under_way[actor.begin.remote()] = actor, None
        while left:
            progress(0.0)
            (result,), _ = ray.wait(list(under_way))
            actor, job = under_way.pop(result)
            outcome = _outcome(result)
            if job is None and outcome.error:  # this one will never be there
                if not under_way:
                    raise ValueError(f"--ray: no worker can start there: {outcome.error}")
                continue
            if outcome.unexpected:
                ray.kill(actor, no_restart=False)
                under_way[actor.begin.remote()] = actor, None
            elif waiting:
                following = waiting.popleft()
                under_way[actor.carry_out.remote(following.words)] = actor, following
            if job is not None:
                left -= 1
                yield job, outcome
    finally:
        for actor in actors:
            ray.kill(actor)


def _outcome(result: Any) -> Outcome:
    import ray
    from ray.exceptions import RayActorError, RayError

    try:
        return ray.get(result)
    except RayError as error:
        # the last line is the error itself where the worker's own code raised it
        cause = shown(str(error).strip().split("\n")[-1])
        if isinstance(error, RayActorError) and not error.actor_init_failed:
            cause = f"the worker died {TRIES} times, last: {cause}"
        return Outcome({}, cause, unexpected=True)


def _started(most: int, workers: int | None, cores: int | None, call_of: CallOf) -> list[Any]:
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    share = share_of(machines, workers, cores)
    options: dict[str, Any] = {
        "num_cpus": share.cores,
        "num_gpus": share.accelerators,
        "max_restarts": -1,
        "max_task_retries": TRIES - 1,
    }
    actor = ray.remote(**options)(Actor)
    count = min(share.workers, most)
    return [actor.remote(call_of, os.getcwd(), max(1, share.cores)) for _ in range(count)]


def share_of(machines: Sequence[dict[str, float]], workers: int | None, most: int | None = None) -> Share:
    """How many workers machines of such resources (Ray's CPU and GPU of each) get, and what each of them has.

    `most`: cores that one without an accelerator has use for; none gets any then. More workers than there is
    place for wait for machines that may join.
    """
    with_some = [machine for machine in machines if machine.get("GPU", 0) >= 1]
    if with_some and most is None:
        cores = min(int(machine.get("CPU", 0) // machine["GPU"]) for machine in with_some)
        return Share(workers or sum(int(machine["GPU"]) for machine in with_some), cores, 1)
    counts = [int(machine["CPU"]) for machine in machines if machine.get("CPU", 0) >= 1] or [1]
    if workers is None:
        cores = min(most or CORES, *counts)
        return Share(sum(count // cores for count in counts), cores, 0)
    fitting = (n for n in range(most or max(counts), 0, -1) if sum(count // n for count in counts) >= workers)
    return Share(workers, next(fitting, 1), 0)


@contextmanager
def _connected(address: str) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else a cluster tells its makers of itself
    import ray

    terminated = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"--ray: no cluster at {shown(address)!r} ({shown(error)})") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminated)  # Ray's own way would end this process with code 15
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """OSError where no machine answers at HOST:PORT: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdecimal():
        socket.create_connection((host, int(port)), PATIENCE).close()
