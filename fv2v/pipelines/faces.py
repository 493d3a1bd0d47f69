# SPDX-License-Identifier: Apache-2.0
"""What finds faces for a command: LivePortrait's own detector and landmarks, where its weights bring them."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from fv2v.checkpoints import in_folder, liveportrait, native, performrecast
from fv2v.face.cropping import CropChoice, Crops
from fv2v.face.detectors.choice import find_faces
from fv2v.face.detectors.liveportrait import LICENCE, LivePortraitFaces, find_release_faces
from fv2v.face.portrait import CroppedPortrait, FaceChoice
from fv2v.motion.ratios import Openness
from fv2v.pipelines.model import ModelChoice
from fv2v.pipelines.source_film import SourceFilm


class FaceFinder:
    """Finds faces as the release does whose weights a command runs.

    Args:
        model: the command's, checked.
        crop: whose faces are looked for, as `CropChoice.of` takes it.

    Attributes:
        crop: how they are cut out: closer for PerformRecast's weights.
        notes: a line for the user, once faces were chosen by it: whose licence counts, or what is missing of
            LivePortrait's files and what is used instead.
    """

    def __init__(self, model: ModelChoice, crop: Crops) -> None:
        self._model, self.crop = model, CropChoice.of(crop)
        if any(map(_is_performrecasts, _files_of(model))):
            self.crop = replace(self.crop, close=True)
        self.notes: tuple[str, ...] = ()

    def choose(self, face: Any, *, drives: bool = False) -> Any:
        """`face` as `choose_face` takes it: a number counts the faces that the release's detector finds.

        For LivePortrait's weights a detector that the user named is asked for five points of the face, and
        for PerformRecast's any.
        """
        is_number = isinstance(face, int) and not isinstance(face, bool)
        choice = FaceChoice(face) if is_number else face
        if not self.crop.framing(drives).cut or not isinstance(choice, FaceChoice) or choice.landmarks:
            return face
        if self.crop.close:
            return replace(choice, by_points=True)
        if self._found is None:
            return face
        if choice.detector is not find_faces:
            return replace(choice, by_points=True)
        if isinstance(self._found, str):
            self.notes = (
                f"faces are not found by LivePortrait's own detector: {self._found}. fv2v's is used instead, "
                "and its five points, where it gives them, for about the release's crop",
            )
            return replace(choice, by_points=True)
        self.notes = (LICENCE,)
        return replace(choice, detector=self._found, landmarks=self._found.landmarks)

    @cached_property
    def _found(self) -> LivePortraitFaces | str | None:
        """The detector, or what is missing for it; None for other weights than LivePortrait's."""
        files = _files_of(self._model)
        return find_release_faces(files) if files and all(map(_is_liveportraits, files)) else None


def openness_of(portrait: CroppedPortrait | SourceFilm) -> Openness | None:
    """How far a portrait's eyes and lips are open, of a film in its first frame; None: not known."""
    if isinstance(portrait, SourceFilm):
        return portrait.opened[0] if portrait.opened else None
    marks = portrait.landmarks
    return Openness.of(marks) if marks is not None and len(marks) == 203 else None


def _files_of(model: ModelChoice) -> Sequence[Path]:
    """The files of weights that a command runs, those of a folder too; none where they are random or ship."""
    weights = model.reenactor.weights if model.reenactor else model.weights
    if weights is None or weights == "random":
        return ()
    files = [Path(weights)] if isinstance(weights, str | os.PathLike) else [Path(path) for path in weights]
    if len(files) == 1 and files[0].is_dir():
        files = in_folder(files[0])
    return files


def _is_liveportraits(path: Path) -> bool:
    if not path.is_file():
        return False
    return (
        native.release(path) == liveportrait.NAME if native.is_ours(path) else bool(liveportrait.part(path))
    )


def _is_performrecasts(path: Path) -> bool:
    """Whether a file can be no other release's."""
    if not path.is_file():
        return False
    if native.is_ours(path):
        return native.release(path) == performrecast.NAME
    return performrecast.holds([path])
