# SPDX-License-Identifier: Apache-2.0
"""What the filter on motion takes out of a still face, how late it makes a turn, and what a frame costs.

With FV2V_MEDIA=folder motion is that of real faces: of LivePortrait's templates there, and of its clips, of
which nothing is known without trained weights but where the cascade sees the face: so these are a centre and
a size that tremble as detectors do. Without it a still face and a turn are made (tests/support/steady.py).

`jitter` is the root mean square of what keypoints' steps change by from frame to frame, in the second in
which they move least: steps themselves would count slow movement too. `delay` is how many frames later the
steady keypoints are where the others were, in the second in which those move most.
"""

import os
from pathlib import Path

import clips
import pytest
import torch
from measuring import TINY
from pytest_benchmark.fixture import BenchmarkFixture
from steady import delay, jitter, keypoints, least_and_most, still, turning

from fv2v.face.crop import WIDE
from fv2v.face.detectors.choice import find_faces
from fv2v.face.find import find_first_face
from fv2v.geometry import Motion
from fv2v.io.video import read_video
from fv2v.motion.npz import read_motion
from fv2v.motion.smoothing import SteadyMotion

FRAMES = 40 if TINY else None
ROUNDS = 1 if TINY else 20


def sources() -> list[str]:
    if "FV2V_MEDIA" in os.environ:
        folder = Path(os.environ["FV2V_MEDIA"])
        return sorted(path.name for path in folder.iterdir() if path.suffix in (".pkl", ".mp4"))
    return ["made"]


def motion_of(name: str) -> tuple[Motion, float]:
    """The motion of a face, and its frames a second."""
    if name == "made":
        fps = 30.0
        return Motion.cat([still(round(2 * fps)), turning(60, 0.5, fps, seed=1)]), fps
    path = clips.real(name)
    if path.suffix == ".pkl":
        film = read_motion(path)
        return film.motion, float(film.timing.rate)
    reader = read_video(path, frames=FRAMES)
    face, places = find_first_face(reader, name), []
    for number, frame in enumerate(reader):
        face = max(find_faces(frame, number, face), key=lambda found: found.side, default=face)
        places.append((face.x, face.y, face.side))
    x, y, side = torch.tensor(places).unbind(-1)
    square = WIDE * side[0]  # 2 units wide, as what the networks see
    T = len(places)
    return Motion(
        rotation=torch.eye(3).expand(T, 3, 3),
        translation=2 / square * torch.stack([x, y, torch.zeros(T)], dim=-1),
        expression=torch.zeros(T, 21, 3),
        scale=(side / side[0])[:, None],
    ), float(reader.rate)


@pytest.mark.parametrize("name", sources())
def test_steadiness(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], name: str) -> None:
    motion, fps = motion_of(name)
    steady = SteadyMotion(fps=fps).run(motion)
    before, after = keypoints(motion), keypoints(steady)
    stillest, fastest = least_and_most(before, round(fps))
    trembled, trembles = (jitter(values[stillest].diff(dim=0)) for values in (before, after))
    late = delay(before[fastest], after[fastest])
    filtered = SteadyMotion(fps=fps)
    benchmark.group = "a frame made steady"
    benchmark.pedantic(
        filtered.step, args=(motion[:1],), rounds=ROUNDS, iterations=1 if TINY else 20, warmup_rounds=1
    )
    benchmark.extra_info |= {
        "jitter before": round(trembled, 6),
        "jitter after": round(trembles, 6),
        "delay in frames": late,
    }
    with capsys.disabled():
        print(
            f"\n{name}, {len(motion)} frames, {fps:.0f} a second: jitter of the stillest second "
            f"{trembled:.5f} -> {trembles:.5f} ({trembles / trembled:.2f}); the fastest comes {late:.2f} "
            "frames late"
        )
