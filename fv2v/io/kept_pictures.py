# SPDX-License-Identifier: Apache-2.0
"""Rendered pictures kept on disk until their film is whole: a run that is cut short goes on after them."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from fv2v.io.hidden import lock_file
from fv2v.io.image import read_image
from fv2v.io.paths import PathLike

SUFFIX = ".resume"
KEY, LOCK = "key", "lock"
PICTURE = "{:08d}.png"
_NAMES = re.compile(rf"\d{{8}}\.png|next\.png|{KEY}|{LOCK}")
FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]  # without loss at any setting


class KeptPictures:
    """The pictures of a film that are made, as PNGs without loss in a folder beside it.

    Each is there whole or not at all, also after a kill. Nothing is written before the first one is made.

    Args:
        output: the film, or the pattern of its frames; `out.mp4` has the folder `out.mp4.resume`.
        key: the same for the same pictures; those kept under another one are dropped.

    Attributes:
        folder: where they are.

    Raises:
        ValueError: a file of the folder's name, or a folder of something else.
    """

    def __init__(self, output: PathLike, key: str) -> None:
        path = Path(output)
        path = path.absolute().parent if path.suffix.lower() == ".png" else path
        self.folder = path.with_name(path.name + SUFFIX)
        self._key = key
        self._taken = 0
        if self.folder.exists() and not (self.folder.is_dir() and self._is_ours()):
            raise ValueError(
                f"{self.folder}: expected nothing of that name, or what --resume keeps there; move it away"
            )

    @property
    def count(self) -> int:
        """How many from the first on are kept under this key."""
        if self._known_key() != self._key:
            return 0
        count = 0
        while self._path(count).is_file():
            count += 1
        return count

    @property
    def are_others(self) -> bool:
        """Whether what is kept was made of other inputs, or with other options."""
        return self._known_key() not in (None, self._key)

    def taken(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8, those kept from the first on; one that cannot be read ends them."""
        for number in range(self.count):
            try:
                picture = read_image(self._path(number))
            except (ValueError, OSError):  # cut off by a power cut
                return
            self._taken = number + 1
            yield picture

    def keeping(self, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """All pictures of the film, `taken` ones first; the others are kept, each before it is passed on.

        Raises:
            ValueError: another process works on the same film.
            OSError: a picture cannot be written, as on a full disk.
        """
        with self._begun():
            for number, picture in enumerate(pictures):
                if number >= self._taken:
                    self._keep(number, picture)
                yield picture

    def remove(self) -> None:
        """Remove the folder: the film is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begun(self) -> IO[str]:
        self.folder.mkdir(exist_ok=True)
        lock = lock_file(self.folder / LOCK)
        if lock is None:
            raise ValueError(f"{self.folder}: another run works on this film; let it end first")
        if self._known_key() != self._key:
            for each in self.folder.iterdir():
                if each.suffix == ".png":
                    each.unlink()
            (self.folder / KEY).write_text(self._key)
        return lock

    def _keep(self, number: int, picture: np.ndarray) -> None:
        encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), FAST)[1]
        unfinished = self.folder / "next.png"
        unfinished.write_bytes(encoded.tobytes())
        os.replace(unfinished, self._path(number))

    def _path(self, number: int) -> Path:
        return self.folder / PICTURE.format(number)

    def _known_key(self) -> str | None:
        try:
            return (self.folder / KEY).read_text()
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def _is_ours(self) -> bool:
        return all(_NAMES.fullmatch(each.name) for each in self.folder.iterdir())
