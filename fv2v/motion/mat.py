# SPDX-License-Identifier: Apache-2.0
"""Numbers from MATLAB's `.mat` files of level 5, which scipy and MATLAB's `save -v6` and `-v7` write.

A file is a header of 128 bytes and elements, each a type, a size and contents; one of type 15 holds another,
compressed by zlib. Arrays are elements of elements: flags, dimensions, name, numbers ("MAT-File Format", The
MathWorks, chapter 1). Cells, structures, objects, sparse and complex arrays are passed over, never made.
"""

import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

from fv2v.io.limits import ARRAY, ENTRIES, check_bytes, check_limit

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = range(6, 16)  # of arrays: double, single, and whole numbers of 1 to 8 bytes
_COMPLEX = 0x0800  # a flag
_NAMES, _DIMENSIONS = 64, 32  # characters of a name, and how many dimensions, at most


def read_mat(path: Path, wanted: str) -> dict[str, np.ndarray | None]:
    """The arrays in a file by name: `wanted` with its numbers, the others as None.

    Raises:
        ValueError: a damaged file, or one of another level; an array that is larger than the limits. So do
            others, which `limits.reading` takes.
    """
    check_bytes(path, ARRAY, "bytes of a .mat")
    data = memoryview(path.read_bytes())
    order = {b"IM": "<", b"MI": ">"}.get(bytes(data[126:128]))
    if order is None or len(data) < _HEADER:
        raise ValueError("expected a .mat of level 5 (MATLAB's save -v7), or scipy.io.savemat's")
    arrays: dict[str, np.ndarray | None] = {}
    left = ARRAY
    for kind, contents in _elements(data[_HEADER:], order):
        check_limit("arrays", len(arrays), ENTRIES)
        if kind == _COMPRESSED:
            inflated = _inflated(contents, left)
            left -= len(inflated)
            kind, contents = next(_elements(memoryview(inflated), order), (0, contents))
        if kind == _MATRIX:
            name, array = _matrix(contents, order, wanted)
            arrays[name] = array
    return arrays


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and contents of each. ValueError for one that is cut short."""
    at = 0
    while at + 8 <= len(data):
        kind, size = np.frombuffer(data[at : at + 8], f"{order}u4").tolist()
        if kind >> 16:  # small: size and type in one number, the contents in the other
            kind, size, begin, step = kind & 0xFFFF, kind >> 16, at + 4, 8
            if size > 4:
                raise ValueError("damaged: an element of 4 bytes that says it has more")
        else:
            begin = at + 8
            step = 8 + size if kind == _COMPRESSED else 8 + -(-size // 8) * 8
        if begin + size > len(data):
            raise ValueError(f"cut short: an element of {size} bytes, of which {len(data) - begin} are there")
        yield kind, data[begin : begin + size]
        at += step


def _inflated(data: memoryview, most: int) -> bytes:
    contents = zlib.decompressobj().decompress(data, most + 1)  # 0 would be no limit
    check_limit("bytes of arrays", len(contents), most)
    return contents


def _matrix(data: memoryview, order: str, wanted: str) -> tuple[str, np.ndarray | None]:
    """Name and numbers of an array; None for those not wanted."""
    parts = _elements(data, order)
    flags = np.frombuffer(_part(parts, (6,)), f"{order}u4")
    shape = np.frombuffer(_part(parts, (5,)), f"{order}i4").tolist()
    name = bytes(_part(parts, (1, 2))[:_NAMES]).decode("ascii", "replace")
    if name != wanted:
        return name, None
    if int(flags[0]) & 0xFF not in _CLASSES or int(flags[0]) & _COMPLEX:
        raise ValueError(f"expected {name!r} as an array of real numbers, got another kind")
    kind, contents = next(parts, (0, data[:0]))
    if kind not in _STORED or not 0 < len(shape) <= _DIMENSIONS or min(shape) < 0:
        raise ValueError(f"damaged: {name!r} has no numbers")
    numbers = np.frombuffer(contents, order + _STORED[kind])
    if len(numbers) != prod(shape):
        raise ValueError(f"damaged: {name!r} should be {tuple(shape)}, and has {len(numbers)} numbers")
    return name, numbers.reshape(shape, order="F")


def _part(parts: Iterator[tuple[int, memoryview]], kinds: tuple[int, ...]) -> memoryview:
    kind, contents = next(parts, (0, memoryview(b"")))
    if kind not in kinds:
        raise ValueError("damaged: an array without flags, dimensions and a name")
    return contents
