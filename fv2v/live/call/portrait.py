# SPDX-License-Identifier: Apache-2.0
"""The other side's portrait: a file that comes in pieces, checked before a decoder sees it."""

import hashlib

import numpy as np

from fv2v.codec.portrait import decode_portrait
from fv2v.io.limits import LimitError
from fv2v.io.picture_size import picture_size
from fv2v.live.call.messages import Hello, PeerError

SIDE = 1024  # pixels, at most
BEGINNINGS = (b"\xff\xd8\xff", b"RIFF")  # JPEG, WebP; of a PNG, a few bytes may ask for gigabytes


class PortraitFile:
    """Takes the pieces of the file that a greeting announces."""

    def __init__(self, hello: Hello) -> None:
        self._hello = hello
        self._data = bytearray()

    def add(self, piece: bytes) -> bytes | None:
        """The file, once it is whole. PeerError for more than was announced, or another content."""
        self._data += piece
        if len(self._data) > self._hello.size:
            raise PeerError(f"a portrait of more than the {self._hello.size} bytes that were announced")
        if not piece or len(self._data) < self._hello.size:
            return None
        data = bytes(self._data)
        if hashlib.sha256(data).hexdigest() != self._hello.portrait:
            raise PeerError("a portrait of another content than was announced")
        return data


def received_portrait(data: bytes) -> np.ndarray:
    """(H, W, 3) uint8 of a peer's JPEG or WebP.

    Raises:
        PeerError: another format, a damaged file, a side of more than `SIDE` pixels, or a picture that is not
            square.
    """
    try:
        size = picture_size(data) if data.startswith(BEGINNINGS) else None
    except LimitError as error:
        raise PeerError(f"a portrait with too many pixels: {error}") from None
    if size is None:
        raise PeerError("a portrait that is no JPEG or WebP")
    if max(size) > SIDE or size[0] != size[1]:
        raise PeerError(
            f"a portrait of {size[1]} x {size[0]} pixels, expected a square of at most {SIDE} on a side"
        )
    try:
        image = decode_portrait(data)
    except ValueError as error:
        raise PeerError(str(error)) from None
    if image.shape[:2] != size:
        raise PeerError("a portrait of another size than its header says")
    return image
