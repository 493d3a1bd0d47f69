# SPDX-License-Identifier: Apache-2.0
"""Where tensors turn into pointers: the compiled modules know nothing of torch, and Python nothing of loops.

Every compiled function takes its outputs, which Python has allocated, then the operator's inputs, each tensor
as (pointer, dtype, shape, strides); `_cpu` then takes a thread count, `_cuda` a device index and a stream. An
output that was not asked for is empty.
"""

import importlib
import importlib.util
import os
import platform
import sys
import warnings
from collections.abc import Callable
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DTYPES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}  # csrc/common/tensor.h

FOLDER = Path(__file__).parent

Kernel = Callable[..., None]  # kernel(*outputs, *inputs)


def find(name: str, backend: str) -> Kernel | None:
    """The kernel `name` of a compiled backend ("cuda", "triton", "cpu"); None where this machine lacks it."""
    if backend == "triton":
        return _triton(name)
    compiled = module(backend)
    return _native(compiled, name, backend) if compiled is not None and hasattr(compiled, name) else None


@cache
def module(device: str) -> ModuleType | None:
    """`fv2v_kernels._cpu` or `_cuda`; None where this build lacks it or it can't serve the GPUs in sight."""
    name = f"fv2v_kernels._{device}"
    if importlib.util.find_spec(name) is None:
        if device == "cpu":
            _warn_of_a_source_folder()
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
        unserved = gpus_without_code(found.archs)
        if unserved:
            warnings.warn(
                f"fv2v_kernels._cuda has code for sm_{', sm_'.join(found.archs.split())} and later, none for "
                f"{', '.join(unserved)}: using Triton; rebuild with FV2V_CUDA_ARCHS naming that GPU, or hide "
                "it by CUDA_VISIBLE_DEVICES",
                stacklevel=2,
            )
            return None
    return found


def gpus_without_code(archs: str) -> list[str]:
    """The GPUs in sight that a module built for `archs`, such as "75 80 90", has no code for.

    Machine code serves its own generation from its own minor number on; the newest comes as PTX, too, which
    serves all later ones.
    """
    built = [divmod(int(arch), 10) for arch in archs.split()]

    def served(capability: tuple[int, int]) -> bool:
        return capability >= built[-1] or any(
            major == capability[0] and minor <= capability[1] for major, minor in built
        )

    gpus = ((i, torch.cuda.get_device_capability(i)) for i in range(torch.cuda.device_count()))
    return [
        f"{torch.cuda.get_device_name(i)} (sm_{major}{minor})"
        for i, (major, minor) in gpus
        if not served((major, minor))
    ]


def _warn_of_a_source_folder() -> None:
    """Where every build has CPU kernels, a folder without them is a checkout that was not built.

    Python finds it first when started in the checkout's root, even where the package is installed.
    """
    supported = (sys.platform, platform.machine()) == ("linux", "x86_64")
    if supported and not (FOLDER / f"_cpu{EXTENSION_SUFFIXES[0]}").exists():
        warnings.warn(
            f"fv2v_kernels was imported from {FOLDER}, which holds no compiled kernels: stock PyTorch "
            "computes every operator, several times slower. Either run `pip install .` in the checkout and "
            "start Python in another folder, or build in place with `pip install -e .`",
            stacklevel=2,
        )


def _native(compiled: ModuleType, name: str, device: str) -> Kernel:
    """A function of a compiled module, with the workspace that `<name>_workspace`, if any, asks for."""
    function, workspace_bytes = getattr(compiled, name), getattr(compiled, f"{name}_workspace", None)

    def kernel(*arguments: Any) -> None:
        described = [_describe(argument) for argument in arguments]
        place = next(argument for argument in arguments if isinstance(argument, Tensor)).device
        if workspace_bytes:
            workspace = torch.empty(workspace_bytes(*described), dtype=torch.uint8, device=place)
            described.append(_describe(workspace))
        function(*described, *(_threads() if device == "cpu" else _stream(place)))

    return kernel


def _triton(name: str) -> Kernel | None:
    """Kernel `name` of `fv2v_kernels/triton/`, imported at its first use: importing this package never does.

    None without a GPU or without triton; `TRITON_INTERPRET=1` stands in for the GPU, for tests.
    """
    source = f"fv2v_kernels.triton.{name.removesuffix('_backward')}"
    if not (torch.cuda.is_available() or INTERPRETED) or importlib.util.find_spec("triton") is None:
        return None
    if importlib.util.find_spec(source) is None:
        return None

    def kernel(*arguments: Any) -> None:
        getattr(importlib.import_module(source), name)(*arguments)

    return kernel


def _describe(value: Any) -> Any:
    if isinstance(value, Tensor):
        dtype = DTYPES.get(value.dtype, 0)  # a workspace is bytes: its dtype is not looked at
        if not value.data_ptr() and value.numel():
            raise ValueError(f"expected a tensor with memory, got one of shape {tuple(value.shape)} without")
        return value.data_ptr(), dtype, tuple(value.shape), value.stride()
    return value


def _threads() -> tuple[int]:
    return (torch.get_num_threads(),)


def _stream(device: torch.device) -> tuple[int, int]:
    index = torch.cuda.current_device() if device.index is None else device.index
    return index, torch.cuda.current_stream(index).cuda_stream
