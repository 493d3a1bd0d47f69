# SPDX-License-Identifier: Apache-2.0
"""What the sides of a call say, as bytes. Nothing that arrives is trusted: what cannot be is a `PeerError`.

On the control channel, reliable and in order, a message begins with its kind, a byte:

    HELLO     JSON, the first: `Hello`
    PORTRAIT  the next piece of the portrait's file
    BYE       a byte, 1 where somebody is at fault; why this is the end, UTF-8

On the motion channel, unreliable and in any order:

    MOTION    4 bytes: when the frame was taken; a packet of fv2v.codec
    STATUS    `Status`: which frame arrived last, whether a refresh is needed, clocks

A time is the sender's own clock in milliseconds, of which 32 bits count. Numbers are big endian.
"""

import json
import re
import struct
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

from fv2v.io.limits import shown

VERSION = 1
HELLO, PORTRAIT, BYE, MOTION, STATUS = range(1, 6)
LARGEST = {HELLO: 2048, PORTRAIT: 16_385, BYE: 400, MOTION: 4096, STATUS: 15}  # bytes, the kind's included
PORTRAIT_BYTES = 1 << 18
NONE = 0xFFFF_FFFF
_STATUS = struct.Struct("!BIBIIB")
_HEX = re.compile("[0-9a-f]{64}")


class PeerError(ValueError):
    """The other side does what it must not, or cannot be talked to: it will not get better by itself."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Who calls: the portrait to come, the model that both need, and what is left of a call before."""

    preset: str
    model: str  # a SHA-256 of all that gives motion its meaning
    portrait: str  # the SHA-256 of its file
    size: int  # of it, in bytes
    holds: str  # the portrait of the other side that is here already; empty: none
    version: int = VERSION

    def encode(self) -> bytes:
        return bytes([HELLO]) + json.dumps(asdict(self)).encode()


@dataclass(frozen=True, slots=True)
class Status:
    """A receiver's word about motion, and what round trips are measured by."""

    number: int | None  # of the newest frame that arrived
    refresh: bool  # whether a frame that decodes alone is needed
    sent: int  # the clock at which this was sent
    echo: int | None  # `sent` of the other side's last status; None: none came
    held: int  # milliseconds that it was here, 255 at most

    def encode(self) -> bytes:
        number = NONE if self.number is None else self.number
        echo = NONE if self.echo is None else self.echo
        return _STATUS.pack(STATUS, number, self.refresh, self.sent, echo, self.held)


def clock(seconds: float | None = None) -> int:
    """Milliseconds, of which 32 bits count, of `time.monotonic`; now, or at a moment of it."""
    return round(1000 * (monotonic() if seconds is None else seconds)) & 0xFFFF_FFFE


def difference(later: int, sooner: int) -> int:
    """Milliseconds between two clocks of 32 bits, the shorter way round."""
    return (later - sooner + (1 << 31)) % (1 << 32) - (1 << 31)


def kind_of(message: Any) -> int:
    """Of bytes that may be a message."""
    if not isinstance(message, bytes) or not message:
        raise PeerError("a message without content, or of text")
    kind = message[0]
    if kind not in LARGEST:
        raise PeerError(f"a message of the unknown kind {kind}")
    if len(message) > LARGEST[kind]:
        raise PeerError(f"a message of {len(message)} bytes, expected at most {LARGEST[kind]} of its kind")
    return kind


def read_hello(message: bytes) -> Hello:
    """Every field is of its type and within limits; whether it suits us, the caller sees."""
    try:
        fields = json.loads(message[1:])
        hello = Hello(**fields)
    except (ValueError, TypeError, RecursionError):
        raise PeerError("a greeting that is none") from None
    if type(hello.version) is not int or hello.version != VERSION:
        raise PeerError(f"calls of version {shown(hello.version)}, expected {VERSION}: of another fv2v")
    texts = (hello.preset, hello.model, hello.portrait, hello.holds)
    if not all(isinstance(text, str) for text in texts) or len(hello.preset) > 100:
        raise PeerError("a greeting that is none")
    digests = (hello.model, hello.portrait, *filter(None, [hello.holds]))
    if not all(map(_HEX.fullmatch, digests)):
        raise PeerError("a greeting with a digest that is none")
    if type(hello.size) is not int or not 0 < hello.size <= PORTRAIT_BYTES:
        raise PeerError(f"a portrait of {shown(hello.size)} bytes, expected from 1 to {PORTRAIT_BYTES}")
    return hello


def read_status(message: bytes) -> Status:
    if len(message) != _STATUS.size:
        raise PeerError(f"a status of {len(message)} bytes, expected {_STATUS.size}")
    _, number, refresh, sent, echo, held = _STATUS.unpack(message)
    return Status(
        None if number == NONE else number, bool(refresh), sent, None if echo == NONE else echo, held
    )


def write_motion(taken: int, packet: bytes) -> bytes:
    return bytes([MOTION]) + taken.to_bytes(4, "big") + packet


def read_motion(message: bytes) -> tuple[int, bytes]:
    """When the frame was taken, and the codec's packet."""
    if len(message) < 6:
        raise PeerError(f"motion of {len(message)} bytes")
    return int.from_bytes(message[1:5], "big"), message[5:]


def pieces(portrait: bytes) -> list[bytes]:
    """The messages that bring a portrait."""
    size = LARGEST[PORTRAIT] - 1
    return [bytes([PORTRAIT]) + portrait[at : at + size] for at in range(0, len(portrait), size)]


def write_bye(reason: str, fault: bool) -> bytes:
    return bytes([BYE, fault]) + reason.encode()[: LARGEST[BYE] - 2]


def read_bye(message: bytes) -> tuple[bool, str]:
    """Whether somebody is at fault, and why it is over."""
    return message[1:2] == b"\1", shown(message[2:].decode("utf-8", "replace")) or "no reason given"
