# SPDX-License-Identifier: Apache-2.0
"""Pasting back: a rendered crop, blended into the picture that it was cut from.

The mask fades the crop out toward its edges. Where it is 0 the picture stays as it was, bit for bit.
"""

from functools import cache

import cv2
import numpy as np

from fv2v.face.crop import Box
from fv2v.face.landmarks import RELEASE_SIZE, Square, transform

MASK_SIZE = 256
FEATHER = 0.1  # part of the side over which the mask rises from 0 at each edge


@cache
def feathered_mask(size: int = MASK_SIZE, feather: float = FEATHER) -> np.ndarray:
    """(size, size) float32, read-only: 0 on the outermost pixels, rising smoothly to 1 in the middle.

    `feather`: how far the rise reaches, as a part of the side, above 0 and at most 1/2. ValueError otherwise.
    """
    if size < 1 or not 0 < feather <= 0.5:
        raise ValueError(f"expected a size of 1 pixel at least and 0 < feather <= 0.5, got {size}, {feather}")
    index = np.arange(size)
    rise = np.clip(np.minimum(index, size - 1 - index) / (feather * size), 0, 1)
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
    back, gives the picture again.

    Args:
        full: (H, W, 3) uint8, the picture or the frame of a video.
        rendered: (n, n, 3) uint8, the crop's new content, of any size.
        crop: where it was cut: by `cut` (a `Box`), or by `crop_by_landmarks` into the release's 512 pixels
            (a `Square`). What reaches past the picture's border is dropped.
        mask: (m, m) in [0, 1], over the crop, of any size; by default `feathered_mask()`.

    Raises:
        ValueError: other shapes or dtypes, or a mask outside [0, 1].
    """
    mask = feathered_mask() if mask is None else mask
    _check(full, rendered, mask)
    place = _place(crop, full.shape[:2])
    pasted = full.copy()
    if place is None:
        return pasted
    side = max(1, round(crop.side))
    if side < len(rendered):
        rendered = cv2.resize(rendered, (side, side), interpolation=cv2.INTER_AREA)
    content = _warped(rendered, crop, place, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
    weight = _warped(mask.astype(np.float32), crop, place, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)[..., None]
    part = pasted[place]
    part[:] = np.rint(part + weight * (content.astype(np.float32) - part))
    return pasted


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
