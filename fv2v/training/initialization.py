# SPDX-License-Identifier: Apache-2.0
"""Initial weights with which the model renders the moved source, blurred, from the first step on.

Random networks take thousands of steps to learn that colours can pass through F, the warp and G unchanged,
and that what is near a keypoint moves with it. Here three channels carry the colours all the way, the mask
starts as each keypoint's own Gaussian, and residual blocks and occlusion change next to nothing. All other
weights stay random, and every weight is trained.

The last layers of H and Δ start near zero: their random outputs are far from any face, and until those are
unlearnt the trunk learns little. (At 128 px H learnt nothing of rotations in 350 steps with random last
layers; with these it begins to after 100.)
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from fv2v.config import ModelConfig
from fv2v.networks import DenseMotion, FaceVid2Vid, Generator, HeadEstimator
from fv2v.networks.appearance import AppearanceExtractor
from fv2v.networks.blocks import DownBlock2d, ResBlock2d, ResBlock3d, SameBlock2d, UpBlock2d
from fv2v.networks.decoders import ResidualDecoder

COLOURS = 3
LIFT = 2.5  # standard deviations that norms add to colours, so that ReLUs clip few of them
FACE_DEPTH = -0.35  # z of the slice of the volume that G starts from: about where the skin of faces is
SLOPE = 0.85  # logits of the picture for one standard deviation of colours
QUIET = 0.03  # factor on the random weights of last layers
OWN_GAUSSIAN = 1.0  # weight of a keypoint's Gaussian in its own mask
BACKGROUND = 5.0  # logit of the background's mask; those of keypoints begin at 0
VISIBLE = 3.0  # logit of the occlusion map: nothing is occluded


@torch.no_grad()
def begin_with_prior(model: FaceVid2Vid) -> None:
    """Change some of a random model's weights, in place.

    ValueError for a transformer in F, a SPADE decoder, or where a layer that carries colours has less than 3
    channels.
    """
    _check(model.config)
    for block in model.modules():
        if isinstance(block, ResBlock2d | ResBlock3d):
            nn.init.zeros_(block.conv2.weight)
            nn.init.zeros_(_bias(block.conv2))
    assert isinstance(model.appearance, AppearanceExtractor)  # by `_check`
    _through_appearance(model.appearance, model.config)
    _by_keypoints(model.dense_motion, model.config)
    _through_generator(model.generator, model.config)
    if model.head is not None:
        _at_rest(model.head)


def _check(config: ModelConfig) -> None:
    narrowest = min(
        *config.appearance.widths, *config.generator.widths, config.generator.width, config.volume_channels
    )
    if config.appearance.transformer or config.generator.decoder != "residual" or narrowest < COLOURS:
        raise ValueError(
            f"prior: expected F of convolutions, a residual decoder, and {COLOURS} channels or more "
            f"everywhere; got {config.generator.decoder!r}, and {narrowest}"
        )


def _through_appearance(appearance: AppearanceExtractor, config: ModelConfig) -> None:
    """F outputs colours at the resolution of the volume, the same at every depth, lifted or with mean 0."""
    for block in (appearance.first, *appearance.down):
        _carry(block)
    if not config.appearance.lift:
        return
    lift: Any = appearance.lift
    for colour in range(COLOURS):
        rows = slice(colour * config.volume_depth, (colour + 1) * config.volume_depth)
        lift.weight[rows] = 0
        lift.weight[rows, colour] = 1
        _bias(lift)[rows] = -LIFT


def _by_keypoints(motion: DenseMotion, config: ModelConfig) -> None:
    """M weighs each flow by its own Gaussian, and the background's flow elsewhere."""
    last: Any = motion.hourglass.conv
    joined, variance = config.dense_motion.joined, config.dense_motion.variance
    # a norm after the joining convolution makes a Gaussian so many of its standard deviations high
    own = OWN_GAUSSIAN if joined else OWN_GAUSSIAN * (math.pi * variance / 2) ** -0.5
    per_flow = config.dense_motion.compressed_channels + 1
    first = config.dense_motion.out_width  # its input follows its output in the hourglass's channels
    motion.mask.weight *= QUIET
    nn.init.zeros_(_bias(motion.mask))
    for flow in range(1, config.flows):
        gaussian = first + flow * per_flow
        if joined:
            last.weight[gaussian] = 0
            last.weight[gaussian, gaussian, last.kernel_size[0] // 2, 1, 1] = 1
        depth, *_, middle = (size // 2 for size in motion.mask.kernel_size)
        motion.mask.weight[flow, gaussian, depth, middle, middle] = own
    _bias(motion.mask)[0] = BACKGROUND
    motion.occlusion.weight *= QUIET
    nn.init.constant_(_bias(motion.occlusion), VISIBLE)


def _through_generator(generator: Generator, config: ModelConfig) -> None:
    """G outputs the slice at FACE_DEPTH as the picture."""
    decoder = generator.decoder
    assert isinstance(decoder, ResidualDecoder)
    if config.generator.project:
        _through_projection(generator, config.volume_depth)
    for block in decoder.up:
        _carry(block)
    final = decoder.final
    final.weight *= QUIET
    middle = final.kernel_size[0] // 2
    for colour in range(COLOURS):
        final.weight[colour, colour, middle, middle] = SLOPE
    nn.init.constant_(_bias(final), -SLOPE * LIFT)


def _through_projection(generator: Generator, depth: int) -> None:
    project: Any = generator.project
    mix: Any = generator.mix
    project.conv.weight[:COLOURS] = 0
    mix.weight[:COLOURS] = 0
    _bias(mix)[:COLOURS] = 0
    for colour in range(COLOURS):
        slices = slice(colour * depth, (colour + 1) * depth)
        project.conv.weight[colour, slices, 1, 1] = _at(FACE_DEPTH, depth)
        mix.weight[colour, colour] = 1
    _lift(project.norm)


def _at_rest(head: HeadEstimator) -> None:
    """H and Δ output almost no rotation, translation and expression, and canonical keypoints near 0."""
    angles = (angle.bins for angle in (head.pitch, head.yaw, head.roll))
    for layer in (*angles, head.translation, head.expression, head.canonical):
        if layer is not None:
            layer.weight *= QUIET
            nn.init.zeros_(layer.bias)


def _carry(block: nn.Module) -> None:
    """A block passes the colours from its first input channels to its first output channels."""
    assert isinstance(block, SameBlock2d | DownBlock2d | UpBlock2d)
    conv, middle = block.conv, block.conv.kernel_size[0] // 2
    conv.weight[:COLOURS] = 0
    for colour in range(COLOURS):
        conv.weight[colour, colour, middle, middle] = 1
    _lift(block.norm)


def _lift(norm: nn.BatchNorm2d) -> None:
    norm.bias[:COLOURS] = LIFT


def _bias(conv: nn.Conv2d | nn.Conv3d) -> Tensor:
    assert conv.bias is not None
    return conv.bias


def _at(z: float, depth: int) -> Tensor:
    """(D,) weights of slices that read depth z on the corner lattice, by linear interpolation."""
    place = (z + 1) / 2 * (depth - 1)
    return (1 - (torch.arange(depth) - place).abs()).clamp(min=0)
