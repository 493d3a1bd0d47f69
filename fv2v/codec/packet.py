# SPDX-License-Identifier: Apache-2.0
"""What one packet says of one frame; how the first frame after a refresh is coded.

A payload is one range-coded string (range_coder.py):

    KEYPOINTS   and 8 bits, where not as many keypoints are sent as in the frame that this one is predicted
                from, or, in a refresh, as there are: how many. The δ of the others stay as they were, 0 in a
                refresh, and are left out below
    kind        PREDICTED from the frame before, OLDER from an earlier one, REFRESH
    number      of the frame: its last 7 bits; in a refresh 32 bits
    PREDICTED   changes since that frame, by `Distribution.of` (model.py)
    OLDER       6 bits: how many frames back beyond the one before; changes
    REFRESH     8 bits version, 16 bits fingerprint of the preset, 24 bits step; for each class of numbers
                (angles, t, scale, x, y and z of δ) 6 bits for its scale, then its numbers

A packet is a payload; or, as no payload begins with the byte BUNDLE: that byte, then for each payload, the
newest first, its length as a byte, or 255 and two bytes, and itself. Nothing is aligned or marked otherwise:
what carries packets must keep their lengths, as UDP and data channels do.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from fv2v.codec.model import OCTAVE, ONE, Distribution, logarithm
from fv2v.codec.quantize import Quantizer
from fv2v.codec.range_coder import TOTAL, CodecError, RangeDecoder, RangeEncoder

VERSION = 2  # of all of this, model.npz included: whoever changes what bytes mean raises it
PREDICTED, OLDER, REFRESH, KEYPOINTS = range(4)
NUMBER_BITS, BACK_BITS, KEYPOINTS_BITS = 7, 6, 8
NUMBERS = 1 << NUMBER_BITS
KEPT = 1 << BACK_BITS  # frames that both sides remember
BUNDLE = 0xFF
MOST_PAYLOADS = 16  # of a bundle
_KINDS = (
    0,
    60_000,
    62_000,
    65_000,
    BUNDLE << 8,
    TOTAL,
)  # the last is no kind: a payload never begins with BUNDLE
_SCALE_BITS, _SCALE_STEP = 6, OCTAVE // 2


def encode_kind(coder: RangeEncoder, kind: int) -> None:
    coder.encode(_KINDS[kind], _KINDS[kind + 1] - _KINDS[kind])


def decode_kind(coder: RangeDecoder) -> int:
    kind = coder.decode(_KINDS)
    if kind > KEYPOINTS:
        raise CodecError("not a packet of this codec")
    return kind


def encode_whole(coder: RangeEncoder, numbers: np.ndarray, quantizer: Quantizer, keypoints: int) -> None:
    """Numbers that are predicted from nothing, δ of the first `keypoints`."""
    for part in _classes(quantizer, keypoints):
        values = numbers[part]
        mean = max(int(np.abs(values).sum()) * ONE // len(values), 1)
        code = min(max((int(logarithm(np.array(mean))) - OCTAVE) // _SCALE_STEP, 0), (1 << _SCALE_BITS) - 1)
        coder.encode_bits(code, _SCALE_BITS)
        _wide(code, len(values)).encode(coder, values)


def decode_whole(coder: RangeDecoder, quantizer: Quantizer, keypoints: int) -> np.ndarray:
    numbers = np.zeros(quantizer.size, np.int64)
    for part in _classes(quantizer, keypoints):
        code = coder.decode_bits(_SCALE_BITS)
        numbers[part] = _wide(code, len(numbers[part])).decode(coder)
    return numbers


def _classes(quantizer: Quantizer, keypoints: int) -> Iterator[slice]:
    pose, size = quantizer.pose, quantizer.end(keypoints)
    scales = quantizer.config.head.scales
    yield from (
        part
        for part in (slice(0, 3), slice(3, pose - scales), slice(pose - scales, pose))
        if part.stop > part.start
    )
    if keypoints:
        yield from (slice(pose + axis, size, 3) for axis in range(3))


def _wide(code: int, count: int) -> Distribution:
    """About 0, of a scale that a refresh states."""
    near = np.full(count, OCTAVE + code * _SCALE_STEP)
    return Distribution(np.zeros(count, np.int64), np.array([near, near + OCTAVE]), np.full(count, ONE // 4))


def join(payloads: Sequence[bytes]) -> bytes:
    """A packet of payloads, the newest first."""
    if len(payloads) == 1:
        return payloads[0]
    parts = [bytes([BUNDLE])]
    for payload in payloads:
        length = len(payload)
        parts += [bytes([length]) if length < 255 else b"\xff" + length.to_bytes(2, "big"), payload]
    return b"".join(parts)


def split(packet: bytes) -> list[bytes]:
    """The payloads of a packet, the newest first."""
    if not packet:
        raise CodecError("expected a packet, got 0 bytes")
    if packet[0] != BUNDLE:
        return [packet]
    payloads: list[bytes] = []
    at = 1
    while at < len(packet):
        length, at = packet[at], at + 1
        if length == 255:
            length, at = int.from_bytes(packet[at : at + 2], "big"), at + 2
        payload, at = packet[at : at + length], at + length
        if len(payload) < max(length, 1) or len(payloads) == MOST_PAYLOADS:
            raise CodecError(f"damaged: a bundle of {len(packet)} bytes that does not hold what it says")
        payloads.append(payload)
    if not payloads:
        raise CodecError("damaged: a bundle of nothing")
    return payloads
