"""Sources on the move: what comes after a driving frame's motion is read, for files and for streams."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from fv2v.engine.cuda_graph import Pending
from fv2v.geometry import Motion, Source, View
from fv2v.geometry.hull import movement_scale
from fv2v.io.tensors import to_uint8
from fv2v.motion.edit import Edit
from fv2v.motion.smoothing import SteadyMotion

if TYPE_CHECKING:  # it imports this
    from fv2v.reenactor import Reenactor

Wish = TypeVar("Wish", View, Edit)


class Animation:
    """How sources follow a driver: options, looked at once, and what lasts from the first frame on.

    Arguments and errors as `Reenactor.animate`; the anchor has one frame, or one for each source.
    """

    def __init__(
        self,
        reenactor: "Reenactor",
        source: Source,
        *,
        relative: bool | None,
        anchor: Motion | None,
        adapt_scale: bool,
        stitch: bool,
        steady: SteadyMotion | None = None,
    ) -> None:
        geometry, name = reenactor.config.geometry, reenactor.config.name
        relative = geometry.relative if relative is None else relative
        if anchor is not None:
            if not relative:
                raise ValueError("an anchor needs relative=True: absolute motion is measured against nothing")
            anchor = reenactor._given(anchor, "anchor")
            if len(anchor) not in (1, len(source)):
                each = "" if len(source) == 1 else f", or one for each of {len(source)} sources"
                raise ValueError(f"expected an anchor of one frame{each}, got {len(anchor)}")
        if adapt_scale and not (relative and geometry.transfer == "keypoint"):
            raise ValueError(
                "adapt_scale needs relative motion and a preset with `keypoint` transfer; "
                f"got relative={relative}, {name!r} with {geometry.transfer!r}"
            )
        self.source = source
        self._reenactor = reenactor
        self._relative, self._anchor = relative, anchor
        self._adapt_scale, self._stitch = adapt_scale, stitch
        self._steady = steady
        self._movement: Tensor | float | None = None

    def begin(
        self,
        seen: Tensor | Motion,
        view: View | Sequence[View] | None,
        *,
        edits: Sequence[Edit] = (),
        seconds: float | None = None,
    ) -> Pending:
        """The pictures that come next, under way: `result()` is (B, n, n, 3) uint8.

        Args:
            seen: as `Reenactor` prepares what drives: B frames in a row of one source; for S sources one
                frame each, B = S, or one that moves them all. Or their motion.
            view: one for all pictures, or one each.
            edits: looked at; none, one for all pictures, or one each, of one source. Edited frames run as
                they are, also where others are a graph.
            seconds: since the frames before, for what makes motion steady; None: as many as it says.
        """
        reenactor, sources = self._reenactor, len(self.source)
        if sources > 1 and len(seen) not in (1, sources):
            raise ValueError(
                f"expected a driving frame for all sources, or {sources}, one for each; got {len(seen)}"
            )
        motion = None if self._steady is None else self._steadied(self._steady, seen, seconds)
        if self._relative and self._anchor is None:
            motion = self._motion(seen) if motion is None else motion
            self._anchor = motion[:sources]
        if self._movement is None:
            anchor = self._anchor if self._adapt_scale else None
            self._movement = 1.0 if anchor is None else movement_scale(self.source, anchor)
        replayed = self._steady is not None or isinstance(seen, Motion)
        if reenactor._path is not None and isinstance(seen, Tensor) and not replayed and not edits:
            frames = seen.expand(sources, *seen.shape[1:]) if len(seen) < sources else seen
            pending = reenactor._path.begin(
                frames, self.source, self._anchor, self._movement, view, self._stitch
            )
            if pending is not None:
                return pending
        motion = self._motion(seen) if motion is None else motion
        show = reenactor._replay if replayed else reenactor._render
        images = show(self.source, motion, self._anchor, view, self._movement, self._stitch, edits)
        return Pending(to_uint8(images).cpu())

    def _steadied(self, steady: SteadyMotion, seen: Tensor | Motion, seconds: float | None) -> Motion:
        motion = self._motion(seen)
        return steady.run(motion, seconds) if len(self.source) == 1 else steady.step(motion, seconds)

    def _motion(self, seen: Tensor | Motion) -> Motion:
        """Of B frames; of S sources, S."""
        motion = self._reenactor._extract(seen)
        return joined([motion] * (len(self.source) // len(motion))) if len(self.source) > 1 else motion


def joined(parts: Sequence[Any]) -> Any:
    """Sources, or motions, one after the other in one batch."""
    first = parts[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    return type(first)(*(joined([getattr(part, f.name) for part in parts]) for f in fields(first)))


def check_wish(wish: Wish | Iterable[Wish] | None, kind: type[Wish]) -> Wish | Iterator[Wish] | None:
    """One for all frames, or an iterator of one a frame; a mistake is told before a frame is read."""
    if wish is None or isinstance(wish, kind):
        return wish
    if not isinstance(wish, Iterable):
        raise ValueError(f"expected {_one(kind.__name__)}, or an iterable of them, got {wish!r}")
    return iter(wish)


def next_wishes(
    wishes: Wish | Iterator[Wish] | None, kind: type[Wish], frames: int, done: int
) -> Wish | list[Wish] | None:
    """What is wished of the next frames; ValueError if it ends before they do."""
    if not isinstance(wishes, Iterator):
        return wishes
    taken = list(islice(wishes, frames))
    if len(taken) < frames:
        name = kind.__name__.lower()
        raise ValueError(
            f"expected {_one(name)} for each frame, but the {name}s ended after {done + len(taken)}; "
            f"give one {kind.__name__} for all frames, or as many as there are"
        )
    return taken


def _one(name: str) -> str:
    return f"an {name}" if name[0] in "Ee" else f"a {name}"
