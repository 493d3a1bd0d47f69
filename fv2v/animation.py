"""Sources on the move: what comes after a driving frame's motion is read, for files and for streams."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fv2v.geometry import Motion, Source, View
from fv2v.hull import movement_scale
from fv2v.tensors import to_uint8

if TYPE_CHECKING:  # it imports this
    from fv2v.reenactor import Reenactor


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
        self._movement: Tensor | float | None = None

    def follow(self, motion: Motion, view: View | Sequence[View] | None) -> np.ndarray:
        """The pictures that come next, (B, n, n, 3) uint8.

        Args:
            motion: B frames in a row of one source; of B sources one frame each, or one that moves them all.
            view: one for all pictures, or B.
        """
        sources = len(self.source)
        if sources > 1:
            if len(motion) not in (1, sources):
                raise ValueError(
                    f"expected a driving frame for all sources, or {sources}, one for each; got {len(motion)}"
                )
            motion = joined([motion] * (sources // len(motion)))
        if self._relative and self._anchor is None:
            self._anchor = motion[:sources]
        if self._movement is None:
            anchor = self._anchor if self._adapt_scale else None
            self._movement = 1.0 if anchor is None else movement_scale(self.source, anchor)
        return to_uint8(
            self._reenactor._render(self.source, motion, self._anchor, view, self._movement, self._stitch)
        )


def joined(parts: Sequence[Any]) -> Any:
    """Sources, or motions, one after the other in one batch."""
    first = parts[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    return type(first)(*(joined([getattr(part, f.name) for part in parts]) for f in fields(first)))


def check_view(view: Any) -> None:
    """A mistake is told before a frame is read."""
    if not isinstance(view, View | Iterable | None):
        raise ValueError(f"expected a View, or an iterable of them, got {view!r}")
