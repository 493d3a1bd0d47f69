# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels on a machine without a GPU: g++ compiles csrc/*/cuda.cu against a stand-in cuda_runtime.h,
and the threads of a block become fibers that take turns on the CPU.

test_cuda_on_cpu.py says what that proves. By hand: `python tests/support/cuda_on_cpu FOLDER` builds the
module there, and `FV2V_CUDA_ON_CPU=FOLDER pytest tests/kernels/test_warp3d.py -k cpu-cuda` runs tests on it.
Compiler flags may follow the folder: `-fsanitize=address,undefined` finds reads and writes out of bounds, of
shared memory too; then also set `LD_PRELOAD=$(g++ -print-file-name=libasan.so)` and
`ASAN_OPTIONS=detect_leaks=0`.
"""

import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MODULE = f"_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"
KERNELS = sorted(ROOT.glob("csrc/*/cuda.cu"))
BUILT = os.environ.get("FV2V_CUDA_ON_CPU")  # the folder of a built module
FLAGS = (
    "-x c++ -std=c++17 -O1 -fno-strict-aliasing -g1 -fPIC -fvisibility=hidden "
    "-fsanitize=alignment -fno-sanitize-recover=alignment "
    "-Wall -Wno-unknown-pragmas -Wno-psabi "
    """-DFV2V_CUDA_VERSION='"none"' -DFV2V_CUDA_ARCHS='""'"""
)


def build(folder: Path, more_flags: str = "") -> None:
    """Compile every kernel and the bindings into a module `_cuda` in `folder`."""
    import pybind11

    def compile_one(source: Path) -> str:
        made = str(folder / "_".join(source.relative_to(ROOT).with_suffix(".o").parts))
        folders = [HERE, ROOT / "csrc", pybind11.get_include(), sysconfig.get_paths()["include"]]
        includes = [f"-I{include}" for include in folders]
        _run("g++", *shlex.split(f"{FLAGS} {more_flags}"), *includes, "-c", str(source), "-o", made)
        return made

    sources = [*KERNELS, ROOT / "csrc/bindings_cuda.cpp", HERE / "runtime.cpp"]
    with ThreadPoolExecutor(os.cpu_count()) as compilers:
        objects = list(compilers.map(compile_one, sources))
    _run(
        "g++",
        "-shared",
        "-fsanitize=alignment",
        *shlex.split(more_flags),
        *objects,
        "-o",
        str(folder / MODULE),
    )


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}\n{done.stderr}")


def install(folder: Path) -> None:
    """Let `cuda` be a backend of CPU tensors in this process, before it needs a kernel."""
    spec = importlib.util.spec_from_file_location("fv2v_kernels._cuda", folder / MODULE)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["fv2v_kernels._cuda"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from fv2v_kernels import _backends, _native

    with mock.patch("torch.cuda.is_available", return_value=True):
        assert _native.module("cuda") is module  # and stays so: this is looked up once
    _backends.BACKENDS["cpu"] = (*_backends.BACKENDS["cpu"], "cuda")
    _native._stream = lambda device: (1, 0x5EED)  # as runtime.cpp expects it


if BUILT:
    install(Path(BUILT))
