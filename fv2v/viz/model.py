# SPDX-License-Identifier: Apache-2.0
"""A model's intermediate results as pictures: keypoints, masks, deformation, occlusion.

A keypoint and its mask have the same hue. A keypoint's number is its index in expressions.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fv2v.geometry import Motion, Placement, Source, View, keypoints_of
from fv2v.geometry.view import AHEAD
from fv2v.io.tensors import to_uint8
from fv2v.networks import FaceVid2Vid
from fv2v.networks.dense_motion import MotionField
from fv2v.viz.sheet import Cell, enlarged
from fv2v_kernels import compose_flow

COLUMNS = 6  # of both rows
YAWS = (-30, -15, 0, 15, 30)  # degrees
LEAST = 192  # pixels on a side: in smaller pictures keypoints would hide each other
BACKGROUND = 0.15  # grey
SQUARES = 8  # of the checkerboard, across the picture


@torch.no_grad()
def driven_line(
    model: FaceVid2Vid,
    portrait: Tensor,
    source: Source,
    motion: Motion,
    name: str = "driving",
    driving: Tensor | None = None,
    *,
    anchor: Motion | None = None,
) -> list[Cell]:
    """Portrait, driving frame, output, masks, deformation, occlusion; keypoints are drawn on the first two.

    Args:
        model: trained modules in `eval()`, not arranged for inference.
        portrait: (1, 3, n, n) in [0, 1], as the networks see it.
        source: `model.encode(portrait)`.
        motion: of one frame.
        name: the caption of the driving frame.
        driving: (1, 3, n, n), the frame that the motion was read from; None: x_d are drawn on black.
        anchor: with relative motion, the motion that counts as no change; None: absolute motion.
    """
    kp_source, placement = model.in_volume(source.keypoints, model.place(source, motion, anchor))
    field = model.dense_motion(source.compressed, kp_source, *placement)
    output = model.generator(source.features, field, kp_source, *placement, detail=source.detail)
    mask, deformation = _composed(model, field, kp_source, placement)
    if driving is None:
        driving, keypoints = torch.zeros_like(portrait), placement.kp_driving
    else:
        own, canonical = model.look(driving, driving)
        keypoints = keypoints_of(canonical.keypoints, own, model.config.geometry)
    side, voxels = _side(output), deformation.shape[3]
    return [
        marked("portrait", _shown(portrait, side), _in_picture(source.keypoints[0], model), voxels),
        marked(name, _shown(driving, side), _in_picture(keypoints[0], model), voxels),
        ("output", _shown(output, side)),
        ("masks", _shown(strongest(mask), side)),
        ("deformation", _shown(checkerboard(deformation, side), side)),
        ("occlusion", _shown(field.occlusion.expand(-1, 3, -1, -1), side)),
    ]


@torch.no_grad()
def view_line(model: FaceVid2Vid, source: Source, yaws: Sequence[float] = YAWS) -> list[Cell]:
    """The source, (1, ...), with its head turned further by each yaw, and looking straight ahead.

    Where a head has no pose, as it is.
    """
    own, turned = source.motion, [] if model.config.direct else yaws
    views: list[tuple[str, Motion, View | None]] = [
        (f"yaw {yaw:+g}" if yaw else "as it is", own, View(yaw=yaw)) for yaw in turned
    ]
    views.append(("as it is", own, None) if model.config.direct else ("frontal", own, AHEAD))
    line = []
    for name, motion, view in views:
        output = model.render(source, model.place(source, motion, view=view))
        line.append((name, _shown(output, _side(output))))
    return line


def strongest(mask: Tensor) -> Tensor:
    """(B, K+1, D, H, W) -> (B, 3, H, W): which flow has the largest mask, and how large it is.

    At the depth where the background's mask is smallest: a face takes few depths, so that a mean over depth
    would show the background. Each keypoint has a hue, brighter for larger masks; the background is grey.
    """
    mask = mask.float()
    depth = mask[:, :1].argmin(dim=2, keepdim=True)  # (B, 1, 1, H, W)
    at_depth = mask.gather(2, depth.expand(-1, mask.shape[1], -1, -1, -1))
    weight, index = at_depth.squeeze(2).max(dim=1)  # (B, H, W) each
    colours = torch.cat([mask.new_full((1, 3), BACKGROUND), hues(mask.shape[1] - 1).to(mask)])
    hue = colours[index]  # (B, H, W, 3)
    bright = torch.where(index > 0, weight.sqrt(), 1.0).unsqueeze(-1)  # the root keeps weak ones visible
    return (hue * bright).permute(0, 3, 1, 2)


def hues(keypoints: int) -> Tensor:
    """(K, 3) RGB in [0, 1]: evenly spaced on the colour circle."""
    turns = torch.arange(keypoints)[:, None] / keypoints - torch.tensor([0.0, 1 / 3, 2 / 3])
    return 0.5 + 0.5 * torch.cos(2 * math.pi * turns)


def checkerboard(deformation: Tensor, size: int) -> Tensor:
    """(B, D, H, W, 3), where the source is sampled -> (B, 3, size, size): a checkerboard sampled there.

    It fills the source's picture, redder to the right and greener down; samples from outside are black. The
    deformation is averaged over depth.
    """
    voxels = deformation.shape[2:4]
    flow = deformation.float().mean(dim=1)[..., :2].permute(0, 3, 1, 2)  # (B, 2, H, W)
    # from the middles of the outermost voxels to the picture's edges
    edges = flow.new_tensor([(n - 1) / n for n in reversed(voxels)])[:, None, None]
    place = (interpolate(flow * edges, (size, size), mode="bilinear") + 1) / 2  # 0 to 1 inside
    light = (place * SQUARES).floor().sum(dim=1, keepdim=True) % 2
    colours = torch.cat([0.25 + 0.75 * place, torch.full_like(light, 0.6)], dim=1)
    inside = ((place >= 0) & (place <= 1)).all(dim=1, keepdim=True)
    return colours * (0.35 + 0.65 * light) * inside


def marked(name: str, picture: np.ndarray, keypoints: Tensor, voxels: int) -> Cell:
    """(n, n, 3) uint8 with numbered keypoints (K, 3) in their hues, near ones over far ones; and its caption.

    `voxels`: on a side of the volume, on whose corner lattice keypoints are. The caption is `name`, and how
    many keypoints lie outside the picture.
    """
    image, side = picture.copy(), len(picture)
    points = keypoints.double().cpu().numpy()
    pixels = pixels_of(points[:, :2], voxels, side)
    colours = (255 * hues(len(points)).numpy()).round().astype(int).tolist()
    radius, large = max(2, side // 85), max(1.0, side / 256)
    far_to_near = np.argsort(-points[:, 2], kind="stable")
    for k in far_to_near[_inside(pixels, side)[far_to_near]]:
        x, y = np.rint(pixels[k]).astype(int).tolist()
        cv2.circle(image, (x, y), radius + 1, (0, 0, 0), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(image, (x, y), radius, colours[k], cv2.FILLED, cv2.LINE_AA)
        for ink, width in (((0, 0, 0), 2), ((255, 255, 255), 1)):
            corner = (x + radius + 1, y + radius + 1)
            cv2.putText(image, str(k), corner, cv2.FONT_HERSHEY_SIMPLEX, 0.3 * large, ink, width, cv2.LINE_AA)
    outside = len(points) - int(_inside(pixels, side).sum())
    return f"{name}, {outside} outside" if outside else name, image


def pixels_of(points: np.ndarray, voxels: int, size: int) -> np.ndarray:
    """Points (K, 2) on a volume's corner lattice -> pixels of a picture; 0 is the centre of the first."""
    return ((points + 1) / 2 * (voxels - 1) + 0.5) * size / voxels - 0.5


def _in_picture(keypoints: Tensor, model: FaceVid2Vid) -> Tensor:
    """Where to draw keypoints (K, 3): First Order Motion's L calls the corners of its smaller maps ±1."""
    c = model.config.canonical
    if c is None or not c.hourglass:
        return keypoints
    side = model.config.image_size // c.stride
    return keypoints * (side - c.kernel) / (side - 1)


def _inside(pixels: np.ndarray, size: int) -> np.ndarray:
    """(K, 2) -> (K,) bool: whether a point is in the picture; NaN is not."""
    return np.all((pixels > -0.5) & (pixels < size - 0.5), axis=1)


def _composed(
    model: FaceVid2Vid, field: MotionField, kp_source: Tensor, placement: Placement
) -> tuple[Tensor, Tensor]:
    """The K+1 masks (B, K+1, D, H, W), and where the source is sampled (B, D, H, W, 3)."""
    composed = compose_flow(
        field.mask_logits,
        kp_source,
        *placement,
        mask_threshold=model.config.dense_motion.mask_threshold,
        return_mask=True,
    )
    return composed.mask, composed.deformation


def _side(output: Tensor) -> int:
    """Pixels on a side of a cell."""
    return enlarged(output.shape[-1], LEAST)


def _shown(picture: Tensor, side: int) -> np.ndarray:
    """(1, 3, n, n) in [0, 1] -> (side, side, 3) uint8, enlarged without interpolation."""
    return to_uint8(interpolate(picture.float(), (side, side), mode="nearest")).cpu().numpy()[0]
