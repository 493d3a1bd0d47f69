# SPDX-License-Identifier: Apache-2.0
"""When kernels are looked for, and what is said where they are missing."""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

import fv2v_kernels
from fv2v_kernels import _native, available
from fv2v_kernels._op import define

FOLDER = Path(fv2v_kernels.__file__).parent
USE = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import torch, fv2v_kernels
    print(fv2v_kernels.__file__)
    fv2v_kernels.modulate(*torch.ones(3, 1, 1, 2, 2), backend="reference")
    print(len([each for each in caught if "fv2v_kernels" in str(each.message)]))
    for _ in range(2):
        fv2v_kernels.modulate(*torch.ones(3, 1, 1, 2, 2))
        fv2v_kernels.available("warp3d", "cpu")
    for each in caught:
        if "fv2v_kernels" in str(each.message):
            print(each.category.__name__, each.message)
"""
compiled_here = pytest.mark.skipif(
    not (FOLDER / f"_cpu{EXTENSION_SUFFIXES[0]}").exists(), reason="on this platform stock PyTorch serves"
)


@pytest.fixture(autouse=True)
def _looked_for_anew() -> Iterator[None]:
    """Which compiled modules there are is found out in each test, and after the last."""
    _native.module.cache_clear()
    yield
    _native.module.cache_clear()


@pytest.mark.parametrize(
    ("name", "gpu", "devices", "has_cuda"),
    [
        ("test_gpu", True, 1, True),
        ("test_old_driver", True, 0, False),
        ("test_no_gpu", False, 1, False),
    ],
)
@pytest.mark.filterwarnings("ignore:fv2v_kernels._cuda was built with CUDA")
def test_the_gpu_is_looked_for_at_the_first_need(monkeypatch, name, gpu, devices, has_cuda):
    """What changes between the import and that, CUDA_VISIBLE_DEVICES or a fork, counts."""

    def refuse() -> bool:
        raise AssertionError("CUDA was asked for something")

    monkeypatch.setattr(torch.cuda, "is_available", refuse)
    define(f"{name}(Tensor x) -> Tensor", shapes={}, reference=torch.clone, fake=torch.empty_like)
    built = ModuleType("fv2v_kernels._cuda")
    built.__spec__ = ModuleSpec(built.__name__, None)
    vars(built).update(
        {"cuda_version": "13.0", "archs": "80", "device_count": lambda: devices, name: lambda *_: None}
    )
    monkeypatch.setitem(sys.modules, built.__name__, built)
    if not _native.INTERPRETED:  # there CPU tensors may ask for triton, too
        assert available(name, "cpu")[-1] == "reference"
        assert getattr(torch.ops.fv2v, name)(torch.ones(2), "").tolist() == [1, 1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert available(name, "cuda") == [*(["cuda"] if has_cuda else []), "reference"]


@pytest.mark.parametrize(
    ("capabilities", "offered"),
    [
        ([(8, 0)], True),
        ([(8, 6)], True),  # of the same generation
        ([(9, 0), (12, 1)], True),  # later than the newest, by its PTX
        ([(7, 5)], True),
        ([(7, 0)], False),
        ([(8, 0), (6, 1)], False),
    ],
)
def test_cuda_is_offered_where_every_gpu_has_code(monkeypatch, capabilities, offered):
    built = ModuleType("fv2v_kernels._cuda")
    built.__spec__ = ModuleSpec(built.__name__, None)
    vars(built).update({"archs": "75 80 90", "device_count": lambda: len(capabilities)})
    monkeypatch.setitem(sys.modules, built.__name__, built)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda i: capabilities[i])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"GPU {i}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert (_native.module("cuda") is built) == offered
    last = "sm_{}{}".format(*capabilities[-1])
    said = (
        f"code for sm_75, sm_80, sm_90 and later, none for GPU {len(capabilities) - 1} ({last}): using Triton"
    )
    assert [said in str(each.message) for each in caught] == [True] * (not offered)


def test_kernels_work_on_the_tensors_device_and_its_current_stream(monkeypatch):
    """Not on device 0 and the default stream, which one GPU without other streams would not tell apart."""
    streams = {0: SimpleNamespace(cuda_stream=11), 1: SimpleNamespace(cuda_stream=22)}
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index: streams[index])
    seen: list[tuple[object, ...]] = []
    built = ModuleType("fv2v_kernels._cuda")
    built.__spec__ = ModuleSpec(built.__name__, None)
    vars(built).update({"probe": lambda *given: seen.append(given)})
    monkeypatch.setattr(_native, "module", lambda device: built)
    kernel = _native.find("probe", "cuda")
    assert kernel is not None
    for device in ("cuda:1", "cuda"):
        place = torch.device(device)
        # no tensor of a GPU's without one: the kernel asks for no more of it than `_describe` and its device
        monkeypatch.setattr(_native, "_describe", lambda given: given)
        kernel(_OnDevice(torch.empty(0), place))
    assert [given[1:] for given in seen] == [(1, 22), (0, 11)]


class _OnDevice(torch.Tensor):
    """Says it is elsewhere."""

    def __new__(cls, tensor: torch.Tensor, device: torch.device) -> "_OnDevice":
        made = tensor.as_subclass(cls)
        made.told = device
        return made

    @property
    def device(self) -> torch.device:
        return self.told


@compiled_here
def test_a_checkout_that_was_not_built_warns_once_and_says_what_to_do(tmp_path):
    """As a Python finds it that is started in the checkout's root."""
    folder = tmp_path / "fv2v_kernels"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("_cpu.*", "_cuda.*", "__pycache__"))
    done = subprocess.run(
        [sys.executable, "-B", "-c", USE],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    origin, before, *warned = done.stdout.splitlines()
    assert Path(origin).parent == folder
    assert before == "0"  # neither the import nor the reference needs compiled kernels
    (warning,) = warned
    assert warning.startswith(f"UserWarning fv2v_kernels was imported from {folder}, which holds no compiled")
    assert "`pip install .`" in warning
    assert "`pip install -e .`" in warning


@compiled_here
@pytest.mark.parametrize("elsewhere", [False, True], ids=["hidden from the import", "another platform"])
def test_no_other_place_warns(monkeypatch, tmp_path, elsewhere):
    """Not where the file is there and a test hides it, nor where no build has one: setup.py says so once."""
    if elsewhere:
        monkeypatch.setattr(platform, "machine", lambda: "riscv64")
        monkeypatch.setattr(_native, "FOLDER", tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _native.module("cpu") is None
