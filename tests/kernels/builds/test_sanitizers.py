# SPDX-License-Identifier: Apache-2.0
"""_cpu under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer: the operators' own tests
on builds of their own.

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
THREAD_FLAGS = "-O1 -g1 -fno-omit-frame-pointer -fsanitize=thread -DFV2V_NO_CLONES"
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


def libraries(*names: str) -> list[str]:
    """The sanitizers, and what their hooks into C++ exceptions look for; or no test without them."""
    found = []
    for name in (*names, "libstdc++.so"):
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


def build(folder: Path, flags: str, loaded: list[str], **options: str) -> dict[str, str]:
    """The environment of processes in which `fv2v_kernels._cpu` is a sanitized one."""
    installed = Path(fv2v_kernels.__file__).parent
    shutil.copytree(
        installed, folder / "lib/fv2v_kernels", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    command = [sys.executable, "setup.py", "build_ext", "--build-lib", str(folder / "lib")]
    subprocess.run(
        [*command, "--build-temp", str(folder / "build")],
        cwd=ROOT,
        env=os.environ | {"FV2V_CUDA": "0", "FV2V_CXX_FLAGS": flags},
        check=True,
        timeout=600,
    )
    paths = [str(folder / "lib"), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, paths))
    return os.environ | {"PYTHONPATH": path, "LD_PRELOAD": " ".join(loaded), **options}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return build(
        tmp_path_factory.mktemp("sanitized"),
        FLAGS,
        libraries("libasan.so", "libubsan.so"),
        ASAN_OPTIONS="detect_leaks=0",  # Python frees little when it ends
        UBSAN_OPTIONS="print_stacktrace=1",
    )


@pytest.fixture(scope="module")
def threaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where ThreadSanitizer looks at our loops, not at torch's, whose barriers it does not know."""
    return build(
        tmp_path_factory.mktemp("threads"),
        THREAD_FLAGS,
        libraries("libtsan.so"),
        # names of functions take minutes: addr2line has those of the first report, which ends the process
        TSAN_OPTIONS="ignore_noninstrumented_modules=1 halt_on_error=1 symbolize=0",
    )


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


TOGETHER = """
import threading, torch
from fv2v_kernels import compose_warp, modulate, soft_argmax3d, warp3d, winograd_conv
torch.set_num_threads(3)
f, l, kp = torch.randn(2, 8, 8, 24, 24), torch.randn(2, 6, 8, 24, 24), torch.rand(2, 5, 3)
w, p = torch.randn(16, 8, 3, 3, 3), torch.randn(3, 2, 16, 48, 48)
def work():
    for _ in range(3):
        leaves = [each.clone().requires_grad_() for each in (f, l, kp)]
        compose_warp(*leaves, kp, align_corners=True, backend="cpu").sum().backward()
        warp3d(f, torch.rand(2, 8, 24, 24, 3), align_corners=False, backend="cpu")
        winograd_conv(f, w, torch.zeros(16), backend="cpu")
        modulate(*p, backend="cpu"), soft_argmax3d(l, temperature=0.1, backend="cpu")
callers = [threading.Thread(target=work) for _ in range(3)]
[each.start() for each in callers], [each.join() for each in callers]
"""
RACE = """
import threading
out = describe(torch.zeros(5 * 65536 * 3), (1, 5, 16, 64, 64, 3))
write = lambda: _cpu.keypoint_flow(out, keypoints, keypoints, None, [16, 64, 64], 1)
callers = [threading.Thread(target=write) for _ in range(2)]
[each.start() for each in callers], [each.join() for each in callers]
"""


@pytest.mark.parametrize(("code", "races"), [(RACE, True), (TOGETHER, False)], ids=["a race", "operators"])
def test_threads_share_nothing(threaded: dict[str, str], code: str, races: bool) -> None:
    """Threads of a call, and calls of several threads; two that are given one result are caught."""
    done = run(threaded, "-c", (DESCRIBE if races else "") + code)
    assert ("ThreadSanitizer: data race" in done.stderr) == races, done.stderr[-5000:]
    assert (done.returncode != 0) == races, done.stderr[-5000:]


def test_the_threads_of_a_call_share_nothing(threaded: dict[str, str]) -> None:
    files = [str(ROOT / f"tests/kernels/test_{name}.py") for name in (*OPS, "winograd_conv")]
    options = ["-x", "--capture=sys", "-p", "no:cacheprovider", "-m", "slow or not slow"]
    chosen = "(same_bits_every_run and cpu-cpu) or depends_on_no_thread_count"
    done = run(threaded, "-m", "pytest", *options, "-k", chosen, *files)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[:5000]
    assert f"{len(OPS) + 1} passed" in done.stdout
