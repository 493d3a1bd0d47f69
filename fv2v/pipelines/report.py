"""What became of a file, and where the time went."""

from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds that each part of the work took. Parts run at the same time: their sum may exceed the whole."""

    decode: float  # the driving frames
    crop: float  # faces sought in portrait and frames, squares cut
    network: float  # portrait and frames
    encode: float  # pictures and sound

    def __str__(self) -> str:
        return ", ".join(f"{part.name} {getattr(self, part.name):.1f} s" for part in fields(self))


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a file."""

    output: Path
    frames: int
    seconds: float  # it took, from looking for faces to the last byte; loading weights is not in it
    missing: int  # frames in which no face was seen, so that the last square held; 0 with crop=False
    stages: Stages | None = None  # of a video

    def __str__(self) -> str:
        rate = self.frames / max(self.seconds, 1e-9)
        text = f"{self.output}: {self.frames} frames in {self.seconds:.1f} s ({rate:.1f} a second)"
        if self.stages:
            text += f": {self.stages}"
        if self.missing:
            text += f"; no face seen in {self.missing} of them: the last square held"
        return text
