# SPDX-License-Identifier: Apache-2.0
"""A portrait moved by a camera, without a page: what `fv2v live` runs."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import cycle
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from fv2v.geometry import View
from fv2v.geometry.view import LARGEST_ANGLE
from fv2v.io.paths import PathLike
from fv2v.live.camera import camera_frames
from fv2v.live.recorder import Recorder
from fv2v.live.screen import Screen, VirtualCamera, Window, no_window
from fv2v.live.session import Session, SessionReport
from fv2v.pipelines.model import ModelChoice

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fv2v.reenactor.options import AnimationKeywords

TURN = 5.0  # degrees a key
TURNS = {  # keys that turn the head: by how much pitch, yaw and roll
    "j": (0.0, -TURN, 0.0),
    "l": (0.0, TURN, 0.0),
    "i": (-TURN, 0.0, 0.0),
    "k": (TURN, 0.0, 0.0),
    "u": (0.0, 0.0, -TURN),
    "o": (0.0, 0.0, TURN),
}
KEYS = "a re-anchor, j l i k u o turn, 0 straight, n next portrait, q end"
ENDS = ("q", "\x1b")
WAIT = 0.05  # seconds for a picture, between two looks at the keyboard


def play(
    portraits: Sequence[PathLike],
    camera: str,
    model: ModelChoice,
    *,
    output: PathLike | None = None,
    virtual: bool = False,
    seconds: float | None = None,
    crop: bool = True,
    face: Any = 1,
    driving_face: Any = 1,
    mirror: bool = False,
    tell: Callable[[str], None] = lambda line: None,
    **animation: "Unpack[AnimationKeywords]",
) -> SessionReport:
    """Show a portrait as a camera moves it, until the film ends, a key ends it, or somebody interrupts.

    Args:
        portraits: pictures with a face; the first is shown, a key shows the next.
        camera: a camera's number, or a film.
        model: which one.
        output: a film of what is shown; as `fv2v.write_video` takes it.
        virtual: show it as a virtual camera as well.
        seconds: end after so many; None: never.
        crop, face, driving_face, mirror: as `Session` takes them.
        tell: called with lines for the user.
        animation: how the portrait follows, as `Session` takes it.

    Raises:
        FileNotFoundError: a file or a folder is absent.
        ValueError: what cannot be used, or no place to show pictures in; one line.
    """
    if not portraits:
        raise ValueError("expected at least one portrait, got none")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"expected more than 0 seconds, got {seconds}")
    model.check()
    with ExitStack() as open_ones:
        window = None if no_window() else open_ones.enter_context(closing(Window()))
        screens: list[Screen] = [] if window is None else [window]
        if virtual:
            screens.append(open_ones.enter_context(closing(VirtualCamera())))
        if output is not None:
            screens.append(open_ones.enter_context(closing(Recorder(output))))
        if not screens:
            raise ValueError(
                f"no window can be shown: {no_window()}; write a film with -o, or give --virtual"
            )
        tell(f"keys: {KEYS}" if window else f"no window is shown: {no_window()}")
        session = Session(
            model.load(),
            portraits[0],
            crop=crop,
            face=face,
            driving_face=driving_face,
            mirror=mirror,
            **animation,
        )
        with session:
            _run(_Pusher(session, camera), screens, window, portraits, seconds, tell)
            return session.report()


class _Pusher(threading.Thread):
    """Hands a camera's frames to a session; `error` is what went wrong there."""

    def __init__(self, session: Session, camera: str) -> None:
        super().__init__(name="fv2v-camera", daemon=True)
        self.session, self._camera = session, camera
        self.stop = threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            for frame, taken in camera_frames(self._camera, self.stop):
                self.session.push(frame, taken)
        except Exception as error:  # raised again where pictures are shown
            self.error = error


def _run(
    pusher: _Pusher,
    screens: Sequence[Screen],
    window: Window | None,
    portraits: Sequence[PathLike],
    seconds: float | None,
    tell: Callable[[str], None],
) -> None:
    session, others = pusher.session, cycle([*portraits[1:], portraits[0]])
    end = inf if seconds is None else monotonic() + seconds
    pusher.start()
    try:
        while monotonic() < end:
            on = pusher.is_alive()
            picture = session.get(timeout=WAIT)
            if picture is not None:
                for screen in screens:
                    screen.show(picture.image)
            elif not on and _is_done(session.report()):
                break
            key = "" if window is None else window.key()
            if key in ENDS:
                break
            try:
                press(session, key, others)
            except (ValueError, OSError) as error:  # a portrait without a face, say: the one before stays
                tell(str(error))
    finally:
        pusher.stop.set()
        pusher.join()
    if pusher.error is not None:
        raise pusher.error


def _is_done(report: SessionReport) -> bool:
    """Whether nothing is under way."""
    return report.pushed == report.shown + report.dropped + report.unseen + report.failed


def press(session: Session, key: str, portraits: Iterator[PathLike]) -> None:
    """What a key does; others do nothing. `portraits` are those that come next."""
    if key == "a" and session.options.relative:
        session.anchor()
    elif key == "n":
        session.portrait = next(portraits)
    elif key == "0":
        session.view = None
    elif key in TURNS:
        view = session.view if isinstance(session.view, View) else View()
        pitch, yaw, roll = (
            min(max((angle or 0.0) + by, -LARGEST_ANGLE), LARGEST_ANGLE)
            for angle, by in zip(view.angles, TURNS[key], strict=True)
        )
        session.view = replace(view, pitch=pitch, yaw=yaw, roll=roll)
