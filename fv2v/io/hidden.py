# SPDX-License-Identifier: Apache-2.0
"""Hidden folders in which files are written before they take their names, and locks.

A hidden folder is locked for as long as its process lives. So one that nobody holds was left behind by a
process that was killed, and the next that writes into the same place removes it.
"""

import errno
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

NAME = re.compile(r"\.fv2v-[0-9a-f]{8}")
MOMENT = 1.0  # seconds: a folder is locked within so many of being made
DAY = 86_400.0  # seconds: older ones count as left behind where the file system has no locks
HELD = {errno.EACCES, errno.EAGAIN}  # what locking fails with where another process holds the lock
NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}  # and syncing, where the file system does not do that


@contextmanager
def hidden_folder(path: Path) -> Iterator[Path]:
    """A new hidden folder beside `path`, on the same file system, removed when the block ends.

    Raises:
        ValueError: the folder that `path` is in cannot be written to.
    """
    remove_left_behind(path.parent)
    hidden = path.with_name(f".fv2v-{secrets.token_hex(4)}")
    try:
        hidden.mkdir()
    except OSError as error:
        raise ValueError(f"{path}: cannot write to the folder {path.parent} ({error.strerror})") from None
    lock = None
    try:
        lock = _hold_folder(hidden)
        yield hidden
    finally:  # an interrupt leaves nothing behind either
        shutil.rmtree(hidden, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def remove_left_behind(folder: Path) -> None:
    """Remove the hidden folders in `folder` that this user's processes left there when they were killed."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        found = [Path(entry) for entry in entries if NAME.fullmatch(entry.name)]
    for hidden in found:
        try:
            if _is_left_behind(hidden):
                shutil.rmtree(hidden, ignore_errors=True)
        except OSError:  # another process was faster
            continue


def put_in_place(new: Path, path: Path) -> None:
    """Rename a file or folder to `path`: after a power cut there is what was there before, or all of it."""
    for each in (*new.rglob("*"), new) if new.is_dir() else (new,):
        _sync(each)
    os.replace(new, path)
    _sync(path.parent)


def lock_file(path: Path) -> IO[str] | None:
    """The file, open and locked for this process until it is closed; it is made where there is none.

    None: another process holds it. Where the file system has no locks, nobody does.
    """
    file = path.open("a")
    if sys.platform == "win32":
        return file
    try:
        # a lock of the process and not of the open file: what it forks must not hold it after its death
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            file.close()
            return None
    return file


def _is_left_behind(hidden: Path) -> bool:
    facts = hidden.lstat()
    age = time.time() - facts.st_mtime
    if age < MOMENT or (hasattr(os, "getuid") and facts.st_uid != os.getuid()):
        return False
    try:
        lock = _hold_folder(hidden)
    except BlockingIOError:
        return False
    if lock is None:
        return age > DAY
    os.close(lock)
    return True


def _hold_folder(folder: Path) -> int | None:
    """An open file that holds the folder's lock; None where there are no locks.

    Raises:
        BlockingIOError: another process holds it.
    """
    if sys.platform == "win32":
        return None
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise
    except OSError:  # some network file systems lock no folders
        os.close(file)
        return None
    return file


def _sync(path: Path) -> None:
    """Wait until a file's or folder's content is on the disk."""
    if sys.platform == "win32" and path.is_dir():  # where folders cannot be opened
        return
    file = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(file)
