# SPDX-License-Identifier: Apache-2.0
"""`.fv2v`: a portrait, motion and sound in one file that plays from its beginning while it arrives.

    "fv2v"  version (1 byte)  records  index  offset of the index (8 bytes)  "2v2f"

A record is a byte, a length, and so many bytes. Numbers are little endian; a length, and a time stamp, is
LEB128: 7 bits a byte, the low ones first, the high bit set on all but the last. The byte is

    0 to 249   a motion packet of that length, which is not written again; it is shown as long after the one
               before as that was
    MOTION     its first field is the ticks since the frame before (of the first: its time stamp, zigzag)
    HEADER     JSON: preset, keypoints, time_base, rate
    PORTRAIT   a picture, AVIF, WebP or JPEG
    SOUND      the next piece of a Matroska file with the sound, which plays cut short, too
    INDEX      JSON: for each frame that decodes alone its number and offset; how many frames there are

The header comes first, then the portrait; the sound of a second comes before the motion of that second. What
is cut off leaves a file of everything before.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from typing import Any, BinaryIO

from fv2v.codec.range_coder import CodecError
from fv2v.io.paths import PathLike, check_input, whole_file
from fv2v.io.timing import Timing

SUFFIX = ".fv2v"
MAGIC, END = b"fv2v", b"2v2f"
VERSION = 1
MOTION, HEADER, PORTRAIT, SOUND, INDEX = range(250, 255)
LARGEST = 1 << 28  # bytes of a record: what says more is damaged
FRAMES = 1 << 22  # 38 hours at 30 a second
PICTURES = {"avif": (4, b"ftyp"), "webp": (8, b"WEBP"), "jpeg": (0, b"\xff\xd8\xff")}  # where, what they have


@dataclass(frozen=True, slots=True)
class Recording:
    """What a `.fv2v` holds."""

    preset: str
    keypoints: int
    timing: Timing  # of T frames
    portrait: bytes
    packets: Sequence[bytes]  # T
    sound: bytes = b""  # a Matroska file; empty: none
    refreshes: Sequence[int] = (0,)  # frames that decode alone
    truncated: bool = False  # it ended before its index

    @property
    def portrait_format(self) -> str:
        return next(
            (name for name, (at, mark) in PICTURES.items() if self.portrait[at:].startswith(mark)), "unknown"
        )


@dataclass(slots=True)
class _Read:
    header: dict[str, Any] | None = None
    portrait: bytes = b""
    pts: list[int] = field(default_factory=list)
    packets: list[bytes] = field(default_factory=list)
    sound: list[bytes] = field(default_factory=list)
    refreshes: list[int] | None = None


def write_recording(path: PathLike, recording: Recording) -> None:
    """Write a `.fv2v`, whole or not at all."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        for part in encoded(recording):
            file.write(part)


def encoded(recording: Recording) -> Iterator[bytes]:
    """The bytes of a `.fv2v`, record after record, in the order in which they are needed."""
    timing, at = recording.timing, 0
    header = {
        "preset": recording.preset,
        "keypoints": recording.keypoints,
        "time_base": timing.time_base.as_integer_ratio(),
        "rate": timing.rate.as_integer_ratio(),
    }
    parts = [
        MAGIC + bytes([VERSION]),
        _record(HEADER, json.dumps(header).encode()),
        _record(PORTRAIT, recording.portrait),
    ]
    offsets, refreshes, sounded, second = [], set(recording.refreshes), 0, -1.0
    first, total = timing.pts[0], max(timing.pts[-1] - timing.pts[0], 1)
    step = None
    for number, (pts, packet) in enumerate(zip(timing.pts, recording.packets, strict=True)):
        now = float((pts - first) * timing.time_base)
        if now >= second + 1:
            second = now
            share = ((pts - first) * timing.time_base + 1) / (total * timing.time_base)
            until = min(len(recording.sound), int(len(recording.sound) * share))
            if until > sounded:
                parts.append(_record(SOUND, recording.sound[sounded:until]))
                sounded = until
        yield from parts
        at += sum(map(len, parts))
        if number in refreshes:
            offsets.append((number, at))
        change = _zigzag(pts) if number == 0 else pts - timing.pts[number - 1]
        if change == step and len(packet) < MOTION:
            parts = [bytes([len(packet)]) + packet]
        else:
            parts = [_record(MOTION, _number(change) + packet)]
        step = change if number else None
    parts.append(_record(SOUND, recording.sound[sounded:]) if sounded < len(recording.sound) else b"")
    yield from parts
    at += sum(map(len, parts))
    index = {"refreshes": offsets, "frames": len(recording.packets)}
    yield _record(INDEX, json.dumps(index).encode()) + at.to_bytes(8, "little") + END


def read_recording(path: PathLike) -> Recording:
    """Read a `.fv2v`; one that is cut short up to there.

    Raises:
        FileNotFoundError: there is no such file.
        CodecError: another file, a damaged one, or one cut short before its first frame.
    """
    path = check_input(path)
    try:
        with path.open("rb") as file:
            return parse(file)
    except CodecError as error:
        raise CodecError(f"{path}: {error}") from None


def parse(stream: BinaryIO) -> Recording:
    """`read_recording` of a stream; what follows the index is not read."""
    read = _Read()
    for kind, body in records(stream):
        if kind == HEADER:
            read.header = _json(body)
        elif kind == PORTRAIT:
            read.portrait = body
        elif kind == SOUND:
            read.sound.append(body)
        elif kind == INDEX:
            read.refreshes = [number for number, _ in _pairs(_json(body))]
            break
        else:
            _add_motion(read, kind, body)
    header = read.header
    if header is None or not read.portrait or not read.packets:
        raise CodecError("cut short before its first frame, or damaged")
    try:
        preset, keypoints = str(header["preset"]), int(header["keypoints"])
        base, rate = Fraction(*map(int, header["time_base"])), Fraction(*map(int, header["rate"]))
        timing = Timing(tuple(read.pts), base, rate)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise CodecError(f"damaged: a header that cannot be used ({error})") from None
    return Recording(
        preset,
        keypoints,
        timing,
        read.portrait,
        read.packets,
        b"".join(read.sound),
        tuple(read.refreshes or (0,)),
        truncated=read.refreshes is None,
    )


def records(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The records as they arrive: (kind, content), up to the end or to where the stream is cut."""
    start = stream.read(len(MAGIC) + 1)
    if start[:4] != MAGIC:
        raise CodecError("no .fv2v file")
    if start[4:] != bytes([VERSION]):
        raise CodecError(f"expected a .fv2v file of version {VERSION}, got {start[4:].hex() or 'none'}")
    while kind := stream.read(1):
        length = kind[0] if kind[0] < MOTION else _read_number(stream)
        if kind[0] > INDEX or (length is not None and length > LARGEST):
            raise CodecError("damaged: a record that cannot be")
        body = b"" if length is None else stream.read(length)
        if length is None or len(body) < length:
            return
        yield kind[0], body


def _add_motion(read: _Read, kind: int, body: bytes) -> None:
    if len(read.packets) == FRAMES:
        raise CodecError(f"expected at most {FRAMES} frames")
    before = read.pts[-1] if read.pts else None
    if kind == MOTION:
        rest = BytesIO(body)
        change = _read_number(rest)
        body = rest.read()
        if change is None:
            raise CodecError("damaged: a frame without its time")
        pts = (change >> 1) ^ -(change & 1) if before is None else before + change
    elif before is None:
        raise CodecError("damaged: a first frame without its time")
    else:
        pts = 2 * before - read.pts[-2] if len(read.pts) > 1 else before + 1
    if before is not None and pts <= before:
        raise CodecError("damaged: time stamps that do not rise")
    read.pts.append(pts)
    read.packets.append(body)


def _record(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + _number(len(body)) + body


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _read_number(stream: BinaryIO) -> int | None:
    """None where the stream ends."""
    value = 0
    for shift in range(0, 63, 7):
        byte = stream.read(1)
        if not byte:
            return None
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise CodecError("damaged: a length that cannot be")


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else ~value << 1 | 1


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise CodecError("damaged: a header or an index that is none")
    return value


def _pairs(index: dict[str, Any]) -> list[tuple[int, int]]:
    pairs = index.get("refreshes")
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(each, int) for each in pair)
        for pair in pairs
    ):
        raise CodecError("damaged: an index that is none")
    return [(number, offset) for number, offset in pairs]
