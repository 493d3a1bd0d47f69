# SPDX-License-Identifier: Apache-2.0
"""The GFV and GFVE messages of H.274 (generative face video, and its enhancement), payload types 223 and 224.

As the public HEVC reference software (HM) writes and reads them; the text of the standard was not at hand, so
this claims no more. `gfv_of` puts a preset's motion into messages: rotation, translation, and δ and scale as
features; h265.py puts messages into a stream whose pictures show the portrait.
"""

import torch

from fv2v.codec.bits import BitReader, BitWriter
from fv2v.codec.gfv_syntax import Reference, code_enhancement, code_message
from fv2v.codec.gfv_types import FEATURE, ROTATION, TRANSLATION, Enhancement, Matrices, Message
from fv2v.codec.range_coder import CodecError
from fv2v.geometry import Motion


class GfvWriter:
    """Messages in, payloads out. Values are rounded to their precision.

    Raises:
        ValueError: numbers out of the syntax's range, a prediction from nothing.
    """

    def __init__(self) -> None:
        self._gfv, self._gfve = Reference(), Reference()

    def write(self, message: Message) -> bytes:
        bits = BitWriter()
        code_message(bits, message, self._gfv)
        return bits.payload()

    def write_enhancement(self, message: Enhancement) -> bytes:
        bits = BitWriter()
        code_enhancement(bits, message, self._gfve)
        return bits.payload()


class GfvReader:
    """Payloads in, messages out, in the order in which they were written. CodecError for damaged ones."""

    def __init__(self) -> None:
        self._gfv, self._gfve = Reference(), Reference()

    def read(self, payload: bytes) -> Message:
        return code_message(BitReader(payload), Message(), self._gfv)

    def read_enhancement(self, payload: bytes) -> Enhancement:
        return code_enhancement(BitReader(payload), Enhancement(), self._gfve)


SCALES = (1, 1, 1), (1, 3, 1)  # shapes of a scale


def gfv_of(motion: Motion, number: int, *, precision: int = 11) -> Message:
    """The message of one frame's motion; number 0 is the base picture's, on which the others build.

    Args:
        precision: bits after the point: 11 are steps of 1/2048.
    """
    if len(motion) != 1:
        raise ValueError(f"expected the motion of 1 frame, got {len(motion)}")
    parts = {
        ROTATION: motion.rotation,
        TRANSLATION: motion.translation[:, :, None],
        FEATURE: motion.expression,
        FEATURE + 1: motion.scale[:, :, None],
    }
    matrices = [Matrices(part.detach().cpu().double().numpy(), kind) for kind, part in parts.items()]
    base = number == 0
    return Message(
        number=number,
        base=base,
        matrices=matrices,
        matrix_precision=precision,
        matrices_predicted=not base,
    )


def motion_of(message: Message) -> Motion:
    """The motion that `gfv_of` put into a message.

    Raises:
        CodecError: a message of another sender, which holds something else.
    """
    held = {each.kind: each.values for each in message.matrices}
    kinds = (ROTATION, TRANSLATION, FEATURE, FEATURE + 1)
    if any(kind not in held for kind in kinds):
        raise CodecError(f"expected matrices of the types {kinds}, got {sorted(held)}")
    rotation, translation, expression, scale = (torch.from_numpy(held[kind]).float() for kind in kinds)
    if rotation.shape != (1, 3, 3) or expression.shape[::2] != (1, 3) or scale.shape not in SCALES:
        raise CodecError("a message whose matrices are no motion of this package")
    return Motion(rotation, translation[:, :, 0], expression, scale[:, :, 0])
