"""The loads that the mask kernels wait for, in machine code, which can be read without a GPU."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from places import ROOT
from test_cuda_compile import FILES, nvcc  # noqa: F401  the fixture

TARGET = "90"
OPERATORS = ("compose_warp", "compose_flow")  # compose_warp's kernels are mask_head's, too
INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+ )?([A-Z0-9_.]+)")
LEAST = 6  # of the seven taps


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
@pytest.mark.parametrize("op", OPERATORS)
def test_taps_are_loaded_one_behind_the_other(nvcc, op: str, tmp_path: Path) -> None:  # noqa: F811
    reader, made = disassembler(), tmp_path / "kernel.cubin"
    command = [nvcc.path, "-O3", "-std=c++17", f"-arch=sm_{TARGET}", "-cubin", f"-I{ROOT / 'csrc'}"]
    subprocess.run([*command, str(FILES[op]), "-o", str(made)], check=True, capture_output=True)
    text = subprocess.run([reader, "-sass", str(made)], check=True, capture_output=True, text=True).stdout
    functions = re.split(r"Function : ", text)[1:]
    found = {name: loads_before_a_sum(code) for name, _, code in (each.partition("\n") for each in functions)}
    masks = {name: loads for name, loads in found.items() if f"{op}_" in name}
    assert len(masks) >= 7
    assert min(masks.values()) >= LEAST, masks
