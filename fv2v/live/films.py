# SPDX-License-Identifier: Apache-2.0
"""A page's queue of films: a portrait and a driving video each, rendered one after the other."""

import asyncio
import logging
import secrets
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fv2v.io.image import write_image
from fv2v.live.server import Refused, told
from fv2v.pipelines.reenact import reenact
from fv2v.reenactor import Reenactor

LOG = logging.getLogger("fv2v.live")
MOST = 8  # films that are kept, waiting or done
WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"


class _Cancelled(Exception):
    """Raised out of the rendering when its film is no longer wanted."""


@dataclass(slots=True)
class Film:
    """One of the queue."""

    folder: Path
    state: str = WAITING
    done: int = 0  # frames
    total: int | None = None
    seconds: float | None = None  # that are left, once that can be told
    note: str = ""  # what became of it, or what was wrong

    @property
    def output(self) -> Path:
        return self.folder / "output.mp4"

    def facts(self) -> dict[str, Any]:
        """What the page shows of it."""
        left = None if self.seconds is None else round(self.seconds, 1)
        return {"state": self.state, "done": self.done, "total": self.total, "left": left, "note": self.note}


class Films:
    """Renders films in a thread of its own.

    Args:
        reenactor: what renders them.
        folder: private, for the files; whoever made it removes it.
    """

    def __init__(self, reenactor: Reenactor, folder: Path) -> None:
        self._reenactor, self._folder = reenactor, folder
        self._films: dict[str, Film] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fv2v-films")

    def add(self, portrait: np.ndarray, driving: bytes) -> str:
        """Queue a film; its name.

        Args:
            portrait: (H, W, 3) uint8.
            driving: a video's file.

        Raises:
            Refused: too many wait.
        """
        finished = [name for name, film in self._films.items() if film.state not in (WAITING, RUNNING)]
        if len(self._films) >= MOST:
            if not finished:
                raise Refused(429, f"expected at most {MOST} films at a time; cancel one, or wait")
            self.remove(finished[0])
        name = secrets.token_urlsafe(8)
        film = self._films[name] = Film(self._folder / f"film-{name}")
        film.folder.mkdir()
        (film.folder / "driving.mp4").write_bytes(driving)
        write_image(film.folder / "portrait.png", portrait)
        self._thread.submit(self._render, film)
        return name

    def get(self, name: str) -> Film:
        """Refused where there is none of that name."""
        if name not in self._films:
            raise Refused(404, "there is no such film")
        return self._films[name]

    def facts(self) -> dict[str, Any]:
        """What the page shows of each, by name."""
        return {name: film.facts() for name, film in self._films.items()}

    def remove(self, name: str) -> None:
        """Cancel a film, or forget a finished one and its files."""
        film = self.get(name)
        if film.state in (WAITING, RUNNING):
            film.state, film.note = CANCELLED, "cancelled"
            return
        del self._films[name]
        shutil.rmtree(film.folder, ignore_errors=True)

    async def close(self) -> None:
        """Cancel all of them, and wait until the thread is done."""
        for film in self._films.values():
            film.state = CANCELLED
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    def _render(self, film: Film) -> None:
        if film.state == CANCELLED:
            return
        film.state, started = RUNNING, time.monotonic()

        def count(done: int, total: int | None) -> None:
            if film.state == CANCELLED:
                raise _Cancelled
            film.done, film.total = done, total
            if total:
                film.seconds = (time.monotonic() - started) / done * max(total - done, 0)

        try:
            report = reenact(
                film.folder / "portrait.png",
                film.folder / "driving.mp4",
                film.output,
                reenactor=self._reenactor,
                progress=count,
            )
            film.note = told("; ".join((f"{report.frames} frames in {report.seconds:.1f} s", *report.notes)))
            film.state, film.seconds = DONE, 0.0
        except _Cancelled:
            pass
        except (ValueError, OSError) as error:
            film.state, film.note = FAILED, told(str(error))
        except Exception:
            LOG.exception("a film failed")
            film.state, film.note = FAILED, "the server failed; its own messages say more"
