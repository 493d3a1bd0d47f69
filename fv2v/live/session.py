# SPDX-License-Identifier: Apache-2.0
"""A camera and a portrait: what the page, a call and `fv2v live` have in common."""

import math
from collections import deque
from dataclasses import asdict, dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2v.codec import MotionEncoder
from fv2v.face.portrait import CroppedPortrait, crop_portrait
from fv2v.geometry import Motion
from fv2v.io.paths import PathLike
from fv2v.live.report import Picture, StreamReport
from fv2v.live.stream import Stream
from fv2v.motion.ratios import Openness
from fv2v.pipelines.faces import FaceFinder, openness_of
from fv2v.pipelines.model import ModelChoice
from fv2v.reenactor import Reenactor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fv2v.reenactor.options import AnimationKeywords

PERIOD = 2.0  # seconds that rates are counted over


@dataclass(frozen=True, slots=True)
class SessionReport(StreamReport):
    """What a session has done so far, and how it does now: rates are of the last two seconds."""

    seen: bool = False  # whether the driver's face was seen in the latest picture's frame
    fps: float = 0.0  # pictures shown a second
    kbps: float = 0.0  # thousands of bits a second that fv2v.codec takes for their motion


def cut_portrait(
    reenactor: Reenactor, portrait: PathLike | np.ndarray, crop: bool = True, face: Any = 1
) -> CroppedPortrait:
    """The square around a portrait's face, found as the release does whose weights run; see `Session`."""
    faces = FaceFinder(ModelChoice(None, None, None, "float32", reenactor), crop)
    return crop_portrait(portrait, faces.crop, faces.choose(face))


class Session(Stream):
    """A `Stream` of whole camera frames, which finds the face in the portrait, too, and counts what it does.

    Example::

        with Session(reenactor, "portrait.png") as session:
            for frame in camera:  # (H, W, 3) uint8 of any size
                session.push(frame)  # never waits
                if picture := session.get(timeout=0):
                    show(picture.image)
        print(session)

    `view`, `edit`, `change` and `anchor` are the stream's. Frames that are no pictures are left out.

    Args:
        reenactor: of a preset that pictures drive.
        portrait: a file, (H, W, 3) uint8 RGB, or what `cut_portrait` made of one.
        crop, face: of the portrait, as `fv2v.reenact` takes them.
        driving_face: which one in the camera's frames, likewise.
        mirror: flip frames, so that the portrait moves as a mirror does.
        lost, queue: as `Stream` takes them.
        keywords: how the portrait follows, as `Stream` takes them.

    Attributes:
        mirror: as given; it may be set at any time.
        openness: how far the portrait's eyes and lips are open, which `Edit(eyes=, lips=)` starts from; None
            where LivePortrait's own landmarks are not at hand.

    Raises:
        FileNotFoundError: there is no such portrait.
        ValueError: no picture, no face in it, or options that do not fit the preset.
    """

    def __init__(
        self,
        reenactor: Reenactor,
        portrait: PathLike | np.ndarray | CroppedPortrait,
        *,
        crop: bool = True,
        face: Any = 1,
        driving_face: Any = 1,
        mirror: bool = False,
        lost: str = "hold",
        queue: int = 2,
        **keywords: "Unpack[AnimationKeywords]",
    ) -> None:
        self._reenactor, self._crop, self._face = reenactor, crop, face
        self._cropped = self._cut(portrait)
        self._encoder = MotionEncoder(reenactor.config)
        self._sent: deque[tuple[float, int]] = deque()  # when a picture was shown, bytes of its motion
        self._seen = False
        self.mirror = mirror
        super().__init__(
            reenactor,
            reenactor.encode(self._cropped.image),
            crop=True,
            face=driving_face,
            lost=lost,
            queue=queue,
            on_error="skip",
            **keywords,
        )

    @property
    def portrait(self) -> np.ndarray:
        """(n, n, 3) uint8: the square around its face. It may be set, to whatever the class takes."""
        return self._cropped.image

    @portrait.setter
    def portrait(self, portrait: PathLike | np.ndarray | CroppedPortrait) -> None:
        cropped = self._cut(portrait)
        self.change(self._reenactor.encode(cropped.image))
        self._cropped = cropped

    @property
    def openness(self) -> Openness | None:
        return openness_of(self._cropped)

    def push(self, frame: Any, time: float | None = None) -> int:
        """As `Stream.push`: a camera's frame, (H, W, 3) uint8, or one frame's motion that was received."""
        if self.mirror and isinstance(frame, np.ndarray):
            frame = np.ascontiguousarray(frame[:, ::-1])
        return super().push(frame, time)

    def get(self, timeout: float | None = None) -> Picture | None:
        """As `Stream.get`."""
        picture = super().get(timeout)
        if picture is not None:
            size = 0 if picture.motion is None else self._size(picture.motion)
            with self._changed:
                self._seen = picture.seen
                self._sent.append((monotonic(), size))
        return picture

    def report(self) -> SessionReport:
        """The counts, latencies and rates so far."""
        counted = super().report()
        with self._changed:
            now, sent = monotonic(), self._sent
            while sent and now - sent[0][0] > PERIOD:
                sent.popleft()
            seconds = max(now - sent[0][0], 1e-3) if sent else math.inf
            # what came with the first began before it
            fps, kbps = (len(sent) - 1) / seconds, sum(size for _, size in list(sent)[1:]) / 125 / seconds
            return SessionReport(**asdict(counted), seen=self._seen, fps=max(fps, 0.0), kbps=kbps)

    def _cut(self, portrait: PathLike | np.ndarray | CroppedPortrait) -> CroppedPortrait:
        if isinstance(portrait, CroppedPortrait):
            return portrait
        return cut_portrait(self._reenactor, portrait, self._crop, self._face)

    def _size(self, motion: Motion) -> int:
        try:
            return len(self._encoder.encode(motion.to("cpu")))
        except ValueError:  # numbers that cannot be sent
            return 0
