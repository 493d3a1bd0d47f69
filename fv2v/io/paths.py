# SPDX-License-Identifier: Apache-2.0
"""The user's files: checked before any work is done, and written whole or not at all."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fv2v.io.hidden import hidden_folder, put_in_place

PathLike = str | os.PathLike[str]


def check_input(path: PathLike) -> Path:
    """Check that `path` is a file that is not empty, and return it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, a pipe or a device, or empty.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.is_dir():
        raise ValueError(f"{path}: expected a file, got a folder")
    if not path.is_file():  # files are read more than once
        raise ValueError(f"{path}: expected a file, got a pipe or a device; save what it gives as a file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty (0 bytes)")
    return path


def check_output(path: PathLike, suffixes: Collection[str], inputs: Iterable[PathLike] = ()) -> Path:
    """Check that `path` can be written, and return it. Nothing is written yet.

    Args:
        path: the file.
        suffixes: the endings that its name may have.
        inputs: files of the same command, which it must not overwrite.

    Raises:
        FileNotFoundError: its folder does not exist.
        ValueError: another suffix, a folder of that name, a folder that cannot be written to, or one of the
            inputs, under whatever name.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(suffixes)}, got {path.suffix!r}")
    if path.is_dir():
        raise ValueError(f"{path}: expected a file's name, got a folder's")
    for other in map(Path, inputs):
        if path.exists() and other.exists() and path.samefile(other):
            raise ValueError(f"{path}: expected a new file, this is the input {other}; choose another name")
    check_place(path)
    return path


def check_new_folder(path: PathLike) -> Path:
    """Check that the folder `path` can be made or is empty, and return it absolute. Nothing is made yet.

    Raises:
        FileNotFoundError: the folder that it goes into does not exist.
        ValueError: it holds something, is a file, or the folder that it goes into cannot be written to.
    """
    path = Path(path).absolute()
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"{path}: expected the name of a new folder, or an empty one; choose another name")
    check_place(path)
    return path


def check_place(path: Path) -> None:
    """Check that something can be written under the name `path`. Nothing is written yet.

    Raises:
        FileNotFoundError: its folder does not exist.
        ValueError: the folder is a file, or cannot be written to.
    """
    folder = path.parent
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{path}: {folder} is a file, expected a folder")
    if not folder.exists():
        raise FileNotFoundError(f"{path}: the folder {folder} does not exist; make it first")
    with hidden_folder(path):
        pass


@contextmanager
def whole_file(path: PathLike, named: Callable[[Path], Path] = Path) -> Iterator[Path]:
    """A name for a new file in a hidden folder beside `path`; the file becomes `path` when the block ends.

    `named` is asked then, with `path`, for the name that the file gets, in the same folder.

    So `path` holds either its old content or the whole new one, also after a power cut. A failed block, or an
    interrupt, leaves nothing behind; what a killed process left behind goes with the next file that is
    written into the folder (hidden.py).

    Raises:
        ValueError: the folder cannot be written to.
        OSError: the file cannot be written, as on a full disk; it names `path`.
    """
    path = Path(path)
    with hidden_folder(path) as hidden:
        temporary = hidden / path.name
        try:
            yield temporary
            put_in_place(temporary, named(path))
        except OSError as error:
            raise _of_the_target(error, hidden, path) from error


@contextmanager
def whole_folder(path: PathLike, named: Callable[[Path], Path] = Path) -> Iterator[Path]:
    """`whole_file` for a folder that does not exist yet, or is empty."""
    path = Path(path).absolute()
    with hidden_folder(path) as hidden:
        temporary = hidden / path.name
        temporary.mkdir()
        try:
            yield temporary
            put_in_place(temporary, named(path))
        except OSError as error:
            raise _of_the_target(error, hidden, path) from error


def _of_the_target(error: OSError, hidden: Path, path: Path) -> OSError:
    """The error of a write, with the name that the user knows; one of another file as it is."""
    name = error.filename
    if error.errno is None or not (name is None or Path(os.fsdecode(name)).is_relative_to(hidden)):
        return error
    return OSError(error.errno, error.strerror, str(path))
