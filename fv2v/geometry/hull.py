# SPDX-License-Identifier: Apache-2.0
"""The convex hull of a face's keypoints: how large a face is. In numpy: K is about twenty."""

import numpy as np
from torch import Tensor

from fv2v.config import GeometryConfig
from fv2v.geometry.transfer import TRANSFERS, keypoints_of
from fv2v.geometry.types import Motion, Source


def movement_scale(source: Source, anchor: Motion) -> Tensor:
    """a = sqrt(V_s) / sqrt(V_d0), (B, 1, 1): how much larger the source moves than the driver.

    V is the volume of the keypoints' convex hull, or, in First Order Motion and other flat models, the area
    of that of (x, y). The square root of a volume is no ratio of lengths; it is what zhanglonghao1992's
    release computes, carried over from areas.
    """
    flat = source.features.shape[2] == 1
    size = hull_area if flat else hull_volume
    volumes = [
        np.array([size(points) for points in keypoints.detach().double().cpu().numpy()])
        for keypoints in (source.keypoints, keypoints_of(source.canonical, anchor))
    ]
    if not (volumes[1] > 0).all():
        raise ValueError(
            f"adapt_scale: expected keypoints that span {'an area' if flat else 'a volume'}, got them in one "
            f"{'line' if flat else 'plane'}; leave adapt_scale off"
        )
    return source.keypoints.new_tensor(np.sqrt(volumes[0] / volumes[1]))[:, None, None]


def check_adapt_scale(geometry: GeometryConfig, relative: bool, name: str) -> None:
    """ValueError where movement cannot be scaled: it is absolute, or the preset `name` has another rule."""
    if not (relative and TRANSFERS[geometry.transfer].scales_movement):
        hint = "" if relative else ": expected relative=True, --relative"
        raise ValueError(
            "adapt_scale needs relative motion and a preset with `keypoint` transfer; "
            f"got relative={relative}, {name!r} with {geometry.transfer!r}{hint}"
        )


def hull_area(points: np.ndarray) -> float:
    """points (K, 2 or more), of which x and y count -> the area of their convex hull; 0 in one line.

    By Andrew's chain: in the order of x, a point that the hull would have to turn inwards for is left out.
    """
    ordered = sorted(map(tuple, np.asarray(points, dtype=np.float64)[:, :2].tolist()))
    outline: list[tuple[float, float]] = []
    for line in (ordered, ordered[::-1]):  # from left to right on one side, and back on the other
        side: list[tuple[float, float]] = []
        for x, y in line:
            while len(side) > 1 and _turn(side[-2], side[-1], (x, y)) <= 0:
                side.pop()
            side.append((x, y))
        outline += side[:-1]
    following = outline[1:] + outline[:1]
    return abs(sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(outline, following, strict=True))) / 2


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Twice the signed area of a triangle."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def hull_volume(points: np.ndarray) -> float:
    """points (K, 3) -> the volume of their convex hull; 0 when they lie in one plane.

    Incremental: start from a tetrahedron, and for each point replace the faces it sees by a cone from their
    outline. A point within rounding of a face's plane does not see that face.
    """
    points = np.asarray(points, dtype=np.float64)
    points = points - points.mean(axis=0)
    corners = _tetrahedron(points)
    if corners is None:
        return 0.0
    a, b, c, d = corners
    faces = {(a, b, c), (a, c, d), (a, d, b), (b, d, c)}  # each turned so that its outside is positive
    if _height(points, (a, b, c), d) > 0:
        faces = {(i, k, j) for i, j, k in faces}
    flat = 1e-12 * np.abs(points).max() ** 3
    for p in range(len(points)):
        lit = {face for face in faces if _height(points, face, p) > flat}
        edges = {edge for i, j, k in lit for edge in ((i, j), (j, k), (k, i))}
        outline = {(i, j) for i, j in edges if (j, i) not in edges}
        faces = (faces - lit) | {(i, j, p) for i, j in outline}
    return float(sum(np.linalg.det(points[list(face)]) for face in faces) / 6)


def _height(points: np.ndarray, face: tuple[int, int, int], p: int) -> float:
    """Six times the signed volume of the tetrahedron over `face` with its top at p; positive outside."""
    i, j, k = face
    origin = points[i]
    return float(np.dot(np.cross(points[j] - origin, points[k] - origin), points[p] - origin))


def _tetrahedron(points: np.ndarray) -> tuple[int, int, int, int] | None:
    """Four points far apart: each farthest from the point, the line and the plane of those before it."""
    a = int(np.argmax((points**2).sum(axis=1)))
    from_a = points - points[a]
    b = int(np.argmax((from_a**2).sum(axis=1)))
    across = np.cross(from_a, from_a[b])
    c = int(np.argmax((across**2).sum(axis=1)))
    heights = np.abs(from_a @ np.cross(from_a[b], from_a[c]))
    d = int(np.argmax(heights))
    degenerate = heights[d] <= 1e-12 * np.abs(points).max() ** 3
    return None if degenerate else (a, b, c, d)
