# SPDX-License-Identifier: Apache-2.0
"""The sender's side: a frame's motion in, a packet out."""

from collections import deque

import numpy as np

from fv2v.codec import packet
from fv2v.codec.model import Contexts, Distribution, Frame, network
from fv2v.codec.quantize import LIMIT, Quantizer, fingerprint
from fv2v.codec.range_coder import RangeEncoder
from fv2v.codec.rate import DEAD_ZONE, RateControl, step_of
from fv2v.config import ModelConfig
from fv2v.geometry import Motion

QUALITY = 75


class MotionEncoder:
    """Encodes the motion of a preset's frames, one packet each.

    Args:
        config: the preset.
        quality: 1 to 100: of steps (rate.py), 12.5 more halve them; or "adaptive": steps of the default, and
            numbers that change by less than a step are not sent.
        step: s of quantize.py in place of a quality; rounding is then to the nearest step.
        refresh: every so many frames one is coded alone; 0: the first alone.
        redundancy: how many frames each packet holds: the new one, and those before it once more.
        kbps: thousands of bits a second, headers of the network not counted, that are not to be exceeded on
            average: a dead zone grows as need be.
        fps: frames a second, for `kbps`.
        keypoints: send δ of so many alone, from the first on; None: of all. The others' are held, 0 after a
            refresh. It may be set anew before each frame.

    Attributes:
        number: of the frame that comes next.

    Raises:
        ValueError: a number out of range; a quality and a step.
    """

    def __init__(
        self,
        config: ModelConfig,
        quality: float | str | None = None,
        *,
        step: float | None = None,
        refresh: int = 0,
        redundancy: int = 1,
        kbps: float | None = None,
        fps: float = 25.0,
        keypoints: int | None = None,
    ) -> None:
        if quality is not None and step is not None:
            raise ValueError(f"expected a quality or a step, got {quality!r} and {step}")
        if refresh < 0 or not 1 <= redundancy <= packet.MOST_PAYLOADS:
            raise ValueError(
                f"expected refresh >= 0 and redundancy from 1 to {packet.MOST_PAYLOADS}, "
                f"got {refresh} and {redundancy}"
            )
        adaptive = quality == "adaptive"
        default = QUALITY if quality is None or adaptive else quality
        self.quantizer = Quantizer(config, step_of(default) if step is None else step)
        self.config, self.refresh = config, refresh
        self.number = 0
        self.keypoints = config.keypoints if keypoints is None else keypoints
        self._rate = RateControl(DEAD_ZONE if adaptive else 0.0, kbps, fps)
        self._network = network()
        self._sent: dict[int, Contexts] = {}
        self._payloads: deque[bytes] = deque(maxlen=redundancy)
        self._acknowledged: int | None = None
        self._refreshed: int | None = None

    @property
    def keypoints(self) -> int:
        return self._keypoints

    @keypoints.setter
    def keypoints(self, count: int) -> None:
        if not 0 <= count <= self.config.keypoints:
            raise ValueError(f"expected keypoints from 0 to {self.config.keypoints}, got {count}")
        self._keypoints = count

    @property
    def contexts(self) -> Contexts:
        """After the last frame: equal to the decoder's."""
        return self._sent[self.number - 1]

    @property
    def motion(self) -> Motion | None:
        """What the decoder gives for the last frame, bit for bit; None before there is one."""
        return self.quantizer.motion(self.contexts.numbers) if self.number else None

    def request_refresh(self) -> None:
        """Code the next frame alone: for a receiver that lost what it needs."""
        self._refreshed = None

    def acknowledge(self, number: int) -> None:
        """Frame `number` has arrived: from now on frames are predicted from the latest such one."""
        if 0 <= number < self.number:
            self._acknowledged = max(number, self._acknowledged or 0)

    def encode(self, motion: Motion) -> bytes:
        """One frame's packet.

        Raises:
            ValueError: motion of another preset or of more frames; NaN, infinite or very large numbers. The
                encoder is then as before.
        """
        exact = self.quantizer.measure(motion)
        reference = self._reference()
        numbers = None
        if reference is not None:
            before = self._sent[reference]
            exact = self.quantizer.unwrap(exact, before.numbers)
            numbers = self._rate.round(exact, before.numbers)
            held = slice(self.quantizer.end(self.keypoints), None)
            numbers[held] = before.numbers[held]
        coder = RangeEncoder()
        if reference is None or numbers is None or np.abs(numbers).max() >= LIMIT:
            contexts = self._encode_whole(coder, np.rint(exact).astype(np.int64))
        else:
            contexts = self._encode_changes(coder, reference, numbers)
        payload = coder.finish()
        self._sent[self.number] = contexts
        self._sent.pop(self.number - packet.KEPT - 1, None)
        self._payloads.appendleft(payload)
        self.number += 1
        made = packet.join(tuple(self._payloads))
        self._rate.sent(len(made))
        return made

    def _reference(self) -> int | None:
        """The frame that the next is predicted from; None: a refresh."""
        due = self._refreshed is None or (self.refresh and self.number - self._refreshed >= self.refresh)
        if due:
            return None
        reference = self.number - 1 if self._acknowledged is None else self._acknowledged
        return reference if reference in self._sent and self.number - reference <= packet.KEPT else None

    def _encode_whole(self, coder: RangeEncoder, numbers: np.ndarray) -> Contexts:
        self._encode_keypoints(coder, self.config.keypoints)
        packet.encode_kind(coder, packet.REFRESH)
        coder.encode_bits(self.number & 0xFFFF_FFFF, 32)
        coder.encode_bits(packet.VERSION, 8)
        coder.encode_bits(fingerprint(self.config), 16)
        coder.encode_bits(self.quantizer.step_units - 1, 24)
        numbers[self.quantizer.end(self.keypoints) :] = 0
        packet.encode_whole(coder, numbers, self.quantizer, self.keypoints)
        self._refreshed = self.number
        return Contexts.after_refresh(numbers, self.keypoints)

    def _encode_changes(self, coder: RangeEncoder, reference: int, numbers: np.ndarray) -> Contexts:
        back, before = self.number - reference, self._sent[reference]
        self._encode_keypoints(coder, before.keypoints)
        packet.encode_kind(coder, packet.PREDICTED if back == 1 else packet.OLDER)
        coder.encode_bits(self.number % packet.NUMBERS, packet.NUMBER_BITS)
        if back > 1:
            coder.encode_bits(back - 1, packet.BACK_BITS)
        changes = numbers - before.numbers
        frame = Frame(before, self.quantizer.pose)
        for group in self.quantizer.groups(self.keypoints):
            Distribution.of(self._network, frame, group).encode(coder, changes[group])
            frame.leave(group, changes[group])
        return before.after(changes, frame.expected, self.keypoints)

    def _encode_keypoints(self, coder: RangeEncoder, understood: int) -> None:
        """How many are sent, where the receiver would take it for another number."""
        if self.keypoints != understood:
            packet.encode_kind(coder, packet.KEYPOINTS)
            coder.encode_bits(self.keypoints, packet.KEYPOINTS_BITS)
