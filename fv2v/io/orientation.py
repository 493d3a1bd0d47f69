# SPDX-License-Identifier: Apache-2.0
"""EXIF orientation of PNG and WebP, which OpenCV applies to opaque pictures alone."""

from collections.abc import Callable
from typing import Literal

import numpy as np

ORIENTATION = 0x0112  # TIFF's tag
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # as EXIF 2.3 defines them in 4.6.4
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda image: np.rot90(image),
}


def turned(image: np.ndarray, encoded: bytes) -> np.ndarray:
    """(H, W, C) as stored -> upright, by the EXIF of the PNG or WebP that it was decoded from."""
    turn = TURNS.get(_orientation(_exif(encoded)))
    return image if turn is None else np.ascontiguousarray(turn(image))


def _exif(encoded: bytes) -> bytes:
    """The TIFF structure; b"" where there is none."""
    if encoded.startswith(b"\x89PNG"):
        return _chunk(encoded, 8, b"eXIf", big_endian=True)
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return _chunk(encoded, 12, b"EXIF", big_endian=False).removeprefix(b"Exif\0\0")
    return b""


def _chunk(encoded: bytes, at: int, name: bytes, big_endian: bool) -> bytes:
    """The contents of the first chunk of that name, in PNG (big-endian) or RIFF."""
    while at + 8 <= len(encoded):
        head, size = encoded[at : at + 4], encoded[at + 4 : at + 8]
        if big_endian:
            head, size = size, head
        length = int.from_bytes(size, "big" if big_endian else "little")
        if head == name:
            return encoded[at + 8 : at + 8 + length]
        at += 8 + (length + 4 if big_endian else length + length % 2)  # a checksum; a byte of padding
    return b""


def _orientation(tiff: bytes) -> int:
    """1 to 8; 1, upright, where it is not stated."""
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], order)

    start = number(4, 4)
    for entry in range(start + 2, start + 2 + 12 * number(start, 2), 12):
        if number(entry, 2) == ORIENTATION:
            return number(entry + 8, 2)
    return 1
