# SPDX-License-Identifier: Apache-2.0
"""One picture made of a portrait: with a driving picture's expression, or turned to the front."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2v.checkpoints import Weights
from fv2v.config import ModelConfig
from fv2v.face.cropping import Crops
from fv2v.face.portrait import CroppedPortrait, crop_portrait
from fv2v.geometry import Source
from fv2v.io.image import IMAGE_SUFFIXES, TRANSPARENT, write_image
from fv2v.io.paths import PathLike, check_output
from fv2v.pipelines.faces import FaceFinder
from fv2v.pipelines.kinds import PICTURE, check_kind
from fv2v.pipelines.model import ModelChoice
from fv2v.pipelines.report import Report
from fv2v.reenactor import Reenactor
from fv2v.reenactor.options import AnimationOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fv2v.reenactor.options import AnimationKeywords


def imitate(
    portrait: PathLike,
    driving: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    crop: Crops = True,
    face: Any = 1,
    driving_face: Any = 1,
    paste_back: bool = False,
    device: str | None = None,
    dtype: str = "float32",
    **animation: "Unpack[AnimationKeywords]",
) -> Report:
    """Give a portrait the expression of one driving picture, as `Reenactor.imitate` does.

    Arguments and errors as `reenact`, with a picture of a face for `driving`, and of the animation's options
    those that `Reenactor.imitate` takes; writes .png, .jpg or .webp.
    """
    options = AnimationOptions(**animation)
    output = check_output(output, IMAGE_SUFFIXES, inputs=(portrait, driving))
    check_kind(driving, "a picture", PICTURE)
    check_kind(portrait, "a picture", PICTURE)
    model = ModelChoice(preset, weights, device, dtype, reenactor, requirements=[options.check])
    model.check()
    faces = FaceFinder(model, crop)
    crop = faces.crop
    cropped = crop_portrait(portrait, crop, faces.choose(face))
    driver = crop_portrait(driving, crop, faces.choose(driving_face, drives=True), drives=True)

    def picture(reenactor: Reenactor, source: Source) -> np.ndarray:
        return reenactor.imitate(source, driver.image, options)

    return _write_picture(model.load(), cropped, picture, output, paste_back, faces.notes)


def frontalize(
    portrait: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    crop: Crops = True,
    face: Any = 1,
    paste_back: bool = False,
    device: str | None = None,
    dtype: str = "float32",
) -> Report:
    """Turn a portrait's face to the front. Arguments and errors as `reenact`; writes .png, .jpg or .webp."""
    output = check_output(output, IMAGE_SUFFIXES, inputs=(portrait,))
    check_kind(portrait, "a picture", PICTURE)
    model = ModelChoice(preset, weights, device, dtype, reenactor)
    model.check()
    faces = FaceFinder(model, crop)
    crop = faces.crop
    cropped = crop_portrait(portrait, crop, faces.choose(face))
    return _write_picture(model.load(), cropped, Reenactor.frontalize, output, paste_back, faces.notes)


def _write_picture(
    reenactor: Reenactor,
    portrait: CroppedPortrait,
    picture: Callable[[Reenactor, Source], np.ndarray],
    output: Path,
    paste_back: bool,
    notes: tuple[str, ...],
) -> Report:
    """Encode the portrait, and write what `picture` makes of it."""
    started = time.perf_counter()
    image = picture(reenactor, reenactor.encode(portrait.image))
    image = portrait.with_face(image) if paste_back else image
    if portrait.opacity is not None and output.suffix.lower() in TRANSPARENT:
        image = portrait.as_opaque(image, whole=paste_back)
    write_image(output, image)
    notes = (*(f"the portrait: {remark}" for remark in portrait.remarks), *notes)
    return Report(output, 1, time.perf_counter() - started, 0, notes=notes)
