# SPDX-License-Identifier: Apache-2.0
"""H.265 streams of a portrait that carry supplemental messages: players show the portrait alone.

libx265 codes the portrait once and then copies of it, some bytes each; after each picture comes its message,
as a suffix SEI. Files are raw streams (Annex B).
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from io import BytesIO

import av
import numpy as np

from fv2v.codec.range_coder import CodecError
from fv2v.io.container import url_of
from fv2v.io.encoders import to_frame
from fv2v.io.paths import PathLike, check_input, check_output, whole_file

SUFFIXES = (".h265", ".hevc", ".265")
SUFFIX_SEI = 40  # NAL unit type
_START = b"\0\0\0\1"


def write_h265(
    path: PathLike,
    portrait: np.ndarray,
    payloads: Sequence[Sequence[tuple[int, bytes]]],
    *,
    fps: float | Fraction = 25,
    crf: float = 24.0,
) -> None:
    """Write a stream, whole or not at all.

    Args:
        path: .h265, .hevc or .265.
        portrait: (H, W, 3) uint8; odd sizes grow by a row or column.
        payloads: for each picture its messages: (payload type, payload).
        fps: pictures a second.
        crf: of libx265: the portrait's quality.

    Raises:
        ValueError: no pictures; a path that cannot be written.
    """
    path = check_output(path, SUFFIXES)
    if not payloads:
        raise ValueError(f"{path}: expected the messages of one picture at least, got none")
    with whole_file(path) as temporary, temporary.open("wb") as file:
        for unit, messages in zip(
            _pictures(portrait, len(payloads), Fraction(fps), crf), payloads, strict=True
        ):
            file.write(unit + b"".join(suffix_sei(kind, payload) for kind, payload in messages))


def read_h265(path: PathLike) -> Iterator[list[tuple[int, bytes]]]:
    """The messages of each picture in a file: (payload type, payload), suffix SEI alone.

    Raises:
        FileNotFoundError: there is no such file.
        CodecError: no H.265 stream, or a message that is damaged.
    """
    path = check_input(path)
    try:
        with av.open(url_of(path), format="hevc") as container:
            for packet in container.demux(video=0):
                if packet.size:
                    yield list(messages_of(bytes(packet)))
    except av.error.FFmpegError as error:
        raise CodecError(f"{path}: no stream of H.265 ({error.strerror})") from None


def suffix_sei(kind: int, payload: bytes) -> bytes:
    """A NAL unit with one message, after its start code."""
    body = _extended(kind) + _extended(len(payload)) + payload + b"\x80"
    return _START + bytes([SUFFIX_SEI << 1, 1]) + _protected(body)


def messages_of(unit: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages of suffix SEI in an access unit of Annex B."""
    for nal in unit.replace(_START, _START[1:]).split(_START[1:])[1:]:
        if len(nal) > 2 and nal[0] >> 1 & 63 == SUFFIX_SEI:
            yield from _messages(nal[2:].replace(b"\0\0\3", b"\0\0"))


def _pictures(portrait: np.ndarray, count: int, fps: Fraction, crf: float) -> Iterator[bytes]:
    """An access unit for each picture, in the order of showing."""
    options = {
        "crf": str(crf),
        "preset": "medium",
        "x265-params": "keyint=-1:bframes=0:repeat-headers=1:annexb=1:info=0:log-level=none",
    }
    with av.open(BytesIO(), "w", format="hevc") as container:  # only its encoder is used
        stream = container.add_stream("libx265", rate=fps, options=options)
        frame = to_frame(portrait)
        stream.codec_context.height, stream.codec_context.width = frame.height, frame.width
        stream.codec_context.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / fps
        for number in range(count):
            frame.pts = number
            yield from map(bytes, stream.encode(frame))
        yield from map(bytes, stream.encode(None))


def _messages(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Of an SEI, without its header: payload type, size, payload, until nothing but the last bit is left."""
    at = 0
    while len(body) - at > 1:
        numbers = []
        for _ in range(2):
            value = 0
            while at < len(body) and body[at] == 255:
                value, at = value + 255, at + 1
            if at == len(body):
                raise CodecError("damaged: a message whose size is missing")
            numbers.append(value + body[at])
            at += 1
        kind, size = numbers
        if at + size > len(body):
            raise CodecError(f"damaged: a message of {size} bytes of which {len(body) - at} are there")
        yield kind, body[at : at + size]
        at += size


def _extended(value: int) -> bytes:
    return b"\xff" * (value // 255) + bytes([value % 255])


def _protected(body: bytes) -> bytes:
    """With a 3 after two zeros wherever a start code, or such a 3, would be read otherwise."""
    out, zeros = bytearray(), 0
    for byte in body:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)
