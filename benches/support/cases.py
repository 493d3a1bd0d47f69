# SPDX-License-Identifier: Apache-2.0
"""What the rows of an operator's bench have in common: volumes, inputs, and the step that is timed."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from measuring import DEVICE, TINY, Run
from torch import Tensor

from fv2v_kernels import available

DTYPE = torch.float16 if DEVICE == "cuda" else torch.float32  # of features and logits
MODES = ("forward", "forward+backward")
CHANNELS_LAST = "channels-last-3d"
K = 15

Size = tuple[int, int, int, int, int]
Results = Tensor | tuple[Tensor, ...]
Function = Callable[..., Results]


def volumes(C: int, layouts: bool = False) -> dict[str, Size]:
    """The releases' volume at 256 and at 512 pixels, and batches of eight frames: (B, C, D, H, W) by name.

    A GPU takes more of them. With `layouts` also in channels-last-3d, on a CPU the smallest alone.
    """
    D, near, far = (2, 4, 8) if TINY else (16, 64, 128)
    sizes = {
        f"{C}x{D}x{near}x{near}": (1, C, D, near, near),
        f"{C}x{D}x{far}x{far}": (1, C, D, far, far),
        f"{C}x{D}x{near}x{near}, batch 8": (8, C, D, near, near),
    }
    if DEVICE == "cuda":
        sizes[f"{C}x{D}x{far}x{far}, batch 8"] = (8, C, D, far, far)
    again = list(sizes.items())[: len(sizes) if DEVICE == "cuda" else 1] if layouts else []
    return sizes | {f"{name}, {CHANNELS_LAST}": size for name, size in again}


def memory_format(volume: str) -> torch.memory_format:
    """The layout that a volume's name asks for, of what an operator reads and of what it writes."""
    return torch.channels_last_3d if CHANNELS_LAST in volume else torch.contiguous_format


def rows(op: str) -> list[str]:
    """The baseline, the baseline compiled, and every backend this machine has."""
    return ["torch", "torch.compile", *available(op, DEVICE)]


def stored(*shape: int, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    """Features or logits."""
    return torch.randn(*shape, device=DEVICE, dtype=DTYPE).contiguous(memory_format=layout)


def laid_out(function: Function, layout: torch.memory_format) -> Function:
    """A baseline whose result is in `layout`, as the operator's is: stock operators don't choose theirs."""

    def run(*tensors: Tensor) -> Tensor:
        return function(*tensors).contiguous(memory_format=layout)

    return run


def keypoints(B: int) -> tuple[Tensor, Tensor]:
    """Source and driving keypoints (B, K, 3): a face's points, and the same a little moved."""
    source = torch.rand(B, K, 3, device=DEVICE) * 1.6 - 0.8
    return source, source + 0.05 * torch.randn_like(source)


def step(function: Function, tensors: Sequence[Tensor], mode: str) -> tuple[Run, int]:
    """What one round runs, and the bytes it must move.

    Forward reads every input and writes the results; backward reads the results' gradients and the inputs,
    and writes their gradients.
    """
    if mode == "forward":
        return partial(function, *tensors), _bytes(*tensors, *together(function(*tensors)))
    leaves = [tensor.requires_grad_() for tensor in tensors]
    upstream = [torch.randn_like(result) for result in together(function(*leaves))]

    def run() -> Sequence[Tensor]:
        return torch.autograd.grad(together(function(*leaves)), leaves, upstream)

    return run, 3 * _bytes(*leaves) + 2 * _bytes(*upstream)


def together(results: Results) -> tuple[Tensor, ...]:
    """One result or several."""
    return results if isinstance(results, tuple) else (results,)


def _bytes(*tensors: Tensor) -> int:
    return sum(tensor.nbytes for tensor in tensors)
