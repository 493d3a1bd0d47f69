# SPDX-License-Identifier: Apache-2.0
"""Live use: frames at their own pace, pictures as fast as the networks make them; what is late is dropped."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fv2v.engine.stages import Pending
from fv2v.face.lost import check_lost
from fv2v.face.portrait import choose_face
from fv2v.geometry import Source, View
from fv2v.io.prefetch import Worker
from fv2v.live.driver import LiveDrivers
from fv2v.live.report import Picture, StreamReport
from fv2v.motion.edit import Edit, check_edits
from fv2v.reenactor import Reenactor
from fv2v.reenactor.animation import Animation
from fv2v.reenactor.options import AnimationOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fv2v.reenactor.options import AnimationKeywords

SMOOTHED = AnimationOptions(steady=True)
WINDOW = 1000  # latencies kept for the percentiles: those of the latest pictures


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
        source: Source | Sequence[Source],
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
        if not isinstance(source, Source) and not source:
            raise ValueError("expected at least one source, got none")
        sources = source if isinstance(source, Source) else Source.cat(source)
        options = replace(options, **keywords)
        if options.batch_size != 1:
            raise ValueError("a stream takes no batch_size; expected Reenactor.animate for that")
        self._runner, self._queue = reenactor.runner, queue
        self._animation = Animation(self._runner, sources, options)
        followed = len(sources) if crop else 0
        self._drivers = LiveDrivers(reenactor.config, choose_face(face, crop), check_lost(lost), followed)
        self._lost = 0  # pictures of frames in which a driver's face was not seen
        self._blind: set[int] = set()  # such frames that are under way
        self._last: float | None = None  # when the frame was taken that the networks got last
        self.view, self.edit = options.view, options.edit
        self._waiting: deque[_Frame] = deque()
        self._ready: deque[Picture] = deque()
        self._latencies: deque[float] = deque(maxlen=WINDOW)
        self._pushed = self._shown = self._dropped = self._unseen = self._failed = 0
        self._skips = on_error == "skip"
        self._told = False  # whether somebody was told the error
        self._start()

    @property
    def view(self) -> View | Sequence[View] | None:
        return self._view

    @view.setter
    def view(self, view: View | Iterable[View] | None) -> None:
        sources = len(self._animation.source)
        if view is not None and not isinstance(view, View):
            view = list(view)
            if len(view) != sources or not all(isinstance(each, View) for each in view):
                raise ValueError(f"expected a View, or one for each of {sources} sources, got {view!r}")
        self._view = view

    @property
    def edit(self) -> Edit | Sequence[Edit] | None:
        return self._edit

    @edit.setter
    def edit(self, edit: Edit | Iterable[Edit] | None) -> None:
        if edit is not None and not isinstance(edit, Edit):
            edit = list(edit)
        self._edits = check_edits(edit, len(self._animation.source), self._runner.config)
        self._edit = edit

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
            number = self._pushed
            self._waiting.append(_Frame(number, now if time is None else time, now, driving))
            self._pushed += 1
            if len(self._waiting) > self._queue:
                self._waiting.popleft()
                self._dropped += 1
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
                self._shown += 1
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
            made = self._shown + self._unseen + len(self._ready)
            dropped = self._pushed - made - self._failed if self._ended else self._dropped
            counts = (self._pushed, self._shown, dropped, self._unseen, self._failed)
            latencies = list(self._latencies) or [np.nan]
            lost = self._lost
        p50, p95, p99, longest = (float(each) for each in np.percentile(latencies, (50, 95, 99, 100)))
        return StreamReport(*counts, p50, p95, p99, longest, lost)

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
        before: tuple[_Frame, Pending] | None = None
        while True:
            begun = frame = None
            try:
                if (frame := self._take()) is not None and (pending := self._begun(frame)) is not None:
                    begun = frame, pending
            finally:
                if before is not None:
                    self._show(*before)
            if frame is None and before is None:
                return
            before = begun
            if begun is not None and not begun[1].under_way:
                self._show(*begun)
                before = None

    def _has_work(self) -> bool:
        return bool(self._waiting)

    def _begun(self, frame: _Frame) -> Pending | None:
        """None for a frame that is no picture, where such frames are left out."""
        try:
            return self._begin(frame)
        except (ValueError, TypeError, OSError):  # the networks' own errors are RuntimeErrors
            if not self._skips:
                raise
            self._failed += 1
            return None

    def _take(self) -> _Frame | None:
        with self._changed:
            return self._waiting.popleft() if self._waiting and not self._closed else None

    def _begin(self, frame: _Frame) -> Pending:
        sources = len(self._animation.source)
        driving, seen = self._drivers.crops(frame.driving)
        if not seen:
            self._blind.add(frame.number)
        if driving is None:
            return self._animation.rest(self._view)
        batch = self._runner.batch(driving)
        if sources == 1 and len(batch) != 1:
            raise ValueError(f"expected one frame at a time, got {len(batch)}")
        seconds = None if self._last is None else frame.time - self._last
        self._last = frame.time
        return self._animation.begin(batch, self._view, edits=self._edits, seconds=seconds)

    def _show(self, frame: _Frame, pending: Pending) -> None:
        images = pending.result()
        with self._changed:
            seen = frame.number not in self._blind
            self._blind.discard(frame.number)
            latency = monotonic() - frame.pushed
            self._latencies.append(latency)
            self._lost += not seen
            self._ready.append(Picture(images, frame.number, frame.time, latency, seen))
            if len(self._ready) > self._queue:
                self._ready.popleft()
                self._unseen += 1
            self._changed.notify_all()
