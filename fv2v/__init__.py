# SPDX-License-Identifier: Apache-2.0
"""face-vid2vid: talking heads from one portrait (Wang, Mallya, Liu 2021).

The rooms, from the top. A module imports from its own layer and from those below, never upwards:

    cli                                       the commands, one file each
    jobs, live, pipelines, training, metrics  many clips; streams; whole files; learning; measuring
    reenactor, export, losses, diagnostics    the Reenactor; other runtimes; the paper's losses; this machine
    engine, checkpoints, viz, codec           inference form; weights of every release; pictures of internals;
                                              motion as a bitstream
    networks, data, motion                    F L H Δ M G D; what is learnt from; what drives
    geometry, face, presets                   keypoints and conventions; faces in pictures; released models
    io, config, devices, extras,              files and videos; settings; what all others stand on
    batch, progress
    starter                                   the weights that come with the package
    fv2v_kernels                              the operators, a package of its own

A name below is imported when it is first used, so that what needs no torch (`fv2v --help`) does not wait.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_MODULES = {  # where each public name lives
    "CropChoice": "fv2v.face.cropping",
    "Edit": "fv2v.motion.edit",
    "FaceTracker": "fv2v.face.tracking",
    "ModelConfig": "fv2v.config",
    "Motion": "fv2v.geometry",
    "MotionSequence": "fv2v.motion.sequence",
    "Openness": "fv2v.motion.ratios",
    "PRESETS": "fv2v.presets",
    "Reenactor": "fv2v.reenactor",
    "Source": "fv2v.geometry",
    "Stream": "fv2v.live.stream",
    "Timing": "fv2v.io.timing",
    "View": "fv2v.geometry",
    "crop_face": "fv2v.face.portrait",
    "driving_coefficients": "fv2v.motion.coefficients",
    "extract": "fv2v.pipelines.extract",
    "frontalize": "fv2v.pipelines.stills",
    "imitate": "fv2v.pipelines.stills",
    "inspect": "fv2v.pipelines.inspect",
    "pose_views": "fv2v.motion.coefficients",
    "preset": "fv2v.presets",
    "read_coefficients": "fv2v.motion.coefficients",
    "read_image": "fv2v.io.image",
    "read_motion": "fv2v.motion.npz",
    "read_video": "fv2v.io.video",
    "reenact": "fv2v.pipelines.reenact",
    "render": "fv2v.pipelines.render",
    "talk": "fv2v.pipelines.talk",
    "write_image": "fv2v.io.image",
    "write_motion": "fv2v.motion.npz",
    "write_video": "fv2v.io.video",
}

__all__ = [*_MODULES]

if TYPE_CHECKING:  # the same names for type checkers and editors, which do not run `__getattr__`
    from fv2v.config import ModelConfig as ModelConfig
    from fv2v.face.cropping import CropChoice as CropChoice
    from fv2v.face.portrait import crop_face as crop_face
    from fv2v.face.tracking import FaceTracker as FaceTracker
    from fv2v.geometry import Motion as Motion
    from fv2v.geometry import Source as Source
    from fv2v.geometry import View as View
    from fv2v.io.image import read_image as read_image
    from fv2v.io.image import write_image as write_image
    from fv2v.io.timing import Timing as Timing
    from fv2v.io.video import read_video as read_video
    from fv2v.io.video import write_video as write_video
    from fv2v.live.stream import Stream as Stream
    from fv2v.motion.coefficients import driving_coefficients as driving_coefficients
    from fv2v.motion.coefficients import pose_views as pose_views
    from fv2v.motion.coefficients import read_coefficients as read_coefficients
    from fv2v.motion.edit import Edit as Edit
    from fv2v.motion.npz import read_motion as read_motion
    from fv2v.motion.npz import write_motion as write_motion
    from fv2v.motion.ratios import Openness as Openness
    from fv2v.motion.sequence import MotionSequence as MotionSequence
    from fv2v.pipelines.extract import extract as extract
    from fv2v.pipelines.inspect import inspect as inspect
    from fv2v.pipelines.reenact import reenact as reenact
    from fv2v.pipelines.render import render as render
    from fv2v.pipelines.stills import frontalize as frontalize
    from fv2v.pipelines.stills import imitate as imitate
    from fv2v.pipelines.talk import talk as talk
    from fv2v.presets import PRESETS as PRESETS
    from fv2v.presets import preset as preset
    from fv2v.reenactor import Reenactor as Reenactor

    __version__: str
else:

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return getattr(import_module(_MODULES[name]), name)
        if name != "__version__":
            raise AttributeError(f"module 'fv2v' has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("fv2v")
        except PackageNotFoundError:  # a checkout that was never installed
            return "0+unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
