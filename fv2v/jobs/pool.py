# SPDX-License-Identifier: Apache-2.0
"""Worker processes that share a list of jobs. One that dies costs no more than its job's time."""

import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from typing import cast

from fv2v.jobs.plan import Job
from fv2v.jobs.worker import CallOf, Outcome, Part, serve

TRIES = 3  # of a job whose process dies
PATIENCE = 10.0  # seconds that an interrupted process has to tidy up, and a cluster to answer

SPAWN = get_context("spawn")  # CUDA and OpenMP outlive no fork


class _Process:
    """A worker process, from its start."""

    def __init__(self, call_of: CallOf, threads: int | None) -> None:
        self.connection, other_end = SPAWN.Pipe()
        self.process = SPAWN.Process(target=serve, args=(other_end, call_of, threads), daemon=True)
        with _sigint_ignored():
            self.process.start()
        other_end.close()  # else nobody would hear that the process died
        self.job: Job | None = None

    def take(self, job: Job) -> None:
        self.job = job
        with suppress(OSError):  # it is dead, as the next `message` tells
            self.connection.send(job.words)

    def message(self) -> Part | Outcome | None:
        """What it sends; None: it died."""
        try:
            return cast(Part | Outcome, self.connection.recv())
        except (EOFError, OSError):
            return None

    def end(self) -> None:
        """Wait for it after its work; one that is at work is interrupted."""
        if self.job is not None:
            self.process.terminate()  # before it hears that this end is closed and ends by itself
        self.connection.close()
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def carry_out(
    jobs: Sequence[Job],
    workers: int,
    call_of: CallOf,
    progress: Callable[[float], None] = lambda running: None,
) -> Generator[tuple[Job, Outcome], None, None]:
    """Each job with what became of it, as they end, from so many processes.

    A job whose process dies is begun again in a new one, `TRIES` times in all. When the iterator is closed,
    what is under way is given up.

    Args:
        jobs: to be done, in this order but for those that run side by side.
        workers: the most processes. Several divide the threads of this machine; one has them all.
        call_of: what a command line asks for; a function that processes find by its name.
        progress: called with the clips under way, each counted by the part of it that is done.
    """
    waiting, deaths = deque(jobs), Counter[Job]()
    threads = None if workers == 1 else max(1, _threads() // workers)
    processes: list[_Process] = []
    parts: dict[Job, float] = {}
    try:
        while len(processes) < min(workers, len(jobs)):
            processes.append(_Process(call_of, threads))
        while True:
            for process in processes:
                if process.job is None and waiting:
                    process.take(waiting.popleft())
            busy = {process.connection: process for process in processes if process.job is not None}
            if not busy:
                return
            for connection in wait(list(busy)):
                process = busy[connection]  # type: ignore[index]
                job, message = cast(Job, process.job), process.message()
                if isinstance(message, Part):
                    parts[job] = message.done
                    progress(sum(parts.values()))
                    continue
                parts.pop(job, None)
                process.job = None
                if message is None or message.unexpected:
                    process.end()
                    processes[processes.index(process)] = _Process(call_of, threads)
                if message is not None:
                    yield job, message
                    continue
                deaths[job] += 1
                if deaths[job] < TRIES:
                    waiting.appendleft(job)
                else:
                    yield job, Outcome({}, f"the process died {TRIES} times, {_cause(process)}")
    finally:
        for process in processes:
            process.end()


def _cause(process: _Process) -> str:
    code = process.process.exitcode or 0
    return f"last by {signal.Signals(-code).name}" if code < 0 else f"last with exit code {code}"


def _threads() -> int:
    """Those that the user allows, else one a core that this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _sigint_ignored() -> Iterator[None]:
    """For a process that starts meanwhile: Ctrl-C reaches it, too, and its parent is to end it."""
    if threading.current_thread() is not threading.main_thread():  # where Python handles no signals
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
