# SPDX-License-Identifier: Apache-2.0
"""_cpu under AddressSanitizer and UndefinedBehaviorSanitizer: the operators' own tests on a build of its own.

By hand: `pytest --slow tests/kernels/builds/test_sanitizers.py`. The sanitized module stands in a copy of the
installed package that comes first on the path; sanitizers are loaded before Python, so that they see torch's
memory, too.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

import fv2v_kernels
from fv2v_kernels import OPS

COMPILER = shlex.split(os.environ.get("CXX", "g++"))
FLAGS = "-O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
# a clone for a newer processor is chosen while the module loads, before AddressSanitizer is ready
FLAGS += " -DFV2V_NO_CLONES"
pytestmark = pytest.mark.slow
CHOSEN = "(cpu-cpu and not compiles) or (is_the_convolution and cpu-)"  # the kernels, in C++ alone
DESCRIBE = """
import torch
from fv2v_kernels import _cpu
from fv2v_kernels._native import DTYPES
alive = []
def describe(tensor, shape, offset=0):
    alive.append(tensor)
    strides = torch.empty(shape, device="meta").stride()
    return tensor.data_ptr() + offset, DTYPES[tensor.dtype], tuple(shape), strides
keypoints = describe(torch.zeros(1, 4, 3), (1, 4, 3))
"""


def libraries() -> list[str]:
    """The sanitizers, and what their hooks into C++ exceptions look for; or no test without them."""
    found = []
    for name in ("libasan.so", "libubsan.so", "libstdc++.so"):
        asked = subprocess.run(
            [*COMPILER, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        )
        found.append(asked.stdout.strip())
    absent = [path for path in found if not Path(path).is_absolute()]
    if absent:
        message = f"{COMPILER[0]} has no {' and no '.join(absent)}: install GCC's sanitizers"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of processes in which `fv2v_kernels._cpu` is the sanitized one."""
    loaded = libraries()
    folder = tmp_path_factory.mktemp("sanitized")
    installed = Path(fv2v_kernels.__file__).parent
    shutil.copytree(
        installed, folder / "lib/fv2v_kernels", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    command = [sys.executable, "setup.py", "build_ext", "--build-lib", str(folder / "lib")]
    subprocess.run(
        [*command, "--build-temp", str(folder / "build")],
        cwd=ROOT,
        env=os.environ | {"FV2V_CUDA": "0", "FV2V_CXX_FLAGS": FLAGS},
        check=True,
        timeout=600,
    )
    paths = [str(folder / "lib"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "LD_PRELOAD": " ".join(loaded),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python frees little when it ends
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900
    )


@pytest.mark.parametrize(
    ("call", "caught"),
    [
        ("out = describe(torch.zeros(119), (1, 5, 2, 2, 2, 3))", "heap-buffer-overflow"),
        ("out = describe(torch.zeros(121), (1, 5, 2, 2, 2, 3), offset=2)", "misaligned address"),
        ("out = describe(torch.zeros(120), (1, 5, 2, 2, 2, 3))", ""),
    ],
    ids=["one float too short", "between two floats", "nothing wrong"],
)
def test_the_sanitizers_are_awake(environment: dict[str, str], call: str, caught: str) -> None:
    """They catch the module's own loops, over torch's memory, at a tensor that is not there."""
    kernel = "_cpu.keypoint_flow(out, keypoints, keypoints, None, [2, 2, 2], 1)"
    done = run(environment, "-c", f"{DESCRIBE}\n{call}\n{kernel}\nprint('done')")
    assert (done.returncode == 0) == (not caught), done.stderr
    assert caught in done.stderr
    assert ("done" in done.stdout) == (not caught)


def test_the_operators_pass_their_tests(environment: dict[str, str]) -> None:
    """Without those of torch.compile, whose kernels are not ours; and fewer random calls than elsewhere."""
    files = [str(ROOT / f"tests/kernels/test_{name}.py") for name in (*OPS, "winograd_conv", "differential")]
    environment = environment | {"FV2V_CASES": "300"}
    # what a sanitizer says before it ends the process must not end in pytest's own files
    options = ["-v", "-x", "--capture=sys", "-p", "no:cacheprovider", "-m", "slow or not slow", "-k", CHOSEN]
    done = run(environment, "-m", "pytest", *options, *files)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[:5000]
    print(done.stdout.splitlines()[-1])
