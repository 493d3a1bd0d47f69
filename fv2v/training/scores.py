# SPDX-License-Identifier: Apache-2.0
"""Scores of a model while it learns: how near it comes to pictures of people that it does not learn from."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from fv2v.io.tensors import to_images
from fv2v.metrics.clips import Clips
from fv2v.metrics.held_out import HeldOut
from fv2v.metrics.pictures import l1, psnr
from fv2v.metrics.protocols import Scene
from fv2v.networks import FaceVid2Vid

SCENES, FRAMES = 8, 4  # people, and pictures of each: the first is the source, the others drive
SEED = 1  # of drawn heads; 0 is for numbers to publish


class HeldOutPeople:
    """What a run is scored by; its pictures are kept from the first time on.

    Args:
        folder: of clips; None: drawn heads where the run learns from such, else nobody.
        drawn: whether it does.
        size: side of the pictures, in pixels.

    Raises:
        FileNotFoundError, ValueError: as `Clips`.
    """

    def __init__(self, folder: Path | None, drawn: bool, size: int) -> None:
        self._scenes: Iterable[Scene] = ()
        if folder is not None:
            self._scenes = Clips(folder, size, FRAMES, SCENES)
        elif drawn:
            self._scenes = HeldOut(size=size, identities=SCENES, frames=FRAMES, seed=SEED, pairs=0)

    @cached_property
    def people(self) -> list[Tensor]:
        """(T, 3, n, n) each, in [0, 1]."""
        return [scene.frames for scene in self._scenes]

    @torch.no_grad()
    def scores(self, model: FaceVid2Vid, size: int) -> dict[str, float]:
        """Means over all driven pictures, each person driving itself; {} without anybody.

        `l1` of 255; `l1_ratio`, to the L1 of the source unchanged; `psnr` in dB.

        Args:
            model: in `eval()`.
            size: side of the networks' input pictures, in pixels.
        """
        device = next(model.parameters()).device
        sums, pictures = dict.fromkeys(("l1", "psnr", "still"), 0.0), 0
        for frames in self.people:
            source, driving = frames[:1].to(device), frames[1:].to(device)
            source = source.expand_as(driving)
            output = model(to_images(source, size), to_images(driving, size)).float()
            sums["l1"] += float(l1(output, driving).sum())
            sums["psnr"] += float(psnr(output, driving).sum())
            sums["still"] += float(l1(source, driving).sum())
            pictures += len(driving)
        if not pictures:
            return {}
        ratio = {"l1_ratio": sums["l1"] / sums["still"]} if sums["still"] else {}
        return {"l1": sums["l1"] / pictures, "psnr": sums["psnr"] / pictures} | ratio
