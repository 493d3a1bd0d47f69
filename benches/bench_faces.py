# SPDX-License-Identifier: Apache-2.0
"""Which faces each detector finds: a table, by the kinds of positions in which they fail.

    python benches/bench_faces.py [--heads 40] [--detectors yuface haar]

prints it for benches/README.md. Of drawn heads and the shipped painting (tests/support/posed_faces.py); with
FV2V_MEDIA=folder of the paintings there, too.

`OMP_NUM_THREADS=1 pytest benches/bench_faces.py` times a detection in a picture 640 pixels wide, the search
about a known face, and a frame's tracking in 1920x1080: a painting sways, or with FV2V_MEDIA a real clip.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))  # as a script
sys.path.insert(0, str(Path(__file__).parent / "support"))
import clips
import cv2
import numpy as np
import pytest
from measuring import TINY
from posed_faces import UPRIGHT, PosedFace, drawn, is_found, painted, placed, textures, turned
from pytest_benchmark.fixture import BenchmarkFixture

from fv2v.face.detectors.base import FaceDetector
from fv2v.face.detectors.choice import default_name, detector_named
from fv2v.face.find import find_face
from fv2v.face.tracking import FaceTracker
from fv2v.io.image import read_image
from fv2v.io.video import read_video

PAINTINGS = {"pearl_earring": (480, 570, 375), "velata": (264, 315, 210)}  # x, y, height, read off by eye
TEXTURES = 200
FRAMES = 4 if TINY else 120


@pytest.mark.parametrize("near", [False, True], ids=["whole picture", "about a known face"])
def test_detection(near: bool, benchmark: BenchmarkFixture) -> None:
    detector, picture = detector_named(default_name()), placed(painted()).picture
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    (face,) = detector(picture)
    benchmark(detector, picture, 1, face if near else None)
    cv2.setNumThreads(threads)


def test_tracking(benchmark: BenchmarkFixture) -> None:
    frames = [on_a_screen(frame) for frame in islice(clip(), FRAMES)]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    start = find_face(frames[0])

    def track() -> None:
        tracker = FaceTracker(start)
        for frame in frames:
            tracker.update(frame)
        assert tracker.missing == 0

    benchmark.extra_info["frames"] = FRAMES
    benchmark(track)
    cv2.setNumThreads(threads)


def clip() -> Iterable[np.ndarray]:
    if "FV2V_MEDIA" in os.environ:
        return read_video(clips.real("close_512_30fps.mp4"))
    return clips.moving_picture(clips.portrait(), FRAMES, size=512)


def on_a_screen(frame: np.ndarray) -> np.ndarray:
    """A square frame in the middle of (1080, 1920, 3)."""
    screen = np.full((1080, 1920, 3), 90, np.uint8)
    screen[:, 420:1500] = cv2.resize(frame, (1080, 1080), interpolation=cv2.INTER_CUBIC)
    return screen


def faces() -> list[PosedFace]:
    """The painted ones."""
    if "FV2V_MEDIA" not in os.environ:
        return [painted()]
    others = (PosedFace(read_image(clips.real(f"{name}.jpg")), *at) for name, at in PAINTINGS.items())
    return [painted(), *others]


def share(results: Iterable[bool]) -> str:
    found = list(results)
    return f"{100 * sum(found) / len(found):.1f} % of {len(found)}"


def column(detector: FaceDetector, heads: int) -> dict[str, str]:
    """The shares that a detector finds."""
    upright = [*faces(), *(drawn(number) for number in range(heads))]
    shares = {
        kind: share(is_found(detector, face) for original in upright for face in posed(original))
        for kind, posed in UPRIGHT.items()
    }
    shares["yaw to ±60°"] = share(is_found(detector, face) for n in range(heads) for face in turned(n))
    shares["found in textures"] = share(bool(detector(texture)) for texture in textures(TEXTURES))
    if "FV2V_MEDIA" in os.environ:
        cat = read_image(clips.real("no_human_face.jpg"))
        shares["found in a cat"] = share(bool(detector(cat)) for _ in range(1))
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=int, default=40)
    parser.add_argument("--detectors", nargs="+", default=[default_name(), "haar"])
    arguments = parser.parse_args()
    columns = {name: column(detector_named(name), arguments.heads) for name in arguments.detectors}
    print(f"| | {' | '.join(columns)} |\n| --- |{' --- |' * len(columns)}")
    for kind in next(iter(columns.values())):
        print(f"| {kind} | {' | '.join(shares[kind] for shares in columns.values())} |")


if __name__ == "__main__":
    main()
