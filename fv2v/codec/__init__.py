# SPDX-License-Identifier: Apache-2.0
"""Motion as a bitstream: some ten bytes a frame, decoded to the same bits on every machine (README.md).

The files, from the bottom: range_coder (whole numbers to bytes), quantize (motion to whole numbers), model
(how likely each number is), packet (what a packet says), rate (how fine), encoder, decoder.
"""

from fv2v.codec.decoder import MotionDecoder as MotionDecoder
from fv2v.codec.encoder import MotionEncoder as MotionEncoder
from fv2v.codec.range_coder import CodecError as CodecError
