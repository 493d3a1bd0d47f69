# SPDX-License-Identifier: Apache-2.0
"""Faces of any size and turn, found by a network that knows upright ones, and looked at twice.

The whole picture is searched at a coarse scale, and at finer ones while nothing is found. Each hit is then
cut out, turned upright and brought to one scale, and has to be found there again, with its points in order.
That second look gives the face: so its box is the same whatever the picture's size.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np

from fv2v.face.detectors.base import Face, overlap

# (H, W, 3) uint8 RGB -> (n, 15) float64: score in [0, 1]; left, top, width, height; points x, y, or NaN
Network = Callable[[np.ndarray], np.ndarray]

LEVELS = (208, 512, 1024)  # a picture is reduced to the area of such a square, in pixels a side
CANDIDATES = 12  # hits of a level that get a second look
LOOK, LOOK_FACE = 128, 57  # pixels a side of the second look, and of the face in it
TURNS = (45.0, -45.0, 90.0, -90.0, 135.0, -135.0, 180.0)  # degrees, for a face not plain as it stands
DOUBTFUL = 0.5  # the score below which a hit is not worth a second look, where there is a face
PLAIN = 0.86  # the score of a face that needs no other turn
TURNED = 3  # hits of a level that are looked at from all of these
TRUSTED, TURNED_TRUSTED = 0.7, 0.85  # the least score of a face, and of one found at such a turn
FOLLOWED = 0.4  # of one that was there a moment before
LEANING = 8.0  # degrees by which an upright face's points may be off
UNDERSTATED = 2.0  # times the lean of the points is the roll of the face
# The networks' boxes as Haar's, for which presets and crops were made: fitted on 40 drawn heads and paintings
SIDE = 1.03  # the square's side in that of a square of the box's area
RAISED = 0.03  # how far its centre is above the box's, in the box's heights
FRONTWARD = 0.75  # how far it lies from the box's centre, which keeps to the head, to the points of the face
NARROW = 96  # levels from the darkest to the brightest, below which contrast is stretched
FLAT = 2  # the same of a picture that shows nothing


class FaceSearch:
    """A `FaceDetector` of a network that finds upright faces.

    In a frame after a video's first, where a search is repeated, faces that are very small or lie on their
    side are not looked for.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def __call__(self, image: np.ndarray, frame: int = 0, near: Face | None = None) -> list[Face]:
        """The faces in a (H, W, 3) uint8 RGB picture, largest first; with `near`, that one at most."""
        if near is not None:
            found = self._look(image, near, near.roll)
            return [found] if found and found.score >= FOLLOWED and _same(found, near) else []
        levels: list[tuple[np.ndarray, float]] = []
        for level, scale in _levels(image, LEVELS[:2] if frame else LEVELS):
            levels.append((level, scale))
            candidates = [_enlarged(hit, 1 / scale) for hit in self._hits(level)]
            faces = self._upright(image, candidates)
            if not any(face.score >= PLAIN for face in faces):
                faces = self._turned(image, candidates[:TURNED]) or faces
            if faces:
                return sorted(faces, key=lambda face: -face.side)
        return [] if frame else self._lying(image, levels[:2])

    def _hits(self, picture: np.ndarray) -> list[Face]:
        """What the network takes for faces in a picture, the surest first."""
        hits = sorted(self._network(picture), key=lambda hit: -hit[0])
        return [_as_face(hit) for hit in hits[:CANDIDATES]]

    def _lying(self, image: np.ndarray, levels: list[tuple[np.ndarray, float]]) -> list[Face]:
        """The surest face that stands upright where the picture is turned by a quarter, a half or three."""
        for level, scale in levels:
            H, W = level.shape[:2]
            for quarters in (1, 2, 3):
                hits = self._hits(np.ascontiguousarray(np.rot90(level, quarters)))[:TURNED]
                for side in (W, H, W)[-quarters:]:  # each quarter undone
                    hits = [replace(hit, x=side - hit.y, y=hit.x) for hit in hits]
                found = self._turned(image, [_enlarged(hit, 1 / scale) for hit in hits])
                if found:
                    return found
        return []

    def _upright(self, image: np.ndarray, candidates: list[Face]) -> list[Face]:
        """The faces among them as they stand."""
        faces: list[Face] = []
        for hit in candidates:
            if faces and hit.score < DOUBTFUL:
                break
            if not any(overlap(hit, face) for face in faces):
                face = self._straightened(image, self._look(image, hit, 0.0))
                if face and face.score >= TRUSTED and not any(overlap(face, it) for it in faces):
                    faces.append(face)
        return faces

    def _turned(self, image: np.ndarray, candidates: list[Face]) -> list[Face]:
        """The surest face among them at any turn, none or one."""
        looks = [self._look(image, hit, turn) for hit in candidates for turn in TURNS]
        best = max((it for it in looks if it), key=lambda it: it.score, default=None)
        best = self._straightened(image, best)
        return [best] if best and best.score >= TURNED_TRUSTED else []

    def _straightened(self, image: np.ndarray, face: Face | None) -> Face | None:
        """The face of a further look, turned upright by the points of the one before."""
        for _ in range(2):
            if face is None or face.roll in (0.0, *TURNS):
                break
            again = self._look(image, face, face.roll)
            if again is None or again.score < face.score - 0.05:
                break
            face = again
        return face

    def _look(self, image: np.ndarray, face: Face, roll: float) -> Face | None:
        """The best hit about `face`, the picture turned against `roll`; None where there is none."""
        there = _to_look(face, roll)
        hits = self._network(_stretched(_cut(image, there)))
        found = [_as_face(hit) for hit in hits if _in_order(hit[5:].reshape(5, 2))]
        found = [it for it in found if _same(it, Face(LOOK / 2, LOOK / 2, LOOK_FACE))]
        best = max(found, key=lambda it: it.score, default=None)
        return best and _moved(best, cv2.invertAffineTransform(there), roll)


def _levels(image: np.ndarray, sides: Sequence[int]) -> Iterator[tuple[np.ndarray, float]]:
    """The picture reduced, its contrast stretched, and by how much it was: coarse to fine."""
    H, W = image.shape[:2]
    known = 0.0
    for side in sides:
        scale = min(1.0, side / (H * W) ** 0.5)
        if scale <= known:
            return
        known = scale
        level = _reduced(image, scale)
        if np.ptp(level) <= FLAT:
            return
        yield _stretched(level), scale


def _reduced(image: np.ndarray, scale: float) -> np.ndarray:
    if scale >= 1:
        return image
    H, W = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (W, H), interpolation=cv2.INTER_AREA)


def _stretched(image: np.ndarray) -> np.ndarray:
    """The same, or brightened to the full range where it is dark or pale."""
    low, high = int(image.min()), int(image.max())
    if high - low >= NARROW or high == low:
        return image
    levels = (np.arange(256) - low) * 255 / (high - low)
    return np.rint(levels.clip(0, 255)).astype(np.uint8)[image]


def _to_look(face: Face, roll: float) -> np.ndarray:
    """(2, 3): from pixels of the picture to those of the second look, in which the face is upright."""
    matrix = cv2.getRotationMatrix2D((face.x, face.y), roll, LOOK_FACE / face.side)
    matrix[:, 2] += np.array([LOOK / 2 - face.x, LOOK / 2 - face.y])
    return matrix


def _cut(image: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(LOOK, LOOK, 3): what the second look shows, reduced by area first."""
    here = cv2.invertAffineTransform(there)
    corners = np.array([[0, 0], [LOOK, 0], [0, LOOK], [LOOK, LOOK]]) @ here[:, :2].T + here[:, 2]
    H, W = image.shape[:2]
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, (W - 1, H - 1)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)), (left + 1, top + 1), (W, H)).astype(int)
    part = image[top:bottom, left:right]
    scale = min(1.0, float(np.hypot(*there[:, 0])))
    small = _reduced(part, scale)
    fx, fy = (a / b for a, b in zip(part.shape[1::-1], small.shape[1::-1], strict=True))
    back = np.array([[fx, 0, left + (fx - 1) / 2], [0, fy, top + (fy - 1) / 2], [0, 0, 1]])
    return cv2.warpAffine(
        small, there @ back, (LOOK, LOOK), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _in_order(points: np.ndarray) -> bool:
    """Whether (5, 2) points of an upright face are eyes over nose over mouth, left beside right; or NaN."""
    if np.isnan(points).any():
        return True
    left_eye, right_eye, nose, left_lip, right_lip = points
    eyes, mouth = (left_eye + right_eye) / 2, (left_lip + right_lip) / 2
    height = mouth[1] - eyes[1]
    if height < 4:
        return False
    beside = min(right_eye[0] - left_eye[0], right_lip[0] - left_lip[0]) > -0.1 * height
    return bool(beside and 0.1 < (nose[1] - eyes[1]) / height < 1.0)


def _as_face(hit: np.ndarray) -> Face:
    """A hit as a face, its box turned into the square of base.py by factors fitted on drawn heads."""
    score, left, top, width, height = hit[:5].tolist()
    points = hit[5:].reshape(5, 2)
    face = Face(left + width / 2, top + (0.5 - RAISED) * height, SIDE * (width * height) ** 0.5, score)
    if np.isnan(points).any():
        return face
    x = face.x + FRONTWARD * (points[:, 0].mean() - face.x)
    lean = points[3:].mean(axis=0) - points[:2].mean(axis=0)
    return replace(face, x=float(x), points=points, roll=float(np.degrees(np.arctan2(-lean[0], lean[1]))))


def _enlarged(face: Face, scale: float) -> Face:
    """A hit of a reduced picture, its box where it is in the whole one."""
    edge = (scale - 1) / 2
    return replace(face, x=face.x * scale + edge, y=face.y * scale + edge, side=face.side * scale)


def _moved(face: Face, matrix: np.ndarray, roll: float) -> Face:
    """A face of the second look, where it is in the picture, by (2, 3)."""
    x, y = matrix[:, :2] @ (face.x, face.y) + matrix[:, 2]
    points = None if face.points is None else face.points @ matrix[:, :2].T + matrix[:, 2]
    roll += UNDERSTATED * face.roll if abs(face.roll) > LEANING else 0.0
    side = face.side * float(np.hypot(*matrix[:, 0]))
    return Face(float(x), float(y), side, face.score, points, (roll + 180) % 360 - 180)


def _same(found: Face, face: Face) -> bool:
    """Whether a hit can be that face: it lies about there and has about its size."""
    near = max(abs(found.x - face.x), abs(found.y - face.y)) < face.side / 2
    return near and 0.5 < found.side / face.side < 2.0
