# SPDX-License-Identifier: Apache-2.0
"""A film on the move: each of its frames is a source of its own.

LivePortrait smooths what the frames are given (geometry/transfer.py, motion/kalman.py); elsewhere each is
moved as a portrait is. A few frames wait for those after them, and are let go as they come out.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fv2v.batch import Batched
from fv2v.devices import no_autocast
from fv2v.engine.stages import Pending
from fv2v.geometry import Motion, Source, View
from fv2v.geometry.hull import movement_scale
from fv2v.geometry.transfer import TRANSFERS
from fv2v.motion.edit import Edit
from fv2v.motion.kalman import smoothed
from fv2v.reenactor.animation import received_anchor
from fv2v.reenactor.options import AnimationOptions
from fv2v.reenactor.runner import Runner


@dataclass(frozen=True, slots=True)
class FilmFrames(Batched):
    """B frames of a film, and what moves each."""

    source: Source
    motion: Motion
    anchor: Motion | None  # None: absolute


class FilmAnimation:
    """How the frames of a film follow a driver.

    Args:
        runner: the networks.
        options: its `view`, `edit` and `batch_size` are the caller's to deal out, frame by frame.

    Raises:
        ValueError: options that do not fit the preset.
    """

    def __init__(self, runner: Runner, options: AnimationOptions) -> None:
        self.options = options = options.check(runner.config)
        self._runner = runner
        self._steady = options.smoother()
        self._anchor = received_anchor(runner, options)
        self._rule = TRANSFERS[runner.config.geometry.transfer].film
        self._movement: Tensor | float | None = None

    def frames(self, pairs: Iterable[tuple[Source, Any]]) -> Iterator[FilmFrames]:
        """One after the other, from each frame's source and what drives it; None leaves it at rest."""
        rule = self._rule
        if rule is None:
            yield from self._moved(pairs)
            return
        waiting: deque[Source] = deque()

        def unsmoothed() -> Iterator[Motion]:
            for frame in self._moved(pairs):
                waiting.append(frame.source)
                with no_autocast(frame.motion.rotation):
                    motion = rule.move(frame.source.motion, frame.motion, frame.anchor)
                yield motion

        for motion in smoothed(unsmoothed()):
            source = waiting.popleft()
            kept = rule.keep(source.motion, motion)
            # measured against its own, a relative motion is taken as it is
            yield FilmFrames(source, kept, source.motion if self.options.relative else None)

    def batch(self, frames: Sequence[FilmFrames]) -> FilmFrames:
        """B of them as one value."""
        return frames[0] if len(frames) == 1 else FilmFrames.cat(frames)

    def begin(
        self, frames: FilmFrames, view: View | Sequence[View] | None, *, edits: Sequence[Edit] = ()
    ) -> Pending:
        """Their pictures, under way, as `Animation.begin` makes them of one source's."""
        movement = self.follow(frames)
        inputs = self.options.frame_inputs(frames.source, frames.motion, frames.anchor, view, movement)
        return self._runner.begin(inputs, edits)

    def follow(self, frames: FilmFrames) -> Tensor | float:
        """The factor of `adapt_scale`, which is that of the first frame."""
        if self._movement is None:
            source, anchor = frames.source, frames.anchor
            scales = self.options.adapt_scale
            self._movement = movement_scale(source[:1], anchor[:1]) if scales and anchor is not None else 1.0
        return self._movement

    def _moved(self, pairs: Iterable[tuple[Source, Any]]) -> Iterator[FilmFrames]:
        """Each with the driver's own motion, and what that is measured against."""
        relative = self.options.relative
        for source, frame in pairs:
            if len(source) != 1:
                raise ValueError(f"expected one source for each frame of a film, got {len(source)}")
            if frame is None:
                yield FilmFrames(source, source.motion, source.motion if relative else None)
                continue
            if isinstance(frame, Motion):
                motion = self._runner.received(frame, "frames")
            else:
                motion = self._runner.extract(self._runner.batch([frame]))
            if self._steady is not None:
                motion = self._steady.step(motion)
            if relative and self._anchor is None:
                self._anchor = motion
            yield FilmFrames(source, motion, self._anchor)
