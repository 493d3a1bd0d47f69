# SPDX-License-Identifier: Apache-2.0
"""Live use: frames at their own pace, pictures as fast as the networks make them; what is late is dropped."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from fv2v.face.lost import check_lost
from fv2v.face.portrait import choose_face
from fv2v.geometry import View
from fv2v.io.prefetch import Worker
from fv2v.live.animation import Begun, LiveAnimation, Sources, joined
from fv2v.live.driver import LiveDrivers
from fv2v.live.report import Counts, Picture, StreamReport
from fv2v.motion.edit import Edit
from fv2v.reenactor import Reenactor
from fv2v.reenactor.options import AnimationOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fv2v.reenactor.options import AnimationKeywords

SMOOTHED = AnimationOptions(steady=True)


class _Frame(NamedTuple):
    number: int
    time: float
    pushed: float
    driving: Sequence[Any]  # as `Reenactor.extract` takes it


class Stream(Worker):
    """Moves portraits by live frames: `push` a frame, `get` a picture. A thread runs the networks.

    Example::

        with fv2v.Stream(reenactor, source) as stream:
            for frame in camera:  # square crops around a face; with Stream(..., crop=True) as they are
                stream.push(frame)  # never waits
                if picture := stream.get(timeout=0):  # None while there is none
                    show(picture.image)
        print(stream)  # how many frames were pushed, shown and dropped, and how late pictures came

    At most `queue` frames wait for the networks, and at most `queue` pictures for `get`: one more, and the
    oldest is dropped. So a frame that is shown was pushed at most about queue + 1 frame times before its
    picture was ready, however fast frames come; and pictures keep the frames' order. Frames are not copied:
    don't write into one that was pushed.

    Several sources go through the networks in one batch. A frame moves all of them; a list of as many frames
    as there are sources moves each by its own (a call with several speakers).

    Args:
        reenactor: of a preset that pictures drive.
        source: from `encode`: one, of one or several portraits, or a sequence of them.
        options: how the sources follow (`fv2v.reenactor.AnimationOptions`), all but `batch_size`. By default
            the anchor is the first frame that is not dropped; one given has one frame, or one a source.
        crop: follow the driver's face and cut the square around it out of each frame, an (H, W, 3) uint8
            array. Until a face is seen the sources are shown at rest, and the first frame with one is the
            anchor. False: frames are such squares already.
        face: which one, with `crop`, as `fv2v.face.portrait.choose_face` takes it.
        lost: with `crop`, what moves the sources while the face is not seen, as `fv2v.reenact` takes it.
        queue: how many frames may wait. 1 has the least latency; more lets a source stutter.
        on_error: "skip" leaves out a frame that is no picture, and counts it; "raise" ends the stream.
        keywords: the same options one by one, which win. `steady` is True where it is left out and no
            `options` are given: each driver's motion is smoothed by the frames' times; None leaves it as it
            is read.

    Attributes:
        view: the head's pose as the receiver wants it, for all sources or a sequence of one each. Setting it
            counts from the next frame that the networks take.
        edit: what to change of the motion, for all sources or a sequence of one each; None: nothing. Setting
            it counts as `view`'s does.

    Raises:
        ValueError: at once for arguments that do not fit. What is wrong with a frame is raised by the next
            `push`, `get` (after the pictures before it) or `close`; the stream has ended then.
    """

    def __init__(
        self,
        reenactor: Reenactor,
        source: Sources,
        options: AnimationOptions = SMOOTHED,
        *,
        crop: bool = False,
        face: Any = 1,
        lost: str = "hold",
        queue: int = 2,
        on_error: str = "raise",
        **keywords: "Unpack[AnimationKeywords]",
    ) -> None:
        super().__init__("fv2v-stream")
        if queue < 1:
            raise ValueError(f"expected queue >= 1, got {queue}")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"expected on_error, raise or skip; got {on_error!r}")
        if reenactor.config.driven_by == "coefficients":
            raise ValueError(
                f"{reenactor.config.name!r} is driven by 3DMM coefficients, and reads those to come as well: "
                "expected Reenactor.animate"
            )
        sources = joined(source)
        followed = len(sources) if crop else 0
        drivers = LiveDrivers(reenactor.config, choose_face(face, crop), check_lost(lost), followed)
        options = replace(options, **keywords)
        self._animation = LiveAnimation(reenactor.runner, sources, options, drivers)
        self._queue = queue
        self._waiting: deque[_Frame] = deque()
        self._ready: deque[Picture] = deque()
        self._counts = Counts()
        self._skips = on_error == "skip"
        self._told = False  # whether somebody was told the error
        self._start()

    @property
    def view(self) -> View | Sequence[View] | None:
        return self._animation.view

    @view.setter
    def view(self, view: View | Iterable[View] | None) -> None:
        self._animation.view = view

    @property
    def edit(self) -> Edit | Sequence[Edit] | None:
        return self._animation.edit

    @edit.setter
    def edit(self, edit: Edit | Iterable[Edit] | None) -> None:
        self._animation.edit = edit

    @property
    def options(self) -> AnimationOptions:
        """How the sources follow, with what `change` made of it."""
        return self._animation.options

    def change(self, source: Sources | None = None, **keywords: "Unpack[AnimationKeywords]") -> None:
        """Other sources, as many as before, or other options, from the next frame on.

        The driver is followed on: the anchor stays unless another is given, or motion was absolute before.

        Raises:
            ValueError: another number of sources, or options that do not fit; nothing is changed then.
        """
        self._animation.change(source, keywords)

    def anchor(self) -> None:
        """The next frame in which the driver's face is seen becomes the anchor.

        Raises:
            ValueError: motion is absolute, measured against nothing.
        """
        self._animation.anchor()

    def push(self, frame: Any, time: float | None = None) -> int:
        """Hand over a driving frame, of any kind that `encode` takes, and never wait. Returns its number.

        With several sources also a list of frames, one for each.

        Args:
            time: when the frame was taken, in seconds by any clock; `get` returns it with the picture.

        Raises:
            ValueError: the stream is closed, or has ended by an error: then that error.
        """
        driving = frame if isinstance(frame, list | tuple) else [frame]
        with self._changed:
            self._raise_error()
            if self._closed:
                raise ValueError("the stream is closed: it takes no more frames")
            now = monotonic()
            number = self._counts.pushed
            self._waiting.append(_Frame(number, now if time is None else time, now, driving))
            self._counts.pushed += 1
            if len(self._waiting) > self._queue:
                self._waiting.popleft()
                self._counts.dropped += 1
            self._changed.notify_all()
        return number

    def get(self, timeout: float | None = None) -> Picture | None:
        """The next picture, when it is ready.

        Args:
            timeout: seconds to wait; 0 looks, None waits for ever.

        Returns:
            None if there was none in that time, or there will be none: the stream was closed.

        Raises:
            what a frame raised, once the pictures before it are got; not with `on_error="skip"`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended, timeout)
            if self._ready:
                self._counts.shown += 1
                return self._ready.popleft()
            self._raise_error()
            return None

    def __iter__(self) -> Iterator[Picture]:
        """The pictures, until the stream is closed: for a thread that shows while another pushes."""
        while (picture := self.get()) is not None:
            yield picture

    def report(self) -> StreamReport:
        """The counts and latencies so far; `str(stream)` has them in a line."""
        with self._changed:
            return self._counts.report(len(self._ready), self._ended)

    def __str__(self) -> str:
        return str(self.report())

    def close(self) -> None:
        """Drop what waits, let the frame under way be finished, and end. Raises what nobody was told yet."""
        self._stop()
        with self._changed:
            if not self._told:
                self._raise_error()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:  # what is on its way out is not replaced
            self._stop()

    def _raise_error(self) -> None:
        if self._error is not None:
            self._told = True
            raise self._error

    def _work(self) -> None:
        """Until no frame waits; one is under way while the next is begun."""
        before: tuple[_Frame, Begun] | None = None
        while True:
            begun = frame = None
            try:
                if (frame := self._take()) is not None and (made := self._begun(frame)) is not None:
                    begun = frame, made
            finally:
                if before is not None:
                    self._show(*before)
            if frame is None and before is None:
                return
            before = begun
            if begun is not None and not begun[1].pending.under_way:
                self._show(*begun)
                before = None

    def _has_work(self) -> bool:
        return bool(self._waiting)

    def _begun(self, frame: _Frame) -> Begun | None:
        """None for a frame that is no picture, where such frames are left out."""
        try:
            return self._animation.begin(frame.driving, frame.time)
        except (ValueError, TypeError, OSError):  # the networks' own errors are RuntimeErrors
            if not self._skips:
                raise
            self._counts.failed += 1
            return None

    def _take(self) -> _Frame | None:
        with self._changed:
            return self._waiting.popleft() if self._waiting and not self._closed else None

    def _show(self, frame: _Frame, begun: Begun) -> None:
        images, counts = begun.pending.result(), self._counts
        with self._changed:
            latency = monotonic() - frame.pushed
            counts.latencies.append(latency)
            counts.lost += not begun.seen
            self._ready.append(Picture(images, frame.number, frame.time, latency, begun.seen, begun.motion))
            if len(self._ready) > self._queue:
                self._ready.popleft()
                counts.unseen += 1
            self._changed.notify_all()
