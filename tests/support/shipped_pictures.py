# SPDX-License-Identifier: Apache-2.0
"""The pictures that the repository ships, and how each is made: from drawn heads, a painting and the starter.

`python tests/support/shipped_pictures.py [FILE ...]` makes them again and prints each SHA-256 for `PICTURES`.
No photograph and no video of a person goes in, so all of them may be passed on. Neither training nor
evaluation draws these heads.
"""

import argparse
import hashlib
import math
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from places import DATA, ROOT

import fv2v
from fv2v.data.synthetic import Expression, Pose, SyntheticHeads, render
from fv2v.pipelines.demo import demo

PAINTING = DATA / "mona_lisa.jpg"
HEADS = SyntheticHeads(size=128, identities=64, seed=500_000_024)
PORTRAIT, DRIVER = 38, 29  # which of the heads
FRAMES, FPS = 90, 20  # of the animation
TILE, CAPTION, GAP = 192, 24, 8  # pixels; a head is drawn and rendered at 128 and enlarged
VIEW = 20  # degrees: how far the last column is turned beyond the driver
WEBP_QUALITY, JPEG_QUALITY = 92, 85


class Picture(NamedTuple):
    """A file of the repository: where its pixels come from."""

    recipe: Callable[[Path], None] | str  # what writes it, or where it was taken from
    sha256: str


def main() -> None:
    made = {file: picture for file, picture in PICTURES.items() if callable(picture.recipe)}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", choices=[[], *made], default=[], metavar="FILE")
    for file in parser.parse_args().files or made:
        made[file].recipe(ROOT / file)
        print(sha256(ROOT / file), file)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def animation(path: Path) -> None:
    """The README's: portrait, driver, output, and the output from the side; it loops."""
    frames = cv2.Animation()
    frames.frames = [frame[..., ::-1].copy() for frame in animation_frames(range(FRAMES))]
    frames.durations = np.full(FRAMES, 1000 // FPS, np.int32)
    cv2.imwriteanimation(str(path), frames, [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY])


def animation_frames(chosen: Iterable[int]) -> list[np.ndarray]:
    """(H, W, 3) uint8 each."""
    neutral = replace(Expression.neutral(1), smile=torch.tensor([0.3]))
    portrait = draw(PORTRAIT, neutral, Pose.at(*torch.zeros(3, 1)))[0]
    driving = draw(DRIVER, *acting(torch.tensor(list(chosen)) / FRAMES))
    reenactor = starter()
    source = reenactor.encode(portrait)
    output = reenactor.animate(source, driving, relative=False)
    turned = reenactor.animate(source, driving, relative=False, view=fv2v.View(yaw=VIEW))
    captions = ("portrait", "driver", "output", f"output, yaw {VIEW:+}")
    return [
        side_by_side(captions, (portrait, *pictures))
        for pictures in zip(driving, output, turned, strict=True)
    ]


def acting(time: torch.Tensor) -> tuple[Expression, Pose]:
    """What the driver does at times from 0 to 1, and again from there: it looks about, talks and blinks."""

    def wave(turns: int, phase: float = 0.0) -> torch.Tensor:
        return torch.sin(2 * math.pi * (turns * time + phase))

    def pulse(centre: float, width: float) -> torch.Tensor:
        """1 at the centre, and near 0 farther from it than the width."""
        distance = (time - centre + 0.5) % 1 - 0.5
        return torch.exp(-((distance / width) ** 4))

    yaw = 20 * wave(1)
    blink = pulse(0.22, 0.02) + pulse(0.72, 0.02)
    talk = (pulse(0.05, 0.15) + pulse(0.5, 0.17)) * (0.5 + 0.5 * wave(12))
    zero = torch.zeros_like(time)
    expression = Expression(
        jaw=0.8 * talk,
        smile=0.3 + 0.5 * wave(1, 0.3),
        pucker=zero,
        brows=0.15 + 0.5 * wave(2, 0.1),
        blink_left=blink,
        blink_right=blink,
        gaze_x=yaw / 45,  # at the viewer
        gaze_y=zero,
        teeth=zero,
        tongue=zero,
        frown=zero,
    )
    position = torch.stack([0.03 * wave(1), 0.01 * wave(2)], dim=-1)
    return expression, Pose.at(5 * wave(2, 0.2), yaw, 5 * wave(1, 0.35), position)


def painting(path: Path) -> None:
    """What `fv2v inspect` shows of a painting that a drawn head drives."""
    yaw = torch.tensor([0.0, 15.0])
    expression = Expression.neutral(2)
    expression.jaw[1], expression.smile[1] = 0.8, 0.4
    heads = draw(DRIVER, expression, Pose.at(0 * yaw, yaw, yaw / 3), 256)
    with tempfile.TemporaryDirectory() as folder:
        driving, sheet = Path(folder, "driving.mp4"), Path(folder, "sheet.png")
        fv2v.write_video(driving, heads)
        fv2v.inspect(PAINTING, driving, sheet, "starter", frames=[1])
        write_jpeg(path, fv2v.read_image(sheet))


def demo_sheet(path: Path) -> None:
    """What `fv2v demo` writes."""
    with tempfile.TemporaryDirectory() as folder:
        write_jpeg(path, fv2v.read_image(demo(folder, reenactor=starter()).sheet))


def starter() -> fv2v.Reenactor:
    return fv2v.Reenactor("starter")


def draw(number: int, expression: Expression, pose: Pose, size: int = HEADS.size) -> list[np.ndarray]:
    """A head as it acts: (size, size, 3) uint8 each."""
    pictures = render(HEADS.identity(number).repeat(len(pose)), expression, pose, size)
    return list((255 * pictures + 0.5).to(torch.uint8).permute(0, 2, 3, 1).numpy())


def enlarged(picture: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC)


def side_by_side(captions: Iterable[str], pictures: Iterable[np.ndarray]) -> np.ndarray:
    """Each picture enlarged, under its caption, on white."""
    columns = []
    for caption, picture in zip(captions, pictures, strict=True):
        column = np.full((CAPTION + TILE, TILE + GAP, 3), 255, np.uint8)
        column[CAPTION:, :TILE] = enlarged(picture, TILE)
        cv2.putText(column, caption, (2, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (60, 60, 60), 1, cv2.LINE_AA)
        columns.append(column)
    return np.concatenate(columns, axis=1)[:, :-GAP]


def write_jpeg(path: Path, picture: np.ndarray) -> None:
    cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


PICTURES = {
    "fv2v/starter/animation.webp": Picture(
        animation, "b1677822a0ca186f2da07f0699b41efec6a9939caf1705485add259bf5597831"
    ),
    "fv2v/starter/demo.jpg": Picture(
        demo_sheet, "602ee20b8a084ea827fdf19fe265f701695c56f9db33cf154b1d99c554818c18"
    ),
    "fv2v/starter/painting.jpg": Picture(
        painting, "66b9417df43b5e92825cfd83f55922774eabcaf2308ed3a57941d40a315aa6c8"
    ),
    "benches/results/ablation/ablation.png": Picture(
        "ablation.png of `benches/train_ablation.py`",
        "ab2d240bd77f8e6d8f5c968cdd31e7de72c4abb93a44553afdcad0fc7ac98599",
    ),
    "fv2v/codec/curves.png": Picture(
        "curves.png of `fv2v bandwidth drawn`",
        "7aa7a88130636458eb72f51fe5979d2a8c8adcd61568871c27fbce0409c5c807",
    ),
    "fv2v/codec/strip.png": Picture(
        "strip.png of `fv2v bandwidth drawn`: drawn heads, and the starter's pictures of one",
        "58361f62b4ef84464424484541ebbb10a02149f2c295a51ba9f8b284d6f64050",
    ),
    "tests/data/mona_lisa.jpg": Picture(
        "Leonardo da Vinci's Mona Lisa, in the public domain, made smaller",
        "fa4db89e4dbbe2b53ac1745a07f1fff96fcdb77a61a9755e8a2596a6ad90e01b",
    ),
}

if __name__ == "__main__":
    main()
