# SPDX-License-Identifier: Apache-2.0
"""How many pixels a picture has, by its header, before a decoder gives it memory.

A format that is not here is not decoded. Numbers are read where each format's specification has them.
"""

import re
from collections.abc import Callable

from fv2v.io.limits import PIXELS, check_limit

Size = tuple[int, int]  # height, width

DEEP = PIXELS // 2  # pixels of 16 bits a colour: decoded and converted they take twice the memory
FLOATS = PIXELS * 3 // 8

_TIFF_HEIGHT, _TIFF_WIDTH = 257, 256
_TIFF_SHORT = 3
_FRAMES_OF_JPEG = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers SOF0 to SOF15
_ALONE_IN_JPEG = {0x01, *range(0xD0, 0xD9)}  # markers without a length


def picture_size(data: bytes) -> Size | None:
    """(height, width) of an encoded picture; None: no format that is known here, or a header cut short.

    Of a picture made of several the largest numbers: what a decoder would make room for.

    Raises:
        LimitError: more than `PIXELS`, or fewer where colours may have more than 8 bits.
    """
    for begin, measure, most in _FORMATS:
        if begin.match(data):
            try:
                size = measure(data)
            except (IndexError, ValueError):
                return None
            if size is None or 0 in size:
                return None
            check_limit("pixels", size[0] * size[1], most)
            return size
    return None


def _big(data: bytes, at: int, size: int = 4) -> int:
    return _number(data, at, size, "big")


def _little(data: bytes, at: int, size: int = 4) -> int:
    return _number(data, at, size, "little")


def _number(data: bytes, at: int, size: int, order: str) -> int:
    if at + size > len(data):
        raise IndexError("the header is cut short")
    return int.from_bytes(data[at : at + size], "big" if order == "big" else "little")


def _png(data: bytes) -> Size:
    return _big(data, 20), _big(data, 16)


def _gif(data: bytes) -> Size:
    return _little(data, 8, 2), _little(data, 6, 2)


def _jpeg(data: bytes) -> Size | None:
    """By the first frame header: ITU-T T.81, B.2.2."""
    at = 2
    while True:
        if data[at] != 0xFF:
            at = data.index(b"\xff", at)  # decoders skip what does not belong there
        marker = data[at + 1]
        if marker in _FRAMES_OF_JPEG:
            return _big(data, at + 5, 2), _big(data, at + 7, 2)
        if marker == 0xFF:
            at += 1
        elif marker in _ALONE_IN_JPEG or marker == 0:
            at += 2
        else:
            at += 2 + max(_big(data, at + 2, 2), 2)


def _webp(data: bytes) -> Size:
    kind = data[12:16]
    if kind == b"VP8X":
        return _little(data, 27, 3) + 1, _little(data, 24, 3) + 1
    if kind == b"VP8L":
        packed = _little(data, 21)
        return (packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1
    return _little(data, 28, 2) & 0x3FFF, _little(data, 26, 2) & 0x3FFF


def _bmp(data: bytes) -> Size:
    if _little(data, 14) == 12:  # OS/2's header
        return _little(data, 20, 2), _little(data, 18, 2)
    height = _little(data, 22)
    return min(height, (1 << 32) - height), _little(data, 18)  # negative: from the top down


def _tiff(data: bytes) -> Size:
    """By the entries of the first directory, of TIFF and of BigTIFF."""
    number = _little if data[:2] == b"II" else _big
    wide = number(data, 2, 2) == 43
    at = number(data, 8, 8) if wide else number(data, 4)
    count = number(data, at, 8 if wide else 2)
    found = {_TIFF_HEIGHT: 0, _TIFF_WIDTH: 0}
    begin, step, value = (at + 8, 20, 12) if wide else (at + 2, 12, 8)
    for entry in range(begin, min(begin + step * count, len(data)), step):
        tag = number(data, entry, 2)
        if tag in found:
            size = 2 if number(data, entry + 2, 2) == _TIFF_SHORT else 4
            found[tag] = max(found[tag], number(data, entry + value, size))
    return found[_TIFF_HEIGHT], found[_TIFF_WIDTH]


def _jpeg2000(data: bytes) -> Size:
    at = data.index(b"\xff\x4f\xff\x51")  # the codestream's SIZ marker
    return _big(data, at + 12), _big(data, at + 8)


def _avif(data: bytes) -> Size:
    sizes = [(_big(data, at + 12), _big(data, at + 8)) for at in _places(data, b"ispe")]
    return max(height for height, _ in sizes), max(width for _, width in sizes)


def _places(data: bytes, name: bytes) -> list[int]:
    return [found.start() for found in re.finditer(re.escape(name), data)]


def _netpbm(data: bytes) -> Size:
    """PBM, PGM, PPM and PFM: two numbers after the magic one, with comments among them."""
    width, height = re.sub(rb"#[^\n\r]*", b"", data[2:4096]).split(maxsplit=2)[:2]
    return int(height), int(width)


def _pam(data: bytes) -> Size:
    found = dict(re.findall(rb"^(HEIGHT|WIDTH)\s+(\d{1,10})\s", data[:4096], re.M))
    if len(found) < 2:
        raise ValueError("no size in the header")
    return int(found[b"HEIGHT"]), int(found[b"WIDTH"])


def _radiance(data: bytes) -> Size | None:
    found = re.search(rb"\n[-+]Y (\d{1,10}) [-+]X (\d{1,10})\n", data[:65536])
    return (int(found[1]), int(found[2])) if found else None


def _sun(data: bytes) -> Size:
    return _big(data, 8), _big(data, 4)


def _exr(data: bytes) -> Size:
    at = data.index(b"dataWindow\0box2i\0") + 21
    left, top, right, bottom = (_little(data, at + 4 * i) for i in range(4))
    return (bottom - top) % (1 << 32) + 1, (right - left) % (1 << 32) + 1


_FORMATS: list[tuple[re.Pattern[bytes], Callable[[bytes], Size | None], int]] = [
    (re.compile(begin, re.S), measure, most)
    for begin, measure, most in (
        (rb"\x89PNG\r\n\x1a\n....IHDR........\x10", _png, DEEP),
        (rb"\x89PNG\r\n\x1a\n....IHDR", _png, PIXELS),
        (rb"\xff\xd8\xff", _jpeg, PIXELS),
        (rb"RIFF....WEBP", _webp, PIXELS),
        (rb"GIF8[79]a", _gif, PIXELS),
        (rb"BM", _bmp, PIXELS),
        (rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]", _tiff, FLOATS),
        (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", _jpeg2000, DEEP),
        (rb"....ftyp", _avif, DEEP),
        (rb"P[1-6]\s|P[fF]\s", _netpbm, FLOATS),
        (rb"P7\s", _pam, DEEP),
        (rb"#\?(RADIANCE|RGBE)", _radiance, FLOATS),
        (rb"\x59\xa6\x6a\x95", _sun, PIXELS),
        (rb"\x76\x2f\x31\x01", _exr, FLOATS),
    )
]
