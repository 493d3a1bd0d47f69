# SPDX-License-Identifier: Apache-2.0
"""Sources on the move: what comes after a driving frame's motion is read, for files and for streams."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import Tensor

from fv2v.config import ModelConfig
from fv2v.engine.stages import Pending
from fv2v.geometry import Motion, Source, View
from fv2v.geometry.hull import movement_scale
from fv2v.motion.edit import Edit, check_edits
from fv2v.motion.smoothing import SteadyMotion
from fv2v.reenactor.options import AnimationOptions
from fv2v.reenactor.runner import Runner

Option = TypeVar("Option", View, Edit)


class Animation:
    """How sources follow a driver: the options, and what lasts from the first frame on.

    Args:
        runner: the networks.
        source: one portrait, or several that move side by side.
        options: its `view`, `edit` and `batch_size` are the caller's to deal out, frame by frame.

    Attributes:
        anchor: what counts as no change, once it is known; None: motion is absolute, or there was no frame.
        smoother: the filter that `steady` asks for, or None.
        motion: of the frames that were begun last, as it moves the sources: smoothed, before edits; None
            before the first, and of sources at rest.

    Raises:
        ValueError: options that do not fit the preset, or an anchor of another number of frames.
    """

    def __init__(self, runner: Runner, source: Source, options: AnimationOptions) -> None:
        self.source = source
        self.options = options = options.check(runner.config)
        self._runner = runner
        self.smoother = options.smoother()
        self._movement: Tensor | float | None = None
        self.anchor = received_anchor(runner, options, len(source))
        self.motion: Motion | None = None

    def begin(
        self,
        batch: Tensor | Motion,
        view: View | Sequence[View] | None,
        *,
        edits: Sequence[Edit] = (),
        seconds: float | None = None,
    ) -> Pending:
        """The pictures that come next, under way: `result()` is (B, n, n, 3) uint8.

        Args:
            batch: from `Runner.batch`: B frames in a row of one source; for S sources one frame each, B = S,
                or one that moves them all.
            view: one for all pictures, or one each.
            edits: checked; none, one for all pictures, or one each.
            seconds: since the frames before, for the filter that smooths; None: 1 / its frame rate.
        """
        sources = len(self.source)
        if sources > 1 and len(batch) not in (1, sources):
            raise ValueError(
                f"expected a driving frame for all sources, or {sources}, one for each; got {len(batch)}"
            )
        motion = self.follow(batch, seconds)
        movement = self._scale_of_movement()
        frames = self.options.frame_inputs(self.source, motion, self.anchor, view, movement)
        return self._runner.begin(frames, edits)

    def follow(self, batch: Tensor | Motion, seconds: float | None = None) -> Motion:
        """The motion of frames as `begin` takes them: where it ends the frames after them go on."""
        motion = self._motion(batch)
        if self.smoother is not None:
            motion = self._smoothed(self.smoother, motion, seconds)
        self.motion = motion
        if self.options.relative and self.anchor is None:
            self.anchor = motion[: len(self.source)]
        return motion

    def rest(self, view: View | Sequence[View] | None) -> Pending:
        """The sources unmoved, S pictures as `begin` makes them: while there is no driver."""
        self.motion = None
        own = self.source.motion
        anchor = own if self.options.relative else None
        frames = self.options.frame_inputs(self.source, own, anchor, view)
        return self._runner.begin(frames, ())

    def anchor_next(self) -> None:
        """The frames that are begun next become the anchor, where motion is relative."""
        self.anchor = self._movement = None

    def continue_from(self, before: "Animation") -> None:
        """Follow its driver on: with its anchor and filter, where the options ask for the same ones."""
        if self.options.relative and self.options.anchor is before.options.anchor:
            self.anchor = before.anchor
        if self.options.steady == before.options.steady:
            self.smoother = before.smoother

    def _scale_of_movement(self) -> Tensor | float:
        """The factor of `adapt_scale`, once the anchor is known; it stays."""
        if self._movement is None:
            anchor = self.anchor if self.options.adapt_scale else None
            self._movement = 1.0 if anchor is None else movement_scale(self.source, anchor)
        return self._movement

    def _smoothed(self, steady: SteadyMotion, motion: Motion, seconds: float | None) -> Motion:
        return steady.run(motion, seconds) if len(self.source) == 1 else steady.step(motion, seconds)

    def _motion(self, batch: Tensor | Motion) -> Motion:
        """Of B frames; of S sources, S."""
        motion = self._runner.extract(batch)
        sources = len(self.source)
        return motion if sources == 1 else Motion.cat([motion] * (sources // len(motion)))


class Moving(Protocol):
    """`Animation`, or what moves the frames of a film."""

    options: AnimationOptions

    def begin(self, batch: Any, view: View | Sequence[View] | None, *, edits: Sequence[Edit]) -> Pending:
        """The pictures that come next, under way."""

    def follow(self, batch: Any) -> object:
        """Takes frames in whose pictures are there already."""


def received_anchor(runner: Runner, options: AnimationOptions, sources: int = 1) -> Motion | None:
    """The anchor that the options name, on the networks' device; None where they name none.

    ValueError for anything but the motion of one frame, or of one for each source.
    """
    if options.anchor is None:
        return None
    if not isinstance(options.anchor, Motion):
        raise ValueError(
            f"expected a Motion for the anchor, from Reenactor.extract, got {options.anchor!r}; "
            "fv2v.reenact and fv2v.render take a frame's number, seconds, 'best' or a file, too"
        )
    anchor = runner.received(options.anchor, "anchor")
    if len(anchor) not in (1, sources):
        each = "" if sources == 1 else f", or one for each of {sources} sources"
        raise ValueError(f"expected an anchor of one frame{each}, got {len(anchor)}")
    return anchor


def pictures(
    config: ModelConfig,
    animation: "Moving",
    frames: Iterator[Any],
    as_batch: Callable[[list[Any]], Any],
    made: Iterator[np.ndarray],
) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8, one a frame; on a GPU the next frames are begun before those under way come out.

    Args:
        config: the preset's.
        animation: whose options say the views and edits to deal out, and how many frames go together.
        frames: what `as_batch` makes one value of B.
        made: pictures that are there already, in place of the first ones.
    """
    # inference mode is entered inside the calls below, never across a yield: it would leak to the caller
    options, done = animation.options, 0
    views, edits = one_or_iterator(options.view), one_or_iterator(options.edit)
    before: Pending | None = None  # under way while the next frames are read and begun
    try:
        while driving := list(islice(frames, options.batch_size)):
            batch = as_batch(driving)
            view = next_options(views, View, len(batch), done)
            edit = next_options(edits, Edit, len(batch), done)
            done += len(batch)
            if len(ready := list(islice(made, len(batch)))) == len(batch):
                animation.follow(batch)
                yield from ready
                continue
            begun = animation.begin(batch, view, edits=check_edits(edit, len(batch), config))
            if before is not None:
                yield from before.result()
            before = begun if begun.under_way else None
            if before is None:
                yield from begun.result()
    except Exception:  # comes after the pictures before it
        if before is not None:
            yield from before.result()
        raise
    if before is not None:
        yield from before.result()


def one_or_iterator(option: Option | Iterable[Option] | None) -> Option | Iterator[Option] | None:
    """An option as it is dealt out: the one for all frames, or an iterator of one a frame."""
    return iter(option) if isinstance(option, Iterable) else option


def next_options(
    options: Option | Iterator[Option] | None, kind: type[Option], frames: int, done: int
) -> Option | list[Option] | None:
    """The one option for all frames, or those of the next ones; ValueError if they end before the frames."""
    if not isinstance(options, Iterator):
        return options
    taken = list(islice(options, frames))
    if len(taken) < frames:
        name = kind.__name__.lower()
        article = "an" if name[0] in "aeiou" else "a"
        raise ValueError(
            f"expected {article} {name} for each frame, but the {name}s ended after {done + len(taken)}; "
            f"give one {kind.__name__} for all frames, or as many as there are"
        )
    return taken
