# SPDX-License-Identifier: Apache-2.0
"""Motion from a file, of whatever kind: estimated, coded, or the coefficients that a preset reads."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fv2v.codec.file import SUFFIX as CODED
from fv2v.codec.file import Recording, read_recording
from fv2v.config import ModelConfig
from fv2v.geometry import Motion
from fv2v.io.paths import PathLike
from fv2v.io.timing import WHOLE, Span, Timing
from fv2v.motion.coefficients import driving_coefficients, holds_coefficients, read_coefficients
from fv2v.motion.npz import read_motion
from fv2v.motion.sequence import MotionSequence, check_fits
from fv2v.pipelines.coded import check_preset, decode_motion, sound_file
from fv2v.pipelines.extract import motion_of_rows
from fv2v.pipelines.kinds import MOTION, check_kind
from fv2v.pipelines.model import COEFFICIENT_RATE
from fv2v.reenactor import Reenactor


@dataclass(frozen=True, slots=True)
class MotionFile:
    """What was read, before any weights are."""

    path: Path
    content: MotionSequence | Recording | np.ndarray  # coefficients (T, 70 or 73)

    @classmethod
    def read(cls, path: PathLike) -> "MotionFile":
        """Of a `.npz`, `.pkl`, `.fv2v`, `.npy` or `.mat`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a file that cannot be read, or a film or picture.
        """
        path = Path(path)
        check_kind(path, "a file of motion", MOTION)
        if path.suffix.lower() == CODED:
            return cls(path, read_recording(path))
        return cls(path, read_coefficients(path) if holds_coefficients(path) else read_motion(path))

    @property
    def timing(self) -> Timing:
        """When its frames are shown."""
        if isinstance(self.content, np.ndarray):
            return Timing.even(len(self.content), COEFFICIENT_RATE)
        return self.content.timing

    @property
    def driven_by(self) -> str | None:
        """What a preset that it moves is driven by, as `ModelChoice` has it."""
        return "coefficients" if isinstance(self.content, np.ndarray) else None

    @property
    def has_sound(self) -> bool:
        """Whether the file holds sound."""
        return isinstance(self.content, Recording) and bool(self.content.sound)

    def sound_in(self, folder: Path) -> Path | None:
        """The sound that the file holds, put into a folder; None: there is too little of it."""
        return sound_file(self.content, folder) if isinstance(self.content, Recording) else None

    def check(self, config: ModelConfig) -> None:
        """ValueError for a preset that it does not move."""
        if isinstance(self.content, MotionSequence):
            check_fits(self.content, config)
        elif isinstance(self.content, Recording):
            check_preset(self.content, config)

    def sequence(self, reenactor: Reenactor, span: Span) -> MotionSequence | None:
        """That part of it; None for coefficients."""
        if isinstance(self.content, Recording):
            motion, config = decode_motion(self.content, reenactor.config), reenactor.config
            return MotionSequence(motion, self.content.timing, config.name).part(span)
        return self.content.part(span) if isinstance(self.content, MotionSequence) else None

    def rows(
        self, reenactor: Reenactor, own: np.ndarray | None, span: Span, batch_size: int
    ) -> np.ndarray | Motion:
        """Of coefficients that part, each row read with the rows around it; `own`: the portrait's."""
        rows = driving_coefficients(self.content, own)
        return rows if span == WHOLE else motion_of_rows(reenactor, rows, span.of(self.timing), batch_size)
