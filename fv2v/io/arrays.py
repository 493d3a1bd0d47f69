# SPDX-License-Identifier: Apache-2.0
"""Arrays of numpy from `.npy` and `.npz`: numbers and text alone, of bounded size, those asked for."""

import zipfile
from collections.abc import Collection
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from fv2v.io.limits import ARRAY, ENTRIES, check_limit

_KINDS = "biufU"  # of dtypes: truth values, numbers and text
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # numpy's; others may ask for gigabytes
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_arrays(
    path: Path, wanted: Collection[str] | None = None
) -> np.ndarray | dict[str, np.ndarray | None]:
    """The array of a `.npy`, or those of a `.npz` by name; its first bytes tell which it is.

    Args:
        path: the file.
        wanted: names in a `.npz`; others are not read, and None. Left out: all of them.

    Raises:
        ValueError: objects, which would run code; arrays larger than the limits; a damaged file. So do
            others, which `limits.reading` takes.
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            file.seek(0)
            return _read(file, path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        check_limit("arrays", len(entries), ENTRIES)
        arrays: dict[str, np.ndarray | None] = {}
        left = ARRAY
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            arrays[name] = None
            if wanted is None or name in wanted:
                if entry.compress_type not in _COMPRESSIONS:
                    raise ValueError(f"{entry.filename!r} is compressed as numpy compresses nothing")
                check_limit("bytes of arrays", entry.file_size, left)
                left -= entry.file_size
                with archive.open(entry) as member:
                    arrays[name] = _read(member, entry.file_size)
    return arrays


def _read(file: IO[bytes], size: int) -> np.ndarray:
    """One array, of a file of that many bytes."""
    check_limit("bytes of an array", size, ARRAY + npy.MAGIC_LEN + 2**16)
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"expected an array of numbers, got numpy's format {version[0]}.{version[1]}")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.kind not in _KINDS:
        raise ValueError(f"expected an array of numbers, got one of {str(dtype)[:40]}")
    if not all(0 <= length <= size for length in shape):
        raise ValueError(f"expected an array of at most {size} numbers, got the shape {shape}")
    expected = prod(shape) * dtype.itemsize
    if expected > size:
        raise ValueError(f"cut short: {expected} bytes of an array in a file of {size}")
    values = np.empty(prod(shape), dtype)
    if expected and file.readinto(values.view(np.uint8)) != expected:  # type: ignore[attr-defined]
        raise ValueError(f"cut short: the array should have {expected} bytes")
    return values.reshape(shape, order="F" if fortran else "C")
