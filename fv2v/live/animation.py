# SPDX-License-Identifier: Apache-2.0
"""What a stream does with one frame: the face is followed, its motion read, the sources moved by it."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from fv2v.engine.stages import Pending
from fv2v.geometry import Motion, Source, View
from fv2v.live.driver import LiveDrivers
from fv2v.motion.edit import Edit, check_edits
from fv2v.reenactor import Runner
from fv2v.reenactor.animation import Animation
from fv2v.reenactor.options import AnimationOptions

if TYPE_CHECKING:
    from fv2v.reenactor.options import AnimationKeywords

Sources = Source | Sequence[Source]


class Begun(NamedTuple):
    """A frame whose pictures are under way."""

    pending: Pending
    seen: bool  # whether each driver's face was seen
    motion: Motion | None  # what moves the sources, before edits; None: they rest


class LiveAnimation:
    """Sources that follow live drivers. One thread calls `begin`; all else may change in any other.

    Args:
        runner: the networks.
        sources: one, or several that move side by side.
        options: how they follow, all but `batch_size`.
        drivers: what cuts the faces out of frames.

    Raises:
        ValueError: options that do not fit.
    """

    def __init__(
        self, runner: Runner, sources: Source, options: AnimationOptions, drivers: LiveDrivers
    ) -> None:
        self._runner, self._drivers = runner, drivers
        self._animation = self._animated(sources, options)
        self._next: Animation | None = None  # what takes its place at the next frame
        self._anchors = False  # whether the next frame with a face becomes the anchor
        self._last: float | None = None  # when the frame was taken that the networks got last
        self._guard = threading.Lock()
        self.view, self.edit = options.view, options.edit

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

    @property
    def options(self) -> AnimationOptions:
        """How the sources follow, from the next frame on; `view` and `edit` have what they say of theirs."""
        return (self._next or self._animation).options

    def change(self, sources: Sources | None, keywords: "AnimationKeywords") -> None:
        """As `Stream.change`."""
        view, edit = keywords.get("view", self._view), keywords.get("edit", self._edit)
        with self._guard:
            latest = self._next or self._animation
            options = replace(latest.options, **keywords)
            chosen = latest.source if sources is None else joined(sources)
            if len(chosen) != len(latest.source):
                raise ValueError(f"expected {len(latest.source)} sources, as before, got {len(chosen)}")
            changed = self._animated(chosen, options)
            self.view, self.edit = view, edit
            self._next = changed

    def anchor(self) -> None:
        """As `Stream.anchor`."""
        if not self.options.relative:
            raise ValueError("an anchor needs relative=True: absolute motion is measured against nothing")
        self._anchors = True

    def begin(self, frames: Sequence[Any], time: float) -> Begun:
        """The pictures that frames taken at a time move, under way.

        Args:
            frames: a driving frame for all sources, or one each.
            time: in seconds by any clock.
        """
        with self._guard:
            if self._next is not None:
                self._next.continue_from(self._animation)
                self._animation, self._next = self._next, None
        animation, sources = self._animation, len(self._animation.source)
        driving, seen = self._drivers.crops(frames)
        if driving is None:
            return Begun(animation.rest(self._view), seen, None)
        if seen and self._anchors:
            self._anchors = False
            animation.anchor_next()
        batch = self._runner.batch(driving)
        if sources == 1 and len(batch) != 1:
            raise ValueError(f"expected one frame at a time, got {len(batch)}")
        seconds = None if self._last is None else time - self._last
        self._last = time
        pending = animation.begin(batch, self._view, edits=self._edits, seconds=seconds)
        return Begun(pending, seen, animation.motion)

    def _animated(self, sources: Source, options: AnimationOptions) -> Animation:
        if options.batch_size != 1:
            raise ValueError("a stream takes no batch_size; expected Reenactor.animate for that")
        return Animation(self._runner, sources, options)


def joined(sources: Sources) -> Source:
    """One source of all portraits; ValueError for none."""
    if isinstance(sources, Source):
        return sources
    if not sources:
        raise ValueError("expected at least one source, got none")
    return Source.cat(sources)
