"""What a model makes of pairs of frames, as pictures, and where they and numbers go: TensorBoard."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.tensorboard import SummaryWriter

from fv2v.data.pairs import Pairs
from fv2v.geometry import Placement, Source, View, place
from fv2v.networks import FaceVid2Vid
from fv2v.tensors import to_images, to_levels

VIEWS = (View(yaw=-25), View(yaw=25))
BACKGROUND = 0.15  # grey


class Board:
    """TensorBoard's files in a run's folder, from `step` on; what a killed run wrote later goes."""

    def __init__(self, folder: Path, step: int) -> None:
        self.writer = SummaryWriter(str(folder), purge_step=step)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, levels: Tensor) -> None:
        """levels (H, W, 3) uint8."""
        self.writer.add_image(name, levels, step, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


@torch.no_grad()
def sheet(model: FaceVid2Vid, pairs: Pairs, size: int, views: Sequence[View] = VIEWS) -> Tensor:
    """A row a pair: source, driving, output, strongest mask, occlusion, and the source seen from `views`.

    Args:
        model: in `eval()`.
        pairs: B of them, as `Pairs.to` leaves them.
        size: pixels on a side of what the networks see.

    Returns:
        (B n, (5 + views) n, 3) uint8, with pictures of n pixels.
    """
    geometry = model.config.geometry
    source = model.encode(to_images(pairs.source, size))
    motion = model.extract(to_images(pairs.driving, size))
    placement = place(source, motion, geometry=geometry)
    mask, occlusion = masks(model, source, placement)
    turned = [place(source, source.motion, view=view, geometry=geometry) for view in views]
    shown = (
        pairs.source,
        pairs.driving,
        model.render(source, placement),
        strongest(mask),
        occlusion.expand(-1, 3, -1, -1),
        *(model.render(source, each) for each in turned),
    )
    n = shown[2].shape[-1]
    columns = [interpolate(each.float(), (n, n), mode="nearest") for each in shown]
    rows = torch.cat(columns, dim=3)  # (B, 3, n, (5 + views) n)
    return torch.cat(list(to_levels(rows)))


def masks(model: FaceVid2Vid, source: Source, placement: Placement) -> tuple[Tensor, Tensor]:
    """What M says of a placement: the K+1 masks (B, K+1, D, H, W), which sum to 1, and o (B, 1, H, W)."""
    kp_source = source.keypoints.expand_as(placement.kp_driving)
    field = model.dense_motion(source.compressed, kp_source, *placement)
    return field.mask_logits.softmax(dim=1), field.occlusion


def strongest(mask: Tensor) -> Tensor:
    """(B, K+1, D, H, W) -> (B, 3, H, W): which flow counts most, all depths together, and how much.

    Each keypoint has a hue; the more it counts, the brighter. Where the background counts most it is grey.
    """
    weight, index = mask.float().mean(dim=2).max(dim=1)  # (B, H, W) each
    hues = torch.arange(mask.shape[1] - 1, device=mask.device) / (mask.shape[1] - 1)
    thirds = torch.tensor([0.0, 1 / 3, 2 / 3], device=mask.device)
    colours = 0.5 + 0.5 * torch.cos(2 * math.pi * (hues[:, None] - thirds))  # (K, 3)
    colours = torch.cat([torch.full_like(colours[:1], BACKGROUND), colours])
    seen = colours[index]  # (B, H, W, 3)
    bright = torch.where(index > 0, weight, 1.0).unsqueeze(-1)
    return (seen * bright).permute(0, 3, 1, 2)
