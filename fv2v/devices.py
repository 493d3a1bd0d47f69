# SPDX-License-Identifier: Apache-2.0
"""Where the networks run, and in which dtype."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


def find_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """The dtype of that name. ValueError if the networks do not run in it."""
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise ValueError(f"expected a dtype, one of {', '.join(DTYPES)}; got {dtype!r}")
    return DTYPES[name]


def find_device(device: str | torch.device | None) -> torch.device:
    """`device`; for None a GPU where there is one, else the CPU. ValueError if it cannot be used here."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"cannot run on the device {str(device)!r} on this machine ({reason}); 'cpu' is always there"
        ) from error


def numbers_like(numbers: Sequence[float], like: Tensor) -> Tensor:
    """(n,) on the device of `like` and in its dtype, on a GPU sent from pinned memory: the host goes on."""
    tensor = torch.tensor(numbers, dtype=like.dtype, pin_memory=like.is_cuda)
    return tensor.to(like.device, non_blocking=True)


def no_autocast(coordinates: Tensor) -> AbstractContextManager[None]:
    """A context without autocast: matrix products of coordinates are never in half precision."""
    kind = coordinates.device.type
    # only where it is on: exported and compiled programs would contain it; the device "meta" has no autocast
    enabled = kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if enabled else nullcontext()
