"""Where tensors turn into pointers: the compiled modules know nothing of torch, and Python nothing of loops.

Every compiled function takes its outputs, then the operator's inputs, each tensor as (pointer, dtype, shape,
strides); `_cpu` then takes a thread count, `_cuda` a device index and a stream.
"""

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from fv2v_kernels._op import INTERPRETED, refuse_nondeterministic

DTYPES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}  # csrc/common/tensor.h


@cache
def module(device: str) -> ModuleType | None:
    """`fv2v_kernels._cpu` or `_cuda`; None where this build lacks it or the GPU driver can't serve it."""
    name = f"fv2v_kernels._{device}"
    if importlib.util.find_spec(name) is None:
        return None
    found = importlib.import_module(name)
    if device == "cuda":
        if not torch.cuda.is_available():
            return None
        if found.device_count() == 0:
            warnings.warn(
                f"fv2v_kernels._cuda was built with CUDA {found.cuda_version}, which this GPU driver is too "
                "old for: using Triton; update the driver, or rebuild with an older CUDA toolkit",
                stacklevel=2,
            )
            return None
    return found


def native(name: str, device: str, fake: Callable[..., Any]) -> Callable[..., Any] | None:
    """Kernel `name` of the compiled module for `device`; `fake` says what to allocate for its results.

    On a GPU the first result of a backward, the features' gradient, is summed by atomics.
    """
    compiled = module(device)
    if compiled is None:
        return None
    function = getattr(compiled, name, None)
    if function is None:
        return None
    atomic = device == "cuda" and name.endswith("_backward")

    def kernel(*inputs: Any) -> Any:
        results = fake(*inputs, device)
        outputs = (results,) if isinstance(results, Tensor) else results
        if atomic and outputs[0].numel() and torch.are_deterministic_algorithms_enabled():
            refuse_nondeterministic(name, device)
        where = _threads() if device == "cpu" else _stream(outputs[0].device)
        function(*map(_describe, outputs), *map(_describe, inputs), *where)
        return results

    return kernel


def triton(name: str) -> Callable[..., Any] | None:
    """Kernel `name` of `fv2v_kernels/triton/`, imported at its first use: importing this package never does.

    None without a GPU or without triton; `TRITON_INTERPRET=1` stands in for the GPU, for tests.
    """
    if not (torch.cuda.is_available() or INTERPRETED) or importlib.util.find_spec("triton") is None:
        return None

    def kernel(*inputs: Any) -> Any:
        source = importlib.import_module(f"fv2v_kernels.triton.{name.removesuffix('_backward')}")
        return getattr(source, name)(*inputs)

    return kernel


def _describe(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.data_ptr(), DTYPES[value.dtype], tuple(value.shape), value.stride()
    return value


def _threads() -> tuple[int]:
    return (torch.get_num_threads(),)


def _stream(device: torch.device) -> tuple[int, int]:
    index = torch.cuda.current_device() if device.index is None else device.index
    return index, torch.cuda.current_stream(index).cuda_stream
