"""face-vid2vid: talking heads from one portrait (Wang, Mallya, Liu 2021)."""

from fv2v.config import PRESETS, ModelConfig, preset
from fv2v.files import frontalize, reenact
from fv2v.geometry import Motion, Source, View
from fv2v.image import read_image, write_image
from fv2v.reenactor import Reenactor
from fv2v.video import read_video, write_video

__all__ = [
    "PRESETS",
    "ModelConfig",
    "Motion",
    "Reenactor",
    "Source",
    "View",
    "frontalize",
    "preset",
    "read_image",
    "read_video",
    "reenact",
    "write_image",
    "write_video",
]
