# SPDX-License-Identifier: Apache-2.0
"""Pasting back: a rendered crop, blended into the picture that it was cut from.

The mask fades the crop out toward its edges. Where it is 0 the picture stays as it was, bit for bit. What
networks paint of the ground around a head is often lighter than the picture's own, which shows as a box: so
the content is evened where it meets the picture, and stays as it is over the face.
"""

from functools import cache, lru_cache

import cv2
import numpy as np

from fv2v.face.crop import Box
from fv2v.face.landmarks import RELEASE_SIZE, Square, transform

MASK_SIZE = 256
FEATHER = 0.1  # part of the side over which the mask rises from 0 at each edge
EVENED, EVENING = 0.2, 0.25  # the content is evened so far from each edge, and less and less so far beyond
STATISTICS_SIZE = 128  # pixels a side at most of the pictures whose means and spread are compared
GAIN = 2.0  # by which a spread may grow, or shrink
FLAT = 1.0  # levels: a smaller spread says nothing


@cache
def feathered_mask(size: int = MASK_SIZE, feather: float = FEATHER, start: float = 0.0) -> np.ndarray:
    """(size, size) float32, read-only: 0 on the outermost pixels, rising smoothly to 1 in the middle.

    `start`: how far from the edges the rise begins, `feather`: how far it reaches from there, as parts of the
    side, above 0 and together at most 1/2. ValueError otherwise.
    """
    if size < 1 or feather <= 0 or start < 0 or start + feather > 0.5:
        raise ValueError(
            f"expected a size of 1 pixel at least and 0 < feather <= 0.5, got {size}, {feather}"
            + (f" from {start} on" if start else "")
        )
    index = np.arange(size)
    rise = np.clip((np.minimum(index, size - 1 - index) / size - start) / feather, 0, 1)
    smooth = (rise * rise * (3 - 2 * rise)).astype(np.float32)
    mask = np.outer(smooth, smooth)
    mask.flags.writeable = False
    return mask


def paste_back(
    full: np.ndarray, rendered: np.ndarray, crop: Box | Square, mask: np.ndarray | None = None
) -> np.ndarray:
    """The whole picture with the rendered crop where it was cut, (H, W, 3) uint8; `full` is not changed.

    The crop is reduced by area if it is larger than its place, and resampled bicubically. Where sizes are
    equal and the square is not rotated, pixels map onto pixels: then a crop that was not changed, pasted
    back, gives the picture again. Around the face each colour gets the mean and the spread that the picture
    has where the mask fades.

    Args:
        full: (H, W, 3) uint8, the picture or the frame of a video.
        rendered: (n, n, 3) uint8, the crop's new content, of any size.
        crop: where it was cut: by `cut` (a `Box`), or by `crop_by_landmarks` into the release's 512 pixels
            (a `Square`). What reaches past the picture's border is dropped.
        mask: (m, m) in [0, 1], over the crop, of any size; by default `feathered_mask()`.

    Raises:
        ValueError: other shapes or dtypes, or a mask outside [0, 1].
    """
    _check(full, rendered, feathered_mask() if mask is None else mask)
    place = _place(crop, full.shape[:2])
    pasted = full.copy()
    if place is None:
        return pasted
    side = max(1, round(crop.side))
    if side < len(rendered):
        rendered = cv2.resize(rendered, (side, side), interpolation=cv2.INTER_AREA)
    content = _warped(rendered, crop, place, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
    weight, evened = _weights(crop, full.shape[:2])
    if mask is not None:
        weight = _warped(mask.astype(np.float32), crop, place, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
    part = pasted[place]
    change = cv2.LUT(content, _evening(content, part, weight)).reshape(part.shape)
    change *= evened[..., None]
    change += content
    change -= part
    change *= weight[..., None]
    change += part
    part[:] = np.rint(change, out=change).clip(0, 255)
    return pasted


@lru_cache(maxsize=4)
def _weights(crop: Box | Square, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The mask, and how far content is evened, (h, w) over the crop's place; a video's frames share them."""
    place = _place(crop, size)
    assert place is not None
    masks = feathered_mask(), 1 - feathered_mask(MASK_SIZE, EVENING, EVENED)
    weight, evened = (_warped(mask, crop, place, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT) for mask in masks)
    weight.flags.writeable = evened.flags.writeable = False
    return weight, evened


def _evening(content: np.ndarray, part: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(256, 1, 3) float32: what each level of `content` lacks of the mean and spread of `part` in the ring.

    (h, w, 3) uint8 each; the ring is where `weight` (h, w) is neither 0 nor 1. Without one it is nothing.
    """
    h, w = (min(side, STATISTICS_SIZE) for side in weight.shape)
    ours, theirs, fading = (
        cv2.resize(each, (w, h), interpolation=cv2.INTER_AREA).reshape(h * w, -1).astype(np.float64)
        for each in (content, part, weight)
    )
    ring = fading * (1 - fading)
    if ring.sum() < 1:
        return np.zeros((256, 1, 3), np.float32)
    (mean, spread), (wanted, wanted_spread) = (_moments(each, ring / ring.sum()) for each in (ours, theirs))
    gain = np.ones(3)
    textured = (spread > FLAT) & (wanted_spread > FLAT)
    gain[textured] = np.clip(wanted_spread[textured] / spread[textured], 1 / GAIN, GAIN)
    levels = np.arange(256.0)[:, None, None]
    return ((levels - mean) * (gain - 1) + wanted - mean).astype(np.float32)


def _moments(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (3,) of (n, 3), by weights (n, 1)."""
    mean = (weights * values).sum(axis=0)
    return mean, np.sqrt((weights * (values - mean) ** 2).sum(axis=0))


def _place(crop: Box | Square, size: tuple[int, int]) -> tuple[slice, slice] | None:
    """The rows and columns of a picture of `size` (H, W) that the crop touches; None: it lies outside."""
    corners = transform(np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) - 0.5, _to_picture(crop, 1))
    low = np.floor(corners.min(axis=0)).astype(int)
    high = np.ceil(corners.max(axis=0)).astype(int) + 1
    columns, rows = (
        slice(max(0, start), min(end, side)) for start, end, side in zip(low, high, size[::-1], strict=True)
    )
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _warped(
    image: np.ndarray, crop: Box | Square, place: tuple[slice, slice], how: int, border: int
) -> np.ndarray:
    """An image over the crop, (n, n) or (n, n, 3), resampled at those rows and columns of the picture."""
    rows, columns = place
    matrix = _to_picture(crop, len(image))
    matrix[:2, 2] -= columns.start, rows.start
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return cv2.warpAffine(image, matrix[:2], size, flags=how, borderMode=border)


def _to_picture(crop: Box | Square, size: int) -> np.ndarray:
    """(3, 3): from pixels of a crop of `size` x `size` to pixels of the picture.

    The matrices of a `Square` put the centre of the first pixel at 0, in a crop of `RELEASE_SIZE`; resizing
    that crop to `size` keeps edges in place, as cv2.resize does.
    """
    if isinstance(crop, Box):
        return crop.to_original(size)
    return crop.to_original(RELEASE_SIZE) @ Box(0, 0, RELEASE_SIZE).to_original(size)


def _check(full: np.ndarray, rendered: np.ndarray, mask: np.ndarray) -> None:
    for name, image in (("full", full), ("rendered", rendered)):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f"{name}: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if rendered.shape[0] != rendered.shape[1]:
        raise ValueError(f"rendered: expected a square, (n, n, 3), got {rendered.shape}")
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1] or not mask.size:
        raise ValueError(f"mask: expected (m, m), got {mask.shape}")
    if not ((mask >= 0) & (mask <= 1)).all():
        raise ValueError("mask: expected numbers from 0 to 1")
