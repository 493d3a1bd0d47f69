# SPDX-License-Identifier: Apache-2.0
"""CUDA kernels without a GPU: nvcc compiles every .cu for every target, and nothing spills to memory; and the
loads that the mask kernels wait for, in machine code.
"""

import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path

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

LOADING = ("compose_warp", "compose_flow")  # compose_warp's kernels are mask_head's, too
INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+ )?([A-Z0-9_.]+)")
LEAST = 6  # of the seven taps


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


def disassembler() -> str:
    """cuobjdump, of a CUDA toolkit or of triton."""
    triton = pytest.importorskip("triton", reason="triton is not installed: install the extra `test`")
    bundled = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    found = shutil.which("cuobjdump") or (str(bundled) if bundled.exists() else None)
    if found is None:
        pytest.skip("no cuobjdump: machine code cannot be read")
    return found


def loads_before_a_sum(code: str) -> int:
    """The most loads under a condition, a voxel outside has no taps, that no arithmetic and no branch parts,
    and whose results are added then.
    """
    most = run = 0
    for condition, name in INSTRUCTION.findall(code):
        kind = name.partition(".")[0]
        if kind == "LDG" and condition:
            run += 1
        elif kind in ("FADD", "DADD"):
            most, run = max(most, run), 0
        elif kind in ("FFMA", "FMUL", "DFMA", "DMUL", "BRA", "BAR", "STS"):
            run = 0
    return most


@pytest.mark.slow
@pytest.mark.parametrize("op", LOADING)
def test_taps_are_loaded_one_behind_the_other(nvcc, op: str, tmp_path: Path) -> None:
    reader, made = disassembler(), tmp_path / "kernel.cubin"
    command = [nvcc.path, "-O3", "-std=c++17", "-arch=sm_90", "-cubin", f"-I{ROOT / 'csrc'}"]
    subprocess.run([*command, str(FILES[op]), "-o", str(made)], check=True, capture_output=True)
    text = subprocess.run([reader, "-sass", str(made)], check=True, capture_output=True, text=True).stdout
    functions = re.split(r"Function : ", text)[1:]
    found = {name: loads_before_a_sum(code) for name, _, code in (each.partition("\n") for each in functions)}
    masks = {name: loads for name, loads in found.items() if f"{op}_" in name}
    assert len(masks) >= 7
    assert min(masks.values()) >= LEAST, masks
