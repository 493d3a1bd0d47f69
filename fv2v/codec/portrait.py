# SPDX-License-Identifier: Apache-2.0
"""The portrait as a still picture of a few kilobytes: AVIF, WebP or JPEG."""

import cv2
import numpy as np

from fv2v.codec.file import PICTURES
from fv2v.codec.range_coder import CodecError
from fv2v.io.limits import LimitError
from fv2v.io.picture_size import picture_size

FORMATS = {
    "avif": (".avif", cv2.IMWRITE_AVIF_QUALITY),
    "webp": (".webp", cv2.IMWRITE_WEBP_QUALITY),
    "jpeg": (".jpg", cv2.IMWRITE_JPEG_QUALITY),
}
PSNR = 40.0  # dB that each format is to reach, by default
_BEST = 99  # of each format's scale of quality; WebP is lossless above 100


def encode_portrait(image: np.ndarray, psnr: float = PSNR, kind: str = "smallest") -> bytes:
    """(H, W, 3) uint8 -> the coarsest picture of a format that reaches `psnr` dB, or its best.

    Args:
        kind: the format, one of FORMATS; "smallest": whichever takes the fewest bytes. OpenCV may be built
            without AVIF: then that is left out.

    Raises:
        ValueError: no such format, or one that OpenCV cannot write here.
    """
    check_portrait_format(kind)
    made = [_at_psnr(image, psnr, name) for name in (FORMATS if kind == "smallest" else [kind])]
    known = [data for data in made if data]
    if not known:
        raise ValueError(f"OpenCV was built without {kind}: expected another format of the portrait")
    return min(known, key=len)


def check_portrait_format(kind: str) -> None:
    """ValueError unless it is "smallest" or one of FORMATS."""
    if kind != "smallest" and kind not in FORMATS:
        raise ValueError(f"expected a format of the portrait, smallest, {', '.join(FORMATS)}; got {kind!r}")


def decode_portrait(data: bytes) -> np.ndarray:
    """(H, W, 3) uint8. CodecError for bytes that are no such picture, or more than `limits.PIXELS`."""
    # of others, headers have OpenCV give gigabytes to a few bytes
    if not any(data[at:].startswith(mark) for at, mark in PICTURES.values()):
        raise CodecError(f"damaged: the portrait is no picture in {', '.join(PICTURES)}")
    image = None
    try:
        if picture_size(data) is not None:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except LimitError as error:
        raise CodecError(f"damaged: a portrait that cannot be: {error}") from None
    except cv2.error:
        pass
    if image is None:
        raise CodecError("damaged: the portrait is no picture that OpenCV can read")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _at_psnr(image: np.ndarray, psnr: float, name: str) -> bytes:
    """By halving; empty where OpenCV does not know the format."""
    low, high, best = 1, _BEST, b""
    while low <= high:
        quality = (low + high) // 2
        data = _encode(image, name, quality)
        if not data:
            return b""
        error = np.square(decode_portrait(data).astype(np.float64) - image).mean()
        if error <= 255**2 / 10 ** (psnr / 10):
            best, high = data, quality - 1
        else:
            low = quality + 1
    return best or _encode(image, name, _BEST)


def _encode(image: np.ndarray, name: str, quality: int) -> bytes:
    suffix, option = FORMATS[name]
    try:
        done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [option, quality])
    except cv2.error:
        return b""
    return bytes(data) if done else b""
