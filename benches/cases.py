"""What the rows of an operator's bench have in common: volumes, inputs, and the step that is timed."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from measuring import DEVICE, Run
from torch import Tensor

from fv2v_kernels import available

DTYPE = torch.float16 if DEVICE == "cuda" else torch.float32  # of features and logits
MODES = ("forward", "forward+backward")
K = 15

Size = tuple[int, int, int, int, int]


def volumes(C: int) -> dict[str, Size]:
    """The releases' volume at 256 and at 512 pixels, and a batch of eight frames: (B, C, D, H, W) by name."""
    return {
        f"{C}x16x64x64": (1, C, 16, 64, 64),
        f"{C}x16x128x128": (1, C, 16, 128, 128),
        f"{C}x16x64x64, batch 8": (8, C, 16, 64, 64),
    }


def rows(op: str) -> list[str]:
    """The baseline, the baseline compiled, and every backend this machine has."""
    return ["torch", "torch.compile", *available(op, DEVICE)]


def stored(*shape: int) -> Tensor:
    """Features or logits."""
    return torch.randn(*shape, device=DEVICE, dtype=DTYPE)


def keypoints(B: int) -> tuple[Tensor, Tensor]:
    """Source and driving keypoints (B, K, 3): a face's points, and the same a little moved."""
    source = torch.rand(B, K, 3, device=DEVICE) * 1.6 - 0.8
    return source, source + 0.05 * torch.randn_like(source)


def step(function: Callable[..., Tensor], tensors: Sequence[Tensor], mode: str) -> tuple[Run, int]:
    """What one round runs, and the bytes it must move.

    Forward reads every input and writes the result; backward reads the result's gradient and the inputs, and
    writes their gradients.
    """
    if mode == "forward":
        result = function(*tensors)
        return partial(function, *tensors), _bytes(*tensors, result)
    leaves = [tensor.requires_grad_() for tensor in tensors]
    result = function(*leaves).detach()
    upstream = torch.randn_like(result)

    def run() -> Sequence[Tensor]:
        return torch.autograd.grad(function(*leaves), leaves, upstream)

    return run, 3 * _bytes(*leaves) + 2 * _bytes(result)


def _bytes(*tensors: Tensor) -> int:
    return sum(tensor.nbytes for tensor in tensors)
