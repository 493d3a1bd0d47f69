# SPDX-License-Identifier: Apache-2.0
"""The receiver's side: packets in, in any order and with gaps; the newest motion out."""

from dataclasses import dataclass

import numpy as np
import torch

from fv2v.codec import packet
from fv2v.codec.model import Contexts, Distribution, Frame, network
from fv2v.codec.quantize import LIMIT, STEP_UNIT, Quantizer, fingerprint
from fv2v.codec.range_coder import CodecError, RangeDecoder
from fv2v.config import ModelConfig
from fv2v.geometry import Motion

_LATE = packet.NUMBERS // 4  # a frame may come after so many newer ones


@dataclass(frozen=True, slots=True)
class _Decoded:
    contexts: Contexts
    quantizer: Quantizer


class MotionDecoder:
    """Decodes what a `MotionEncoder` of the same preset sends.

    Args:
        config: the preset.

    Attributes:
        status: of the last packet: "new"; "late", of a frame older than the newest, kept as a reference;
            "duplicate"; or "lost": predicted from a frame that did not arrive. None before the first.
        number: of the newest frame; None before there is one.
        keypoints: of how many, from the first on, it brought δ; those of the others are held.
        motion: its motion, on the CPU; before there is one a face at rest.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.status: str | None = None
        self.number: int | None = None
        self.motion = Motion(
            torch.eye(3)[None], torch.zeros(1, 3), torch.zeros(1, config.keypoints, 3), torch.ones(1, 1)
        )
        self._network = network()
        self._kept: dict[int, _Decoded] = {}

    @property
    def keypoints(self) -> int:
        return self.config.keypoints if self.number is None else self.contexts.keypoints

    @property
    def contexts(self) -> Contexts:
        """After the newest frame: equal to the encoder's."""
        if self.number is None:
            raise ValueError("expected a frame decoded before, there is none")
        return self._kept[self.number].contexts

    def decode(self, data: bytes) -> Motion:
        """The newest motion after a packet. One that is lost changes nothing: the newest so far is held.

        Raises:
            CodecError: bytes that are damaged, of another codec or version, or of a preset whose numbers mean
                something else. The decoder is then as before.
        """
        status = "lost"
        for payload in reversed(packet.split(bytes(data))):
            status = self._decode(payload)
        self.status = status
        return self.motion

    def _decode(self, payload: bytes) -> str:
        coder = RangeDecoder(payload)
        kind, keypoints = packet.decode_kind(coder), None
        if kind == packet.KEYPOINTS:
            keypoints, kind = coder.decode_bits(packet.KEYPOINTS_BITS), packet.decode_kind(coder)
            if keypoints > self.config.keypoints or kind == packet.KEYPOINTS:
                raise CodecError(f"damaged: {keypoints} keypoints, of {self.config.keypoints}")
        if kind == packet.REFRESH:
            number, decoded = self._decode_whole(coder, keypoints)
            if self.number is not None and not number - self.number > -packet.KEPT:
                self._kept, self.number = {}, None  # the sender began anew
        else:
            if self.number is None:
                return "lost"
            modulo = coder.decode_bits(packet.NUMBER_BITS)
            number = self.number - _LATE + (modulo - self.number + _LATE) % packet.NUMBERS
            back = 1 + (coder.decode_bits(packet.BACK_BITS) if kind == packet.OLDER else 0)
            if number in self._kept:
                return "duplicate"
            before = self._kept.get(number - back)
            if before is None:
                return "lost"
            decoded = self._decode_changes(coder, before, keypoints)
        if number in self._kept:
            return "duplicate"
        self._kept[number] = decoded
        if self.number is not None and number < self.number:
            return "late"
        self.number = number
        self.motion = decoded.quantizer.motion(decoded.contexts.numbers)
        for old in [each for each in self._kept if each < number - packet.KEPT]:
            del self._kept[old]
        return "new"

    def _decode_whole(self, coder: RangeDecoder, keypoints: int | None) -> tuple[int, _Decoded]:
        number, version = coder.decode_bits(32), coder.decode_bits(8)
        if version != packet.VERSION:
            raise CodecError(
                f"expected motion of version {packet.VERSION}, got {version}: of another fv2v, or damaged"
            )
        if coder.decode_bits(16) != fingerprint(self.config):
            raise CodecError(f"motion of another preset than {self.config.name!r}, or damaged")
        quantizer = Quantizer(self.config, (coder.decode_bits(24) + 1) / STEP_UNIT)
        keypoints = self.config.keypoints if keypoints is None else keypoints
        numbers = _checked(packet.decode_whole(coder, quantizer, keypoints), coder)
        return number, _Decoded(Contexts.after_refresh(numbers, keypoints), quantizer)

    def _decode_changes(self, coder: RangeDecoder, before: _Decoded, keypoints: int | None) -> _Decoded:
        quantizer = before.quantizer
        keypoints = before.contexts.keypoints if keypoints is None else keypoints
        frame = Frame(before.contexts, quantizer.pose)
        changes = np.zeros(quantizer.size, np.int64)
        for group in quantizer.groups(keypoints):
            changes[group] = Distribution.of(self._network, frame, group).decode(coder)
            frame.leave(group, changes[group])
        _checked(before.contexts.numbers + changes, coder)
        return _Decoded(before.contexts.after(changes, frame.expected, keypoints), quantizer)


def _checked(numbers: np.ndarray, coder: RangeDecoder) -> np.ndarray:
    coder.check_end()
    if np.abs(numbers).max() >= LIMIT:
        raise CodecError("damaged: numbers larger than any that are sent")
    return numbers
