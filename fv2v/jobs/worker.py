# SPDX-License-Identifier: Apache-2.0
"""A worker process: one job after the other, on weights and portraits that stay in memory."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from fv2v.io.digest import sha256_of_all
from fv2v.io.limits import shown
from fv2v.jobs.call import Call
from fv2v.jobs.nearby import Nearby
from fv2v.jobs.recent import Recent

if TYPE_CHECKING:  # imported by a worker alone: whoever starts it needs no torch
    from fv2v.pipelines.report import Report
    from fv2v.progress import FrameProgress
    from fv2v.reenactor import Reenactor

MODELS = 2  # in memory
PORTRAITS = 16  # encoded, of each model: vox-256's take 10 MB each
OFTEN = 0.5  # seconds between two messages of how far a clip is

CallOf = Callable[[Sequence[str]], Call]  # of a command line


class Part(NamedTuple):
    """How much of the clip is done, 0 to 1."""

    done: float


class Outcome(NamedTuple):
    """What became of a job."""

    facts: dict[str, Any]  # for results.jsonl; of a job that failed, none
    error: str = ""  # in one line
    unexpected: bool = False  # no fault of the job's: the process that met it is not used again


class Worker:
    """Carries out jobs in this process.

    Args:
        call_of: what a command line asks for.
    """

    def __init__(self, call_of: CallOf) -> None:
        self._call_of = call_of
        self._models: Recent[Reenactor] = Recent(MODELS)
        self._nearby = Nearby()

    def run(self, words: Sequence[str], progress: "FrameProgress | None" = None) -> "Report | dict[str, Any]":
        """Make the clip of a command line, which names files of this machine. Errors as the pipelines'."""
        call = self._call_of(words)
        model = {"reenactor": self._model(call.model)} if call.model else {}
        return call.run(**call.arguments, **model, progress=progress)

    def carry_out(self, words: Sequence[str], progress: "FrameProgress | None" = None) -> Outcome:
        """The same of files in stores, too, with errors as a part of what became of it."""
        try:
            with self._nearby.words(words) as local:
                facts = self._facts(self.run(local, progress))
            return Outcome(facts | self._nearby.stored())
        except (ValueError, OSError) as error:
            return Outcome({}, shown(self._nearby.as_given(str(error))))
        except Exception as error:  # our fault, or the machine's: a GPU out of memory, say
            return Outcome({}, shown(f"{type(error).__name__}: {error}"), unexpected=True)

    def _facts(self, report: "Report | dict[str, Any]") -> dict[str, Any]:
        if isinstance(report, dict):
            return report
        import av
        import torch

        from fv2v import __version__

        return {
            "frames": report.frames,
            "seconds": round(report.seconds, 3),
            "stages": {name: round(each, 3) for name, each in asdict(report.stages).items()}
            if report.stages
            else {},
            "faceless": report.missing,
            "notes": [shown(self._nearby.as_given(note)) for note in report.notes],
            "sha256": sha256_of_all(report.output),
            "versions": {"fv2v": __version__, "torch": torch.__version__, "av": av.__version__},
        }

    def _model(self, model: dict[str, Any]) -> "Reenactor":
        from fv2v.checkpoints import NO_WEIGHTS
        from fv2v.jobs.portraits import PortraitReenactor

        weights = model["weights"]
        if weights is None and model["preset"] is None:
            raise ValueError(NO_WEIGHTS)
        key = tuple(tuple(value) if isinstance(value, list) else value for value in model.values())
        return self._models.get(key, lambda: PortraitReenactor(**model, portraits=PORTRAITS))


def serve(connection: Connection, call_of: CallOf, threads: int | None) -> None:
    """Take command lines from the other end until it is closed, and send `Part`s and an `Outcome` of each.

    SIGTERM ends it without a file half written, and so does the end of the process that started it.

    Args:
        connection: to that process.
        call_of: what a command line asks for.
        threads: for computing; None: as many as PyTorch takes by itself.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        limit_threads(threads)
        worker = Worker(call_of)
        while True:
            outcome = worker.carry_out(connection.recv(), _telling(connection))
            connection.send(outcome)
            if outcome.unexpected:
                return
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return


def _telling(connection: Connection) -> "FrameProgress":
    """What sends a `Part` now and then."""
    said = time.monotonic()

    def progress(done: int, total: int | None) -> None:
        nonlocal said
        if total and time.monotonic() - said > OFTEN:
            said = time.monotonic()
            connection.send(Part(min(1.0, done / total)))

    return progress


def limit_threads(threads: int | None) -> None:
    """Those of this process; None: as they are. Before the libraries are imported that read it then alone."""
    if threads is None:
        return
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import cv2

    cv2.setNumThreads(threads)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
