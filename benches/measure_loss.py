# SPDX-License-Identifier: Apache-2.0
"""Prints the pictures' table of fv2v/codec/README.md: what lost packets do to what the receiver shows.

`python benches/measure_loss.py [--frames 100]` encodes the starter's motion of a drawn head that talks, loses
packets, and renders what is decoded: the share of frames that show older motion, and their mean PSNR against
the pictures by all packets. Losses are drawn ten times.
"""

import argparse
import random
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from shipped_pictures import DRIVER, FPS, PORTRAIT, acting, draw

import fv2v
from fv2v.codec import MotionDecoder, MotionEncoder
from fv2v.data.synthetic import Expression, Pose
from fv2v.geometry import Motion
from fv2v.io.tensors import to_images
from fv2v.metrics.pictures import psnr

REFRESH, SHARES, BURSTS, DRAWS = 25, (0.01, 0.05, 0.1, 0.3), (1, 8), 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    count = parser.parse_args().frames
    torch.manual_seed(0)
    reenactor = fv2v.Reenactor("starter")
    portrait = draw(PORTRAIT, Expression.neutral(1), Pose.at(*torch.zeros(3, 1)))[0]
    source = reenactor.encode(portrait)
    driving = draw(DRIVER, *acting(torch.arange(count) / FPS / 4.5))
    motions = [reenactor.extract(frame) for frame in driving]
    pictures = {}

    def shown(motion: Motion) -> torch.Tensor:
        key = motion.expression.numpy().tobytes() + motion.rotation.numpy().tobytes()
        if key not in pictures:
            picture = next(iter(reenactor.animate(source, motion, relative=False)))
            pictures[key] = to_images(torch.from_numpy(picture)[None], len(picture))
        return pictures[key]

    print("| | lost | single packets | in bursts of 8 |\n| --- | --- | --- | --- |")
    for redundancy in (1, 2):
        encoder = MotionEncoder(reenactor.config, refresh=REFRESH, redundancy=redundancy)
        packets, truth = [], []
        for motion in motions:
            packets.append(encoder.encode(motion))
            truth.append(encoder.motion)
        size = np.mean([len(packet) for packet in packets])
        for share in SHARES:
            cells = []
            for burst in BURSTS:
                scores = []  # of the frames that are not as sent
                for seed in range(DRAWS):
                    decoder, lost = MotionDecoder(reenactor.config), lost_frames(count, share, burst, seed)
                    for number, (packet, exact) in enumerate(zip(packets, truth, strict=True)):
                        motion = decoder.motion if number in lost else decoder.decode(packet)
                        if not torch.equal(motion.expression, exact.expression):
                            scores.append(float(psnr(shown(motion), shown(exact))))
                held = len(scores) / (DRAWS * count)
                cells.append(f"{held:.0%}, {np.mean(scores):.1f} dB" if scores else "0%")
            print(f"| {redundancy} a packet, {size:.1f} B | {share:.0%} | {' | '.join(cells)} |", flush=True)


def lost_frames(count: int, share: float, burst: int, seed: int) -> set[int]:
    """Single packets, or bursts, never the first: a share of all on average, one at least."""
    rng, lost = random.Random(seed), set[int]()
    while len(lost) < share * count:
        start = rng.randrange(1, count)
        lost |= set(range(start, min(start + burst, count)))
    return lost


if __name__ == "__main__":
    main()
