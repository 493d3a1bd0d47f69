"""Where the networks run, and in which dtype."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


def find_dtype(wish: str | torch.dtype) -> torch.dtype:
    """The dtype of that name. Raises ValueError if the networks do not run in it."""
    name = str(wish).removeprefix("torch.")
    if name not in DTYPES:
        raise ValueError(f"expected a dtype, one of {', '.join(DTYPES)}; got {wish!r}")
    return DTYPES[name]


def find_device(wish: str | torch.device | None) -> torch.device:
    """The device asked for, or a GPU where there is one. Raises ValueError if it cannot be used here."""
    if wish is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=wish).device
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"cannot run on the device {str(wish)!r} on this machine ({reason}); 'cpu' is always there"
        ) from error


def no_autocast(coordinates: Tensor) -> AbstractContextManager[None]:
    """Where autocast leaves matrix products alone: of coordinates none is in half precision."""
    kind = coordinates.device.type
    # not always: exported and compiled programs would have autocast in them; and "meta" knows of none
    halves = kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if halves else nullcontext()
