"""Fresh weights that show the source, moved, from the first step on, and read faces at rest in its middle.

Random networks take thousands of steps to find that colours may go through F, the warp and G as they are, and
that what is near a keypoint moves with it. Here three channels carry the colours all the way, the mask begins
with each keypoint's own Gaussian, and residual blocks and occlusion change next to nothing. All other weights
stay random, and every one learns.

The layers that say where a head is, and how it looks, begin with nearly nothing: what they say at random is
far from any face, and while it is unlearnt the trunk learns little (H at 128 px knew nothing of rotations
after 350 steps, and begins to at the 100th so).
"""

import torch
from torch import Tensor, nn

from fv2v.config import ModelConfig
from fv2v.networks import DenseMotion, FaceVid2Vid, Generator, HeadEstimator
from fv2v.networks.appearance import AppearanceExtractor
from fv2v.networks.blocks import DownBlock2d, ResBlock2d, ResBlock3d, SameBlock2d, UpBlock2d
from fv2v.networks.decoders import ResidualDecoder

COLOURS = 3
LIFT = 2.5  # a colour's norm adds so many standard deviations: few are below 0, where a ReLU cuts
FACE_DEPTH = -0.35  # z of the volume's slice that G shows: faces' skin is about there
SLOPE = 0.85  # the picture's logits to a standard deviation of colours
QUIET = 0.03  # factor on the weights of last layers beside what they are set to
OWN_GAUSSIAN = 1.0  # of a keypoint's Gaussian, in its own mask
BACKGROUND = 5.0  # logit of the background's mask; those of keypoints begin at 0
SEEN = 3.0  # logit of the occlusion map: what is there shows


@torch.no_grad()
def begin_with_prior(model: FaceVid2Vid) -> None:
    """Set some of a fresh model's weights, in place.

    ValueError for a SPADE decoder, or where the fewest channels on the colours' way are less than 3.
    """
    _check(model.config)
    for block in model.modules():
        if isinstance(block, ResBlock2d | ResBlock3d):
            nn.init.zeros_(block.conv2.weight)
            nn.init.zeros_(_bias(block.conv2))
    _through_appearance(model.appearance, model.config)
    _by_keypoints(model.dense_motion, model.config)
    _through_generator(model.generator, model.config)
    _at_rest(model.head)


def _check(config: ModelConfig) -> None:
    narrowest = min(
        *config.appearance.widths, *config.generator.widths, config.generator.width, config.volume_channels
    )
    if config.generator.decoder != "residual" or narrowest < COLOURS:
        raise ValueError(
            f"prior: expected a residual decoder, and {COLOURS} channels or more everywhere; got "
            f"{config.generator.decoder!r}, and {narrowest}"
        )


def _through_appearance(appearance: AppearanceExtractor, config: ModelConfig) -> None:
    """Colours at the size of the volume, the same at every depth, and 0 on average."""
    for block in (appearance.first, *appearance.down):
        _carry(block)
    lift = appearance.lift
    for colour in range(COLOURS):
        rows = slice(colour * config.volume_depth, (colour + 1) * config.volume_depth)
        lift.weight[rows] = 0
        lift.weight[rows, colour] = 1
        _bias(lift)[rows] = -LIFT


def _by_keypoints(motion: DenseMotion, config: ModelConfig) -> None:
    """Each flow counts where its own Gaussian is, and the background's elsewhere."""
    last, per_flow = motion.hourglass.conv, config.dense_motion.compressed_channels + 1
    first = config.dense_motion.out_width  # the hourglass's input follows what it made
    motion.mask.weight *= QUIET
    nn.init.zeros_(_bias(motion.mask))
    for flow in range(1, config.flows):
        gaussian = first + flow * per_flow
        last.weight[gaussian] = 0
        last.weight[gaussian, gaussian, 1, 1, 1] = 1
        middle = motion.mask.kernel_size[0] // 2
        motion.mask.weight[flow, gaussian, middle, middle, middle] = OWN_GAUSSIAN
    _bias(motion.mask)[0] = BACKGROUND
    motion.occlusion.weight *= QUIET
    nn.init.constant_(_bias(motion.occlusion), SEEN)


def _through_generator(generator: Generator, config: ModelConfig) -> None:
    """From the slice at FACE_DEPTH to the picture."""
    decoder = generator.decoder
    assert isinstance(decoder, ResidualDecoder)
    project, mix, final = generator.project, generator.mix, decoder.final
    at_depth = _at(FACE_DEPTH, config.volume_depth)
    project.conv.weight[:COLOURS] = 0
    mix.weight[:COLOURS] = 0
    _bias(mix)[:COLOURS] = 0
    final.weight *= QUIET
    middle = final.kernel_size[0] // 2
    for colour in range(COLOURS):
        slices = slice(colour * config.volume_depth, (colour + 1) * config.volume_depth)
        project.conv.weight[colour, slices, 1, 1] = at_depth
        mix.weight[colour, colour] = 1
        final.weight[colour, colour, middle, middle] = SLOPE
    _lift(project.norm)
    for block in decoder.up:
        _carry(block)
    nn.init.constant_(_bias(final), -SLOPE * LIFT)


def _at_rest(head: HeadEstimator) -> None:
    """No rotation, translation or expression to speak of; canonical keypoints in the middle."""
    angles = (angle.bins for angle in (head.pitch, head.yaw, head.roll))
    for layer in (*angles, head.translation, head.expression, head.canonical):
        if layer is not None:
            layer.weight *= QUIET
            nn.init.zeros_(layer.bias)


def _carry(block: nn.Module) -> None:
    """Colours from the first channels to the first channels."""
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
