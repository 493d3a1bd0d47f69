# SPDX-License-Identifier: Apache-2.0
"""CUDA kernels without a GPU: nvcc compiles every .cu for every target, and nothing spills to memory."""

import os
import re
import runpy
import subprocess

import pytest
from places import ROOT

FILES = {path.parent.name: path for path in sorted(ROOT.glob("csrc/*/cuda.cu"))}
SOURCES = [  # by default one operator
    pytest.param(path, id=op, marks=[] if op == "keypoint_flow" else pytest.mark.slow)
    for op, path in FILES.items()
]
COMPILED = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
SPILLED = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")


@pytest.fixture(scope="module")
def nvcc():
    build = runpy.run_path(str(ROOT / "setup.py"), run_name="build")
    path = build["find_nvcc"]()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("CI must compile the CUDA kernels: install nvcc, or unset FV2V_CUDA")
        pytest.skip("no nvcc: the CUDA kernels were not compiled")
    return build["Nvcc"](path)


@pytest.mark.parametrize("source", SOURCES)
def test_compiles_for_every_target_without_spills(nvcc, source, tmp_path, capsys):
    command = [nvcc.path, "-O3", "-std=c++17", "-Xptxas", "-v", "--threads", "2", *nvcc.targets.split()]
    command += [f"-I{ROOT / 'csrc'}", "-c", str(source), "-o", str(tmp_path / "kernel.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = done.stdout + done.stderr
    kernels, frames = COMPILED.findall(report), SPILLED.findall(report)
    registers = list(map(int, REGISTERS.findall(report)))
    assert {target for _, target in kernels} == {f"sm_{arch}" for arch in nvcc.archs}
    assert len(frames) >= len(kernels)
    assert len(registers) == len(kernels)
    with capsys.disabled():
        print(
            f"\n{source.parent.name}: {len(kernels)} kernels for {', '.join(nvcc.archs)}, "
            f"{min(registers)} to {max(registers)} registers, none spills"
        )
    spilling = [line for line in SPILLED.finditer(report) if line.group(2) != "0" or line.group(3) != "0"]
    assert not spilling, report
