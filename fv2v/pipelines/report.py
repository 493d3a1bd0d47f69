# SPDX-License-Identifier: Apache-2.0
"""What a command wrote, and where the time went."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from fv2v.face.lost import LOST

SPANS = 5  # stretches of frames that a line lists

Spans = tuple[tuple[float, float], ...]  # seconds of the first and the last frame of each stretch


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds that each part of the work took. Parts run at the same time: their sum may exceed the whole."""

    decode: float  # the driving frames
    crop: float  # finding faces in portrait and frames, cutting squares
    network: float  # portrait and frames
    encode: float  # pictures and sound

    def __str__(self) -> str:
        return ", ".join(f"{part.name} {getattr(self, part.name):.1f} s" for part in fields(self))


@dataclass(frozen=True, slots=True)
class Report:
    """What a command wrote."""

    output: Path
    frames: int
    seconds: float  # from looking for faces to the last byte, without loading weights
    missing: int  # frames in which the driver's face was not seen; 0 with crop=False
    stages: Stages | None = None  # of a video
    notes: tuple[str, ...] = ()  # lines about what is not as it should be: damaged frames, sound left out
    lost: str = "hold"  # what drove in those frames, a key of `LOST`
    spans: Spans = ()  # of them
    interrupted: bool = False  # the film was ended by an interrupt, and `output` is what it had so far

    def with_driver(self, stages: Stages, missing: int, *notes: str | None) -> "Report":
        """The same report with the seconds that reading the driver took added, stage by stage, and notes."""
        own = self.stages or Stages(0.0, 0.0, 0.0, 0.0)
        sums = (getattr(own, part.name) + getattr(stages, part.name) for part in fields(Stages))
        told = (*self.notes, *(note for note in notes if note))
        return replace(self, missing=missing, stages=Stages(*sums), notes=told)

    def __str__(self) -> str:
        rate = self.frames / max(self.seconds, 1e-9)
        frames = "1 frame" if self.frames == 1 else f"{self.frames} frames"
        text = f"{self.output}: {frames} in {self.seconds:.1f} s ({rate:.1f} a second)"
        if self.stages:
            text += f": {self.stages}"
        if self.missing:
            text += f"; no face in {self.missing} of them{listed(self.spans)}: {LOST[self.lost]}"
        return text


def listed(spans: Spans) -> str:
    """ " (at 1.00-2.00, 5.00 s)", in brackets and with a space before; "" for none."""
    if not spans:
        return ""
    shown = [f"{a:.2f}" if a == b else f"{a:.2f}-{b:.2f}" for a, b in spans[:SPANS]]
    more = f" and {len(spans) - SPANS} times more" if len(spans) > SPANS else ""
    return f" (at {', '.join(shown)} s{more})"
