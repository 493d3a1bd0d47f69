# SPDX-License-Identifier: Apache-2.0
"""M's mask convolution with its taps along x in the channels, summed as G warps.

K+1 output channels are too few for tensor cores: a k × k × k convolution to so few is limited by reading its
input. The same weights as a k × k × 1 convolution to k (K+1) channels are the same multiplications, and keep
them busy. The rest, adding up k numbers of k neighbours to a logit, `mask_head` does before the softmax.
"""

import torch
from torch import Tensor, nn

from fv2v.engine.passes.layers import conv_of
from fv2v.networks import FaceVid2Vid
from fv2v_kernels import mask_head

MULTIPLE = 8  # of output channels, which tensor cores need in half precision


def taps_in_channels(model: FaceVid2Vid) -> None:
    """In place: M returns taps in place of logits, and G sums them."""
    model.dense_motion.add_module("mask", TapsInChannels(model.dense_motion.mask))
    model.generator.warp = mask_head


class TapsInChannels(nn.Module):
    """(B, C, D, H, W) -> (B, k, K+1, D, H, W), for `mask_head`: the taps along x of a padded convolution.

    The bias is added to the middle tap, and no other is read for it. Channels are padded with zeros to
    `MULTIPLE`; they are dropped after.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        flows, *_, self.taps = conv.weight.shape
        self.channels = self.taps * flows
        weight = conv.weight.movedim(-1, 0).flatten(0, 1).unsqueeze(-1)  # (k (K+1), C, k, k, 1)
        self.bias = nn.Parameter(_bias(conv), requires_grad=False)
        more = -self.channels % MULTIPLE
        padded = torch.cat((weight, weight.new_zeros(more, *weight.shape[1:])))
        self.conv = conv_of(nn.Conv3d, padded, None, padding=(*conv.padding[:2], 0))

    def forward(self, x: Tensor) -> Tensor:
        taps = self.conv(x)[:, : self.channels].unflatten(1, (self.taps, -1))
        taps[:, self.taps // 2].add_(self.bias[:, None, None, None])
        return taps


def _bias(conv: nn.Conv3d) -> Tensor:
    """(K+1,)"""
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
