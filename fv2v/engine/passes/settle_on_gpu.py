# SPDX-License-Identifier: Apache-2.0
"""The last pass on a GPU: channels-last memory throughout, and as few kernels as PyTorch and cuDNN allow.

- Convolutions take their ReLU, and bottlenecks their sum, into cuDNN's call (fused_convolution.py).
- A volume is pooled and interleaved as D pictures beside each other, in the layout that it has.
- A block that enlarges convolves in phases (double_in_phases.py), whose ReLU is in the convolution and which
  are put together by one copy; where the small picture is 2×2 that saves nothing, and needs 16/9 the weights:
  there one product of matrices pools and enlarges (scales_on_gpu.py).
- Convolutions that fold a volume's depth into channels are as deep as it is (depth_in_kernels.py).
- LivePortrait's M has 110 and 142 channels: they are padded to what tensor cores take, multiples of 8.
- Biases of residual sums are added once; SPADE's convolutions have none where an instance norm takes it out;
  a 1×1 convolution after which no ReLU follows is a matrix product, which adds its own.
- Norms that no convolution takes in are a product and a sum in one kernel, and the response norms of ConvNeXt
  V2 read and write their input once.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from fv2v.engine.passes.depth_in_kernels import DepthConv, FoldedTaps
from fv2v.engine.passes.fold_norms import children_of
from fv2v.engine.passes.fused_convolution import LAST, FusedConv, PixelProduct
from fv2v.engine.passes.join_spades import JoinedSpadeBlock
from fv2v.engine.passes.layers import Conv, conv_of, frozen
from fv2v.engine.passes.scales_on_gpu import Coarsened, Hourglass, Phases, Pooled, Shuffle
from fv2v.engine.passes.settle_on_cpu import Bottleneck, Join, Residual
from fv2v.engine.passes.taps_in_channels import MULTIPLE
from fv2v.networks import FaceVid2Vid, blocks
from fv2v.networks.decoders import SpadeDecoder
from fv2v.networks.detail import DetailJoin
from fv2v.networks.hourglass import Hourglass3d
from fv2v.networks.trunks import ResponseNorm, Stage

SMALLEST = 4  # pixels a side, from which on phases save work


def settle_on_gpu(model: FaceVid2Vid) -> None:
    """In place: networks whose norms are folded, and whose taps are in channels."""
    config = model.config
    motion: Any = model.dense_motion
    generator: Any = model.generator
    _pad_channels(motion, config.volume_depth)
    motion.memory_format = torch.channels_last_3d
    motion.occlusion = FoldedTaps(motion.occlusion, config.volume_depth)
    smallest = config.image_size // config.volume_stride >> len(config.dense_motion.widths)
    if smallest < SMALLEST:
        hourglass = getattr(motion.hourglass, "module", motion.hourglass)
        hourglass.down[-1] = FusedConv(hourglass.down[-1].conv, negative_slope=0.0)
        hourglass.up[0] = Coarsened(hourglass.up[0].conv, 2 * smallest)
    generator.warp = partial(generator.warp, memory_format=torch.channels_last_3d)
    if config.generator.project:
        generator.flatten, generator.project = (
            nn.Identity(),
            DepthConv(generator.project, config.volume_depth),
        )
        generator.mix = PixelProduct(generator.mix)
    if isinstance(generator.decoder, SpadeDecoder) and not config.detail_sizes:  # joins read its blocks, too
        _drop_biases(generator.decoder)
    _settle(model)


def _settle(module: Any) -> None:
    if isinstance(module, Stage):
        _join_activation(module)
    if isinstance(module, nn.Sequential):
        _join_relus(module)
        chain: Any = [each for each in module if isinstance(each, blocks.ResBlock2d | blocks.ResBlock3d)]
        _join_biases(chain)
        for block in chain:
            block.norm1 = ChannelNorm(block.norm1)
    for name in children_of(module):
        child = module.get_submodule(name)
        make = REPLACED_BY.get(type(child))
        if make:
            setattr(module, name, make(child))
        else:
            _settle(child)


class PaddedChannels(nn.Module):
    """`module` of a volume with so many channels of zeros more."""

    def __init__(self, module: nn.Module, more: int) -> None:
        super().__init__()
        self.module, self.more = module, more

    def forward(self, volume: Tensor) -> Tensor:
        return self.module(pad(volume, (0, 0) * 3 + (0, self.more)))


class Separate(nn.Module):
    """The convolutions that `JoinedSpadeBlock` joins, apart again: parts of channels-last are no blocks."""

    def __init__(self, joined: Any) -> None:
        super().__init__()
        block, chunks = joined
        make = Phases if isinstance(block, blocks.UpBlock2d) else partial(FusedConv, negative_slope=0.0)
        weights, biases = block.conv.weight.chunk(chunks.count), block.conv.bias.chunk(chunks.count)
        self.parts = nn.ModuleList(
            make(conv_of(nn.Conv2d, *each, padding=block.conv.padding))
            for each in zip(weights, biases, strict=True)
        )

    def forward(self, guide: Tensor) -> tuple[Tensor, ...]:
        return tuple(part(guide) for part in self.parts)


class ChannelNorm(nn.Module):
    """A batch norm as a scale and a shift: one kernel, where PyTorch's own inverts variances in one more."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        shape = (1, -1, *(1 for _ in range(2 + isinstance(norm, nn.BatchNorm3d))))
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        self.scale = frozen(scale.view(shape))
        self.shift = frozen((norm.bias - norm.running_mean * scale).view(shape))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)


class SmallResponseNorm(nn.Module):
    """`ResponseNorm` as x (1 + γ N) + β: of the large tensor one norm, and one product and sum."""

    def __init__(self, norm: ResponseNorm) -> None:
        super().__init__()
        self.gamma, self.beta = norm.gamma, norm.beta
        self.one = nn.Parameter(torch.ones_like(norm.gamma[..., :1]), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        share = size / (size.mean(dim=-1, keepdim=True) + 1e-6)
        return torch.addcmul(self.beta, x, torch.addcmul(self.one, self.gamma, share))


def _pad_channels(motion: Any, depth: int) -> None:
    """Of what M's hourglass reads, and with it of what it returns."""
    hourglass = motion.hourglass
    more = -hourglass.down[0].conv.in_channels % MULTIPLE
    if not more:
        return
    for owner, name, outputs in (
        (hourglass.down[0], "conv", 0),
        (hourglass, "conv", more),
        (motion.mask, "conv", 0),
    ):
        if not isinstance(getattr(owner, name), nn.Identity):
            setattr(owner, name, _widened(getattr(owner, name), more, outputs))
    deep = motion.occlusion.weight.unflatten(1, (-1, depth))
    motion.occlusion.weight = frozen(pad(deep, (0, 0) * 3 + (0, more)).flatten(1, 2))
    motion.hourglass = PaddedChannels(hourglass, more)


def _drop_biases(decoder: Any) -> None:
    """Of convolutions that nothing but instance norms read, before a block without a plain shortcut."""
    chain = [*decoder.middle, *decoder.up]
    for i, block in enumerate(chain):
        block.conv_0.bias = None
        if any(later.conv_s is not None for later in chain[i + 1 :]):
            block.conv_1.bias = None
    if any(block.conv_s is not None for block in chain):
        decoder.lift.bias = None


def _widened(conv: Any, inputs: int, outputs: int) -> Conv:
    """With channels of zeros more."""
    weight = pad(conv.weight, (0, 0) * 3 + (0, inputs, 0, outputs))
    bias = None if conv.bias is None else pad(conv.bias, (0, outputs))
    return conv_of(nn.Conv3d, weight, bias, padding=conv.padding)


def _join_activation(module: Any) -> None:
    module.conv, module.activation = FusedConv(module.conv, negative_slope=0.0), nn.Identity()


def _join_relus(layers: Any) -> None:
    """Convolutions that nothing but folded norms is between them and a ReLU."""
    latest = -1
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.ReLU) and latest >= 0:
            layers[latest] = FusedConv(layers[latest], negative_slope=0.0)
            layers[i] = nn.Identity()
        if not isinstance(layer, nn.Identity):
            latest = i if type(layer) in (nn.Conv2d, nn.Conv3d) else -1


def _join_biases(chain: Sequence[Any]) -> None:
    """Residual blocks in a row: the last one adds what all of them would, the norms between know of it."""
    total: Any = 0.0
    for block in chain:
        block.norm1.running_mean = block.norm1.running_mean - total
        total = total + block.conv2.bias
        block.conv2.bias = None
    if chain:
        chain[-1].conv2.bias = frozen(total)


def _bottleneck(block: Any) -> nn.Module:
    if not isinstance(block.skip, nn.Identity):  # its bias and conv3's are one
        block.conv3.bias = frozen(block.conv3.bias + block.skip[0].bias)
        block.skip[0].bias = None
    return Bottleneck(block, make=FusedConv, make_inner=FusedConv)


def _same(block: Any) -> nn.Module:
    return FusedConv(block.conv, negative_slope=getattr(block.activation, "negative_slope", 0.0))


def _plain(conv: Any) -> nn.Module:
    return conv.to(memory_format=LAST[conv.weight.dim()]) if conv.groups > 1 else FusedConv(conv)


def _hourglass(hourglass: Any) -> nn.Module:
    settled = Hourglass(hourglass)
    _settle(settled)
    return settled


def _shuffle(shuffle: Any) -> nn.Module:
    return Shuffle(shuffle.upscale_factor) if shuffle.upscale_factor > 1 else nn.Identity()


def _spade(block: Any) -> nn.Module:
    block.shared = Separate(block.shared)
    _settle(block)
    return block


REPLACED_BY: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    blocks.SameBlock2d: _same,
    blocks.DownBlock2d: Pooled,
    blocks.DownBlock3d: Pooled,
    blocks.UpBlock2d: lambda block: Phases(block.conv),
    blocks.UpBlock3d: lambda block: Phases(block.conv),
    blocks.ResBlock2d: partial(Residual, make=FusedConv),
    blocks.ResBlock3d: partial(Residual, make=FusedConv),
    blocks.ResBottleneck: _bottleneck,
    DetailJoin: partial(Join, make=FusedConv),
    JoinedSpadeBlock: _spade,
    nn.PixelShuffle: _shuffle,
    Hourglass3d: _hourglass,
    ResponseNorm: SmallResponseNorm,
    nn.Conv2d: _plain,
    nn.Conv3d: _plain,
}
