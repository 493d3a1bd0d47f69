# SPDX-License-Identifier: Apache-2.0
"""DINO's vision transformer (Caron et al. 2021), as PerformRecast's F looks at a portrait."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, scaled_dot_product_attention

from fv2v.config import TransformerConfig
from fv2v.devices import numbers_like

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures


class VisionTransformer(nn.Module):
    """Patches become tokens, which look at each other: (B, 3, H, W) in [0, 1] -> (B, C, H/patch, W/patch)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.table = config.table
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + config.table**2, config.width))
        self.patches = nn.Conv2d(3, config.width, config.patch, stride=config.patch)
        self.blocks = nn.Sequential(*(Block(config.width, config.heads) for _ in range(config.depth)))
        self.norm = _layer_norm(config.width)

    def forward(self, image: Tensor) -> Tensor:
        mean, deviation = (numbers_like(each, image)[:, None, None] for each in (MEAN, DEVIATION))
        patches = self.patches((image - mean) / deviation)
        size = patches.shape[2:]
        tokens = patches.flatten(2).mT  # (B, H·W, C)
        tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = self.norm(self.blocks(tokens + self._positions(*size).to(tokens.dtype)))
        return tokens[:, 1:].mT.unflatten(2, size)

    def _positions(self, height: int, width: int) -> Tensor:
        """(1, 1 + H·W, C) float32: the table for a picture of so many patches, as it was learnt from."""
        first, table = self.positions.float().split([1, self.table**2], dim=1)
        table = table.mT.unflatten(2, (self.table, self.table))
        if (height, width) != (self.table, self.table):
            # antialias changes the kernel of an enlargement, too: a = -0.5, and weights that sum to 1
            table = interpolate(table, (height, width), mode="bicubic", antialias=True)
        return torch.cat([first, table.flatten(2).mT], dim=1)


class Block(nn.Module):
    """x + attention(norm x), then x + perceptron(norm x): (B, N, C) as it is."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = _layer_norm(width)
        self.qkv = nn.Linear(width, 3 * width)  # queries, keys and values of all heads
        self.join = nn.Linear(width, width)
        self.norm2 = _layer_norm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).unbind(2)
        seen = scaled_dot_product_attention(*(each.transpose(1, 2) for each in (queries, keys, values)))
        x = x + self.join(seen.transpose(1, 2).flatten(2))
        return x + self.narrow(gelu(self.widen(self.norm2(x))))


def _layer_norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=1e-6)
