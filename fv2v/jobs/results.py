# SPDX-License-Identifier: Apache-2.0
"""The results of a batch: a folder of clips, and results.jsonl, to which each job adds a line."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from fv2v.io.digest import sha256_of_all
from fv2v.io.hidden import lock_file, remove_left_behind
from fv2v.io.paths import PathLike, check_place
from fv2v.io.stores import state_of

LINES = "results.jsonl"
LOCK = ".lock"  # locked by the process that writes into the folder
SUFFIX = ".mp4"
LONGEST = 1 << 16  # bytes of a line; notes and errors are cut
DONE, FAILED = "done", "failed"


class Made(NamedTuple):
    """What is known of a clip that was made."""

    key: str  # of the job, as `Job.key`
    sha256: str  # of the clip
    stored: str = ""  # of one in a store its state, as `state_of`


class Results:
    """The folder, for this process alone.

    Attributes:
        folder: where the clips are.
    """

    def __init__(self, folder: Path, suffix: str, to: str | None, descriptor: int) -> None:
        self.folder, self._suffix, self._to, self._descriptor = folder, suffix, to, descriptor
        self._made = dict(_read_made(folder / LINES))

    def output(self, identity: str) -> Path | str:
        """The clip's path, or its URL where clips go to a store."""
        name = f"{identity}{self._suffix}"
        return self.folder / name if self._to is None else f"{self._to}/{name}"

    def has(self, identity: str, key: str) -> bool:
        """Whether the clip is there as a job of that key makes it."""
        made, output = self._made.get(identity), self.output(identity)
        if made is None or made.key != key:
            return False
        if isinstance(output, str):
            with suppress(FileNotFoundError):
                return state_of(output) == made.stored
            return False
        return (output.is_file() or output.is_dir()) and sha256_of_all(output) == made.sha256

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line, with one call and on the disk when it returns: a kill leaves the whole or a part.

        Raises:
            OSError: it cannot be written, as on a full disk.
        """
        data = json.dumps(line).encode() + b"\n"
        try:
            while data:  # a disk that is nearly full takes a part, and then complains
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.folder / LINES)) from error


@contextmanager
def open_results(folder: PathLike, suffix: str = SUFFIX, to: str | None = None) -> Iterator[Results]:
    """The folder, made where there is none, locked until the block ends.

    What a killed process left in it half written is removed: hidden folders, and a part of a last line.

    Args:
        folder: the folder.
        suffix: of what jobs make; "" where that is a folder each.
        to: a folder of a store, for the clips alone.

    Raises:
        FileNotFoundError: the folder that it goes into does not exist.
        ValueError: a file of that name, a folder that cannot be written to, or another batch works in it.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder, got a file")
    if not folder.exists():
        check_place(folder)
        folder.mkdir(exist_ok=True)
    for path in (folder / LINES, folder / LOCK):
        if path.exists() and not path.is_file():
            raise ValueError(f"{path}: expected a file, got a folder, a pipe or a device")
    check_place(folder / LINES)
    lock = lock_file(folder / LOCK)
    if lock is None:
        raise ValueError(f"{folder}: another batch works there; let it end, or choose another folder")
    with lock:
        remove_left_behind(folder)
        descriptor = os.open(folder / LINES, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            _drop_part_of_line(descriptor)
            yield Results(folder, suffix, to, descriptor)
        finally:
            os.close(descriptor)


def _drop_part_of_line(descriptor: int) -> None:
    """Cut what stands after the last end of a line."""
    end = size = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - LONGEST)
        os.lseek(descriptor, start, os.SEEK_SET)
        found = os.read(descriptor, end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)


def _read_made(path: Path) -> Iterator[tuple[str, Made]]:
    """The clips that lines tell of; lines that are damaged tell of none."""
    with path.open("rb") as file:
        while line := file.readline(LONGEST):
            try:
                known = json.loads(line)
                if known["status"] == DONE:
                    made = Made(str(known["key"]), str(known["sha256"]), str(known.get("stored", "")))
                    yield str(known["id"]), made
            except (ValueError, LookupError, TypeError, RecursionError):
                continue
