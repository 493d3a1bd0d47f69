# SPDX-License-Identifier: Apache-2.0
"""Still pictures in and out (OpenCV): (H, W, 3) uint8 RGB, upright."""

import cv2
import numpy as np

from fv2v.io.integrity import check_not_truncated, picture_format
from fv2v.io.orientation import turned
from fv2v.io.paths import PathLike, check_input, check_output, whole_file

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")  # what write_image writes


def read_image(path: PathLike) -> np.ndarray:
    """Read a picture in any format OpenCV knows: (H, W, 3) uint8 RGB.

    EXIF orientation is applied; grey becomes RGB; 16-bit and float samples are scaled to 8 bit; transparent
    pixels are laid over white.

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, truncated, or no picture.
    """
    path = check_input(path)
    check_not_truncated(path)
    image = _decode(np.fromfile(path, np.uint8))
    if image is None:
        name = picture_format(path)
        if name:
            raise ValueError(f"{path}: a picture in {name}, which OpenCV cannot read; save it as JPEG or PNG")
        raise ValueError(f"{path}: not a picture that OpenCV can read (or a truncated one)")
    return _over_white(_eight_bit(image))


def write_image(path: PathLike, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as .png, .jpg or .webp; the file appears whole or not at all."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"write_image: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
    path = check_output(path, IMAGE_SUFFIXES)
    encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    with whole_file(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _decode(encoded: np.ndarray) -> np.ndarray | None:
    """BGR or BGRA in the file's own depth, upright; None where OpenCV cannot decode it."""
    # OpenCV would print its own message about a damaged file
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
        if image is None:
            return None
        if image.ndim == 2 or image.shape[2] == 3:  # decoded again: IMREAD_UNCHANGED ignores the orientation
            return cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        return turned(image, encoded.tobytes())
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)


def _eight_bit(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        return np.rint(image / 257).astype(np.uint8)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)  # float formats hold 0 to 1


def _over_white(image: np.ndarray) -> np.ndarray:
    """(H, W, 3 or 4) BGR[A] to (H, W, 3) RGB."""
    if image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    colour, opacity = image[..., 2::-1].astype(np.float32), image[..., 3:].astype(np.float32) / 255
    return np.rint(colour * opacity + 255 * (1 - opacity)).astype(np.uint8)
