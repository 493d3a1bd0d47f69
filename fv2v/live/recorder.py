# SPDX-License-Identifier: Apache-2.0
"""Pictures as they come, as a film: at 25 frames a second whichever is the newest."""

import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import numpy as np

from fv2v.io.encoders import Encoding
from fv2v.io.paths import PathLike
from fv2v.io.video import check_film, write_video

FPS = 25


class Recorder:
    """Writes a film in a thread, from the first picture until `close`.

    Args:
        path: as `fv2v.write_video` takes it.

    Raises:
        FileNotFoundError: its folder does not exist.
        ValueError: a name that cannot be written.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = check_film(Path(path), Encoding())
        self._changed = threading.Condition()
        self._newest: np.ndarray | None = None
        self._closed = False
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None
        self.frames = 0  # written, or about to be

    def show(self, image: np.ndarray) -> int:
        """(n, n, 3) uint8 from now on. Returns the number of the frame that will be the first to show it."""
        with self._changed:
            self._newest = image
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="fv2v-film")
                self._thread.start()
            return self.frames

    def close(self) -> None:
        """The file is whole; without a picture there is none. Raises what writing raised."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        try:
            write_video(self.path, self._ticks(), fps=FPS)
        except (OSError, ValueError) as error:
            self._error = error

    def _ticks(self) -> Iterator[np.ndarray]:
        begun = monotonic()
        while True:
            with self._changed:
                image = self._newest
                self.frames += 1
            assert image is not None
            yield image
            with self._changed:
                due = begun + self.frames / FPS
                if self._changed.wait_for(lambda: self._closed, max(0.0, due - monotonic())):
                    return
