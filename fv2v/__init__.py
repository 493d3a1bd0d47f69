"""face-vid2vid: talking heads from one portrait (Wang, Mallya, Liu 2021)."""

from fv2v.config import PRESETS, ModelConfig, preset
from fv2v.geometry import Motion, Source, View
from fv2v.reenactor import Reenactor

__all__ = ["PRESETS", "ModelConfig", "Motion", "Reenactor", "Source", "View", "preset"]
