# SPDX-License-Identifier: Apache-2.0
"""What a frame of motion costs to encode, and to decode again, on one core; bytes a frame beside it.

`bytes` is the mean packet at the default quality, after the first, of a face that turns and talks in drawn-up
waves: livelier than a real one.
"""

import pytest
from codec_cases import one_by_one, talking
from measuring import TINY
from pytest_benchmark.fixture import BenchmarkFixture

import fv2v
from fv2v.codec import MotionDecoder, MotionEncoder

FRAMES = 10 if TINY else 200


@pytest.mark.parametrize("name", ["vox-256", "liveportrait"])
@pytest.mark.parametrize("side", ["encode", "decode"])
def test_frame(benchmark: BenchmarkFixture, name: str, side: str) -> None:
    config = fv2v.preset(name)
    motions = list(one_by_one(talking(config, FRAMES)))
    encoder = MotionEncoder(config)
    packets = [encoder.encode(motion) for motion in motions]

    def encode() -> None:
        sender = MotionEncoder(config)
        for motion in motions:
            sender.encode(motion)

    def decode() -> None:
        receiver = MotionDecoder(config)
        for packet in packets:
            receiver.decode(packet)

    benchmark.extra_info["bytes"] = round(sum(map(len, packets[1:])) / (FRAMES - 1), 2)
    benchmark.extra_info["frames"] = FRAMES
    benchmark(encode if side == "encode" else decode)
