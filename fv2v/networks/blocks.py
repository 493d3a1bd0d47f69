# SPDX-License-Identifier: Apache-2.0
"""The smallest parts, in 2D and 3D, as all public re-implementations have them (the paper's appendix A)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, relu


def pyramid(image: Tensor, scales: int) -> list[Tensor]:
    """The picture (B, C, H, W) and halves of it, each the 2×2 means of the last: `scales` in all.

    ValueError where a side does not halve so often.
    """
    if any(side % (1 << (scales - 1)) for side in image.shape[2:]):
        raise ValueError(
            f"expected a picture whose sides halve {scales - 1} times, for {scales} scales; "
            f"got {tuple(image.shape)}"
        )
    images = [image]
    for _ in range(scales - 1):
        images.append(avg_pool2d(images[-1], 2))
    return images


class AntiAliasedStride(nn.Module):
    """Every `stride`-th pixel after a Gaussian of σ = (stride − 1) / 2, zeros outside the picture."""

    weight: Tensor

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride
        sigma = (stride - 1) / 2
        radius = round(4 * sigma)
        with torch.device("cpu"):  # on "meta", arithmetic would import PyTorch's compiler
            line = torch.exp(-(torch.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
            kernel = line[:, None] * line
            weight = (kernel / kernel.sum()).repeat(3, 1, 1, 1)  # (3, 1, n, n)
        self.register_buffer("weight", weight.to(torch.get_default_device()))

    def forward(self, image: Tensor) -> Tensor:
        return conv2d(image, self.weight, stride=self.stride, padding=self.weight.shape[-1] // 2, groups=3)


class SameBlock2d(nn.Module):
    """Convolution, norm, activation; the size stays."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, negative_slope: float = 0.0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = nn.LeakyReLU(negative_slope) if negative_slope else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(x)))


class DownBlock2d(nn.Module):
    """(B, C, H, W) -> (B, C', H/2, W/2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(relu(self.norm(self.conv(x))), 2)


class UpBlock2d(nn.Module):
    """(B, C, H, W) -> (B, C', 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.norm(self.conv(interpolate(x, scale_factor=2, mode="nearest"))))


def conv3d(in_channels: int, out_channels: int, kernel: int, *, flat: bool, padded: bool = True) -> nn.Conv3d:
    """A cubic kernel, of the size that stays where it is `padded`; one deep for `flat` volumes, of depth 1.

    There further taps would read nothing but padding.
    """
    depth, side = (0 if flat else kernel // 2), kernel // 2
    padding = (depth, side, side) if padded else 0
    return nn.Conv3d(in_channels, out_channels, (2 * depth + 1, kernel, kernel), padding=padding)


class DownBlock3d(nn.Module):
    """(B, C, D, H, W) -> (B, C', D, H/2, W/2): depth is never pooled."""

    def __init__(self, in_channels: int, out_channels: int, *, flat: bool = False) -> None:
        super().__init__()
        self.conv = conv3d(in_channels, out_channels, 3, flat=flat)
        self.norm = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.norm(self.conv(x)))
        # avg_pool3d (1, 2, 2) with depth beside the channels: on the CPU that one has no half precision
        return avg_pool2d(y.flatten(1, 2), 2).unflatten(1, y.shape[1:3])


class UpBlock3d(nn.Module):
    """(B, C, D, H, W) -> (B, C', D, 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int, *, flat: bool = False) -> None:
        super().__init__()
        self.conv = conv3d(in_channels, out_channels, 3, flat=flat)
        self.norm = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.norm(self.conv(interpolate(x, scale_factor=(1, 2, 2), mode="nearest"))))


class DepthConv2d(nn.Conv2d):
    """A convolution of a volume (B, C, D, H, W) whose depth folds into the channels, C·D of them."""

    def forward(self, volume: Tensor) -> Tensor:
        return super().forward(volume.flatten(1, 2))


class ResBlock2d(nn.Module):
    """x + two times (norm, ReLU, convolution)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(relu(self.norm2(self.conv1(relu(self.norm1(x))))))


class ResBlock3d(nn.Module):
    """`ResBlock2d` in a volume."""

    def __init__(self, channels: int, *, flat: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm3d(channels)
        self.conv1 = conv3d(channels, channels, 3, flat=flat)
        self.norm2 = nn.BatchNorm3d(channels)
        self.conv2 = conv3d(channels, channels, 3, flat=flat)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(relu(self.norm2(self.conv1(relu(self.norm1(x))))))


class ResBottleneck(nn.Module):
    """1×1 (c/4), 3×3 (c/4), 1×1 (c), ReLU after the sum; the skip is a 1×1 convolution where strided."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        inner = channels // 4
        self.conv1 = nn.Conv2d(channels, inner, 1)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, channels, 1)
        self.norm3 = nn.BatchNorm2d(channels)
        self.skip = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(nn.Conv2d(channels, channels, 1, stride=stride), nn.BatchNorm2d(channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.norm1(self.conv1(x)))
        y = relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return relu(y + self.skip(x))
