# SPDX-License-Identifier: Apache-2.0
"""setup.py itself, on a tree whose kernels are one function each: compilers take seconds."""

import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile

import pytest
from places import ROOT

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
MODULE = """
#include <Python.h>
#include "tiny/answer.h"
int answer();
static PyModuleDef module = {{PyModuleDef_HEAD_INIT, "{name}", nullptr, -1, nullptr}};
PyMODINIT_FUNC PyInit_{name}() {{
  PyObject* made = PyModule_Create(&module);
  PyModule_AddIntConstant(made, "answer", answer());
  PyModule_AddStringConstant(made, "archs", {archs});
  return made;
}}
"""
pytestmark = pytest.mark.skipif(
    not runpy.run_path(str(ROOT / "setup.py"), run_name="build")["extensions"](),
    reason="kernels are compiled for Linux on x86-64 only",
)


@pytest.fixture
def tree(tmp_path):
    """A package that builds fast, in a folder whose name has a space."""
    tree = tmp_path / "a clone"
    (tree / "csrc/tiny").mkdir(parents=True)
    (tree / "fv2v_kernels").mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    (tree / "fv2v_kernels/__init__.py").touch()
    (tree / "csrc/tiny/answer.h").write_text("constexpr int ANSWER = 42;\n")
    (tree / "csrc/tiny/cpu.cpp").write_text('#include "tiny/answer.h"\nint answer() { return ANSWER; }\n')
    (tree / "csrc/bindings_cpu.cpp").write_text(MODULE.format(name="_cpu", archs='""'))
    return tree


def build(tree, *options, **environment):
    command = [sys.executable, "setup.py", "build_ext", *options]
    return subprocess.run(
        command, cwd=tree, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )


def load(path):
    spec = importlib.util.spec_from_file_location(path.name.split(".")[0], path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_cpu_build_says_so_and_leaves_no_stale_cuda_module(tree):
    stale = tree / "fv2v_kernels" / f"_cuda{SUFFIX}"
    stale.touch()
    done = build(tree, "--inplace", FV2V_CUDA="0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "building the CPU kernels only" in done.stdout
    assert not stale.exists()
    assert load(tree / "fv2v_kernels" / f"_cpu{SUFFIX}").answer == 42


def test_a_cpu_wheel_ships_no_stale_cuda_module_and_spares_the_one_in_the_tree(tree):
    in_place = tree / "fv2v_kernels" / f"_cuda{SUFFIX}"
    stale = tree / "built/fv2v_kernels" / f"_cuda{SUFFIX}"
    stale.parent.mkdir(parents=True)
    in_place.touch()
    stale.touch()
    done = build(tree, "--build-lib", "built", FV2V_CUDA="0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in stale.parent.iterdir()] == [f"_cpu{SUFFIX}"]
    assert in_place.exists()


def test_a_header_that_changes_is_compiled_again(tree):
    build(tree, "--inplace", FV2V_CUDA="0")
    (tree / "csrc/tiny/answer.h").write_text("constexpr int ANSWER = 43;\n")
    done = build(tree, "--build-lib", "built", FV2V_CUDA="0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert load(tree / "built/fv2v_kernels" / f"_cpu{SUFFIX}").answer == 43


@pytest.mark.parametrize(
    ("script", "mode", "said"),
    [
        ("#!/bin/sh\necho no license for this machine >&2\nexit 1\n", 0o755, "no license for this machine"),
        ("#!/bin/sh\nexit 0\n", 0o644, "Permission denied"),
    ],
    ids=["fails", "not executable"],
)
def test_a_broken_nvcc_fails_the_build_and_says_what_to_do(tree, script, mode, said):
    nvcc = tree / "toolkit/bin/nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(script)
    nvcc.chmod(mode)
    done = build(tree, "--inplace", FV2V_CUDA="1", CUDA_HOME=str(tree / "toolkit"))
    assert done.returncode == 1
    assert said in done.stderr
    assert str(nvcc) in done.stderr
    assert "set FV2V_CUDA=0 for a CPU build" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tree.glob(f"fv2v_kernels/*{SUFFIX}"))


def test_both_modules_build_with_nvcc(tree):
    find_nvcc = runpy.run_path(str(ROOT / "setup.py"), run_name="build")["find_nvcc"]
    if find_nvcc() is None:
        if os.environ.get("CI"):
            pytest.fail("CI must build the CUDA module: install nvcc, or unset FV2V_CUDA")
        pytest.skip("no nvcc: the CUDA module was not built")
    cuda = '#include "tiny/answer.h"\n__global__ void kernel(int* out) { *out = ANSWER; }\n'
    (tree / "csrc/tiny/cuda.cu").write_text(cuda + "int answer() { return ANSWER; }\n")
    (tree / "csrc/bindings_cuda.cpp").write_text(MODULE.format(name="_cuda", archs="FV2V_CUDA_ARCHS"))
    done = build(tree, "--inplace", FV2V_CUDA_ARCHS="80;90;999")
    assert done.returncode == 0, done.stdout + done.stderr
    made = load(tree / "fv2v_kernels" / f"_cuda{SUFFIX}")
    assert (made.answer, made.archs) == (42, "80 90")
    assert load(tree / "fv2v_kernels" / f"_cpu{SUFFIX}").answer == 42


def test_the_sdist_holds_all_that_a_build_needs(tmp_path):
    """Of the real tree, copied so that no metadata is left in it."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("csrc", "fv2v", "fv2v_kernels"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    command = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", command, str(tmp_path)], cwd=tree, check=True, capture_output=True)
    (archive,) = tmp_path.glob("fv2v-*.tar.gz")
    with tarfile.open(archive) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}
    needed = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    # manuals and their pictures are for readers of the checkout
    needed = {
        name
        for name in needed
        if ".egg-info" not in name and not name.endswith(("/README.md", ".jpg", ".png", ".webp"))
    }
    assert len([name for name in needed if name.startswith("csrc/")]) > 20
    assert needed <= packed, f"not in the sdist: {sorted(needed - packed)}"
