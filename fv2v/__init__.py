"""face-vid2vid: talking heads from one portrait (Wang, Mallya, Liu 2021).

A name is imported when it is first used, so that what needs no torch (`fv2v --help`) does not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors; at run time `__getattr__` finds the same names
    from fv2v.coefficients import read_coefficients
    from fv2v.config import ModelConfig
    from fv2v.edit import Edit, Openness
    from fv2v.files import frontalize, imitate, reenact, talk
    from fv2v.film import Film
    from fv2v.geometry import Motion, Source, View
    from fv2v.image import read_image, write_image
    from fv2v.inspection import inspect
    from fv2v.motion_files import read_motion, write_motion
    from fv2v.presets import PRESETS, preset
    from fv2v.reenactor import Reenactor
    from fv2v.replay import extract, render
    from fv2v.stream import Stream
    from fv2v.timing import Timing
    from fv2v.video import read_video, write_video

__all__ = [
    "PRESETS",
    "Edit",
    "Film",
    "ModelConfig",
    "Motion",
    "Openness",
    "Reenactor",
    "Source",
    "Stream",
    "Timing",
    "View",
    "extract",
    "frontalize",
    "imitate",
    "inspect",
    "preset",
    "read_coefficients",
    "read_image",
    "read_motion",
    "read_video",
    "reenact",
    "render",
    "talk",
    "write_image",
    "write_motion",
    "write_video",
]

_MODULES = {
    "read_coefficients": "coefficients",
    "ModelConfig": "config",
    "Edit": "edit",
    "Openness": "edit",
    "frontalize": "files",
    "imitate": "files",
    "reenact": "files",
    "talk": "files",
    "Film": "film",
    "Motion": "geometry",
    "Source": "geometry",
    "View": "geometry",
    "inspect": "inspection",
    "read_image": "image",
    "write_image": "image",
    "read_motion": "motion_files",
    "write_motion": "motion_files",
    "PRESETS": "presets",
    "preset": "presets",
    "Reenactor": "reenactor",
    "extract": "replay",
    "render": "replay",
    "Stream": "stream",
    "Timing": "timing",
    "read_video": "video",
    "write_video": "video",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'fv2v' has no attribute {name!r}")
    return getattr(import_module(f"fv2v.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
