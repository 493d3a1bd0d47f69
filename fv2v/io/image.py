# SPDX-License-Identifier: Apache-2.0
"""Still pictures in and out (OpenCV): (H, W, 3) uint8 RGB, upright."""

from pathlib import Path

import cv2
import numpy as np

from fv2v.io.integrity import check_not_truncated, picture_format
from fv2v.io.limits import ARRAY, check_bytes, reading
from fv2v.io.orientation import turned
from fv2v.io.paths import PathLike, check_input, check_output, whole_file
from fv2v.io.picture_size import picture_size

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")  # what write_image writes
TRANSPARENT = (".png", ".webp")  # of them those that hold opacity
NO_PICTURE = "not a picture that OpenCV can read (or a truncated one)"
PIECE = 1 << 15  # pixels converted at a time: on the way to 8 bit they take several times their memory


def read_image(path: PathLike) -> np.ndarray:
    """Read a picture in any format OpenCV knows: (H, W, 3) uint8 RGB.

    EXIF orientation is applied; grey becomes RGB; 16-bit and float samples are scaled to 8 bit; transparent
    pixels are laid over white.

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, truncated, or no picture; or one of more pixels than `limits.PIXELS`.
    """
    return read_with_opacity(path)[0]


def read_with_opacity(path: PathLike) -> tuple[np.ndarray, np.ndarray | None]:
    """`read_image`, and how opaque each pixel of the file is: (H, W) uint8; None: all are, wholly."""
    path = check_input(path)
    with reading(path, NO_PICTURE):
        check_bytes(path, 2 * ARRAY, "bytes of a picture")
        check_not_truncated(path)
        encoded = path.read_bytes()
        image = None if picture_size(encoded) is None else _decode(encoded)
        if image is None:
            name = picture_format(path)
            if name:
                raise ValueError(f"a picture in {name}, which OpenCV cannot read; save it as JPEG or PNG")
            raise ValueError(NO_PICTURE)
        shown = np.empty((*image.shape[:2], 3), np.uint8)
        rows = max(1, PIECE // image.shape[1])
        opacity = np.full(image.shape[:2], 255, np.uint8) if image.shape[2:] == (4,) else None
        for top in range(0, len(image), rows):
            part = _eight_bit(image[top : top + rows])
            shown[top : top + rows] = _over_white(part)
            if opacity is not None:
                opacity[top : top + rows] = part[..., 3]
        return shown, None if opacity is None or opacity.min() == 255 else opacity


def write_image(path: PathLike, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as .png, .jpg or .webp, or (H, W, 4), with opacity, as .png or .webp.

    The file appears whole or not at all.
    """
    transparent = image.shape[2:] == (4,) and Path(path).suffix.lower() in TRANSPARENT
    if image.ndim != 3 or not (transparent or image.shape[2] == 3) or image.dtype != np.uint8:
        raise ValueError(f"write_image: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
    path = check_output(path, IMAGE_SUFFIXES)
    order = cv2.COLOR_RGBA2BGRA if transparent else cv2.COLOR_RGB2BGR
    try:
        encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, order))[1]
    except cv2.error:  # each format has a largest size
        H, W, _ = image.shape
        raise ValueError(
            f"{path}: a picture of {W} x {H} pixels cannot be written as {path.suffix}; expected at most "
            "16383 on a side in .webp and 65500 in .jpg"
        ) from None
    with whole_file(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _decode(encoded: bytes) -> np.ndarray | None:
    """BGR or BGRA in the file's own depth, upright; None where OpenCV cannot decode it."""
    # OpenCV would print its own message about a damaged file
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    data = np.frombuffer(encoded, np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        if image is None:
            return None
        if image.ndim == 2 or image.shape[2] != 4:  # decoded again: IMREAD_UNCHANGED ignores the orientation
            image = None  # frees its memory
            return cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        return turned(image, encoded)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)


def _eight_bit(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        return np.rint(image / 257).astype(np.uint8)
    return np.rint(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)  # float formats hold 0 to 1


def _over_white(image: np.ndarray) -> np.ndarray:
    """(H, W, 3 or 4) BGR[A] to (H, W, 3) RGB."""
    if image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    colour, opacity = image[..., 2::-1].astype(np.float32), image[..., 3:].astype(np.float32) / 255
    return np.rint(colour * opacity + 255 * (1 - opacity)).astype(np.uint8)
