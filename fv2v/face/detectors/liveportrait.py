# SPDX-License-Identifier: Apache-2.0
"""LivePortrait's own detector and landmarks, by the ONNX files that lie in its folder of weights.

    det_10g.onnx     boxes of the faces in a picture, their scores, and five points of each
    2d106det.onnx    106 landmarks of a face, from its box: a portrait is cropped by them
    landmark.onnx    203 landmarks of a face, from other landmarks of it: a video is cropped by them, and they
                     tell how far eyes and lips are open

The first two are InsightFace's `buffalo_l`, whose licence is for non-commercial research alone. Pictures are
RGB for all three.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fv2v.extras import install_hint, installed
from fv2v.face.detectors.base import Face
from fv2v.face.landmarks import RELEASE_SIZE, Square, crop_square, square_around, transform

DETECTOR, COARSE, FINE = FILES = (  # below the folder that LivePortrait calls `pretrained_weights`
    "insightface/models/buffalo_l/det_10g.onnx",
    "insightface/models/buffalo_l/2d106det.onnx",
    "liveportrait/landmark.onnx",
)
LICENCE = "InsightFace's buffalo_l finds the faces: its licence is for non-commercial research alone"
LEVELS = 3  # folders above a file of weights in which those files are looked for

STRIDES = (8, 16, 32)  # pixels between the detector's anchors, of which two are in each place
ANCHORS = 2
THRESHOLD, OVERLAP = 0.1, 0.4  # the least score of a face, and how far two boxes of one face overlap
COARSE_SIZE, COARSE_SCALE = 192, 1.5  # pixels; sides of the box
FINE_SIZE, FINE_SCALE, FINE_VY = 224, 1.5, -0.1  # pixels; as `square_around` takes them
CHECKED = 12  # the detector looks again at every such frame of a video
LEAP = 0.25  # or where landmarks move so far from one to the next, in parts of their extent
NEAR = 0.5  # of a face's side: how far from its centre another one's may lie, if they are the same


@dataclass(frozen=True, slots=True)
class BoxedFace(Face):
    """`side` is the root of the box's area, by which the release sorts faces."""

    longest: float = 0.0  # the box's longer side


class LivePortraitFaces:
    """A `FaceDetector` with landmarks, from the three files.

    Args:
        folder: what LivePortrait calls `pretrained_weights`: `FILES` are below it.

    Raises:
        FileNotFoundError: one of the files is absent.
        ValueError: onnxruntime is not installed, or a file that is not ONNX.
    """

    def __init__(self, folder: Path) -> None:
        if lacking := _lacking(folder):
            raise FileNotFoundError(f"{folder}: expected {', '.join(lacking)}")
        if not installed("onnxruntime"):
            raise ValueError(_NO_RUNTIME)
        self._detector, self._coarse, self._fine = (_Network(folder / name) for name in FILES)

    def __call__(self, image: np.ndarray, frame: int = 0, near: Face | None = None) -> list[Face]:
        """The faces in a (H, W, 3) uint8 RGB picture, largest first, or those `near` one."""
        canvas, scale = _fitted(image)
        scores, boxes, points = self._candidates(self._detector((canvas - 127.5) / 128, outputs=9))
        faces = [
            BoxedFace(
                x=float(left + right) / 2,
                y=float(top + bottom) / 2,
                side=float(np.sqrt((right - left) * (bottom - top))),
                score=float(score),
                points=marks,
                longest=float(max(right - left, bottom - top)),
            )
            for score, (left, top, right, bottom), marks in zip(
                scores, boxes / scale, points / scale, strict=True
            )
        ]
        if near is not None:
            faces = [face for face in faces if _is_near(face, near.x, near.y)]
        return sorted(faces, key=lambda face: -face.side)

    def landmarks(self, image: np.ndarray, face: Face, frame: int = 0) -> np.ndarray:
        """(106, 2) pixels of a face that this detector found: a `LandmarkDetector`."""
        longest = face.longest if isinstance(face, BoxedFace) else face.side
        square = Square((face.x, face.y), COARSE_SCALE * longest)
        (marks,) = self._coarse(crop_square(image, square, COARSE_SIZE).astype(np.float32), outputs=1)
        marks = self._coarse.shaped(marks, 106)
        return transform((marks + 1) * (COARSE_SIZE // 2), square.to_original(COARSE_SIZE))

    def refined(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """(203, 2) pixels of the face that `landmarks` (n, 2) mark, one of the sets of landmarks.py."""
        square = square_around(landmarks, FINE_SCALE, FINE_VY)
        crop = crop_square(image, square, FINE_SIZE).astype(np.float32) / 255
        marks = self._fine.shaped(self._fine(crop, outputs=3)[2], 203)
        return transform(marks * FINE_SIZE, square.to_original(FINE_SIZE))

    def follow(self, frames: Iterable[np.ndarray], number: int = 1) -> Iterator[np.ndarray | None]:
        """(203, 2) of each frame of a video, of the face that is number `number` by size at first.

        Each frame's landmarks start from the frame's before, as in the release. So that a cut or a face that
        leaves is noticed, which the release does not, the detector looks again at every `CHECKED`-th frame,
        and where the landmarks leap; where no face is near them, they start anew. None where there is none.
        """
        marks: np.ndarray | None = None
        for index, frame in enumerate(frames):
            faces: list[Face] | None = None
            if marks is not None:
                before, marks = marks, self.refined(frame, marks)
                if index % CHECKED == 0 or _leap(before, marks):
                    faces = self(frame)
                    marks = marks if any(_is_near(face, *_middle(marks)) for face in faces) else None
            if marks is None:
                faces = self(frame) if faces is None else faces
                if len(faces) >= number >= 1:
                    marks = self.refined(frame, self.landmarks(frame, faces[number - 1]))
            yield marks

    def _candidates(self, outputs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores (n,), boxes (n, 4), points (n, 5, 2) in pixels of the network's picture, no face twice."""
        found = []
        for level, stride in enumerate(STRIDES):
            cells = RELEASE_SIZE // stride
            count = cells * cells * ANCHORS
            scores, distances, offsets = (
                self._detector.shaped(outputs[level + len(STRIDES) * kind], count, width)
                for kind, width in enumerate((1, 4, 10))
            )
            has_area = (distances[:, :2] + distances[:, 2:] > 0).all(axis=1)
            kept = np.flatnonzero((scores[:, 0] >= THRESHOLD) & has_area)
            place = kept // ANCHORS
            anchors = np.stack([place % cells, place // cells], axis=1) * float(stride)
            reach = distances[kept].reshape(-1, 2, 2) * stride * np.array([[-1.0], [1.0]])
            boxes = (anchors[:, None] + reach).reshape(-1, 4)
            points = anchors[:, None] + offsets[kept].reshape(-1, 5, 2) * stride
            found.append((scores[kept, 0], boxes, points))
        scores, boxes, points = (np.concatenate(parts) for parts in zip(*found, strict=True))
        corners = [(left, top, right - left, bottom - top) for left, top, right, bottom in boxes.tolist()]
        kept = np.asarray(cv2.dnn.NMSBoxes(corners, scores.tolist(), 0.0, OVERLAP), int).reshape(-1)
        return scores[kept], boxes[kept], points[kept]


def find_release_faces(weights: Sequence[Path]) -> LivePortraitFaces | str:
    """The detector by the files that lie with LivePortrait's weights; or in a line what is missing for it."""
    above = list(weights[0].absolute().parents)[:LEVELS]
    folder = min(above, key=lambda folder: (len(_lacking(folder)), not (folder / "liveportrait").is_dir()))
    if lacking := _lacking(folder):
        return f"{folder} lacks {', '.join(lacking)}"
    return LivePortraitFaces(folder) if installed("onnxruntime") else _NO_RUNTIME


_NO_RUNTIME = f"onnxruntime is not installed ({install_hint('landmarks')})"


def _lacking(folder: Path) -> list[str]:
    return [name for name in FILES if not (folder / name).is_file()]


def _fitted(image: np.ndarray) -> tuple[np.ndarray, float]:
    """The picture in the upper left of a black (512, 512, 3) float32, and how much it was enlarged."""
    ratio = image.shape[0] / image.shape[1]
    width, height = (
        max(1, int(side)) for side in (RELEASE_SIZE / max(ratio, 1), RELEASE_SIZE * min(ratio, 1))
    )
    canvas = np.zeros((RELEASE_SIZE, RELEASE_SIZE, 3), np.float32)
    canvas[:height, :width] = cv2.resize(image, (width, height))
    return canvas, height / image.shape[0]


def _is_near(face: Face, x: float, y: float) -> bool:
    return max(abs(x - face.x), abs(y - face.y)) < NEAR * face.side


def _middle(marks: np.ndarray) -> tuple[float, float]:
    x, y = (marks.min(axis=0) + marks.max(axis=0)) / 2
    return float(x), float(y)


def _leap(before: np.ndarray, now: np.ndarray) -> bool:
    """Whether landmarks moved or grew by more than `LEAP` of their extent; or are no numbers."""
    extent, grown = (float(np.ptp(marks, axis=0).max()) for marks in (before, now))
    moved = math.dist(_middle(before), _middle(now))
    return not max(moved, abs(grown - extent)) < LEAP * extent


class _Network:
    """A network of one picture, in onnxruntime on the CPU."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self._path = path
        try:
            self._session: Any = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's classes of errors have no public base
            raise ValueError(f"{path}: no ONNX file, or a damaged one ({_line(error)})") from None
        self._input = self._session.get_inputs()[0].name

    def __call__(self, image: np.ndarray, outputs: int) -> list[np.ndarray]:
        """What it makes of a (H, W, 3) float32 picture, `outputs` arrays at least."""
        try:
            made = self._session.run(None, {self._input: image.transpose(2, 0, 1)[None]})
        except Exception as error:
            raise ValueError(f"{self._path}: does not take {image.shape} pixels ({_line(error)})") from None
        if len(made) < outputs:
            raise ValueError(f"{self._path}: expected {outputs} outputs at least, got {len(made)}")
        return made

    def shaped(self, output: np.ndarray, count: int, width: int = 2) -> np.ndarray:
        """(count, width) float64 of an output, with or without an axis of pictures."""
        if output.size != count * width:
            raise ValueError(f"{self._path}: expected an output of {count} x {width}, got {output.shape}")
        return output.reshape(count, width).astype(np.float64)


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
