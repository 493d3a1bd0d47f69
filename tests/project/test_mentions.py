# SPDX-License-Identifier: Apache-2.0
"""Python files that docstrings and comments name exist in the checkout."""

import re
from pathlib import Path

import pytest
from places import ROOT

FOLDERS = ("fv2v", "fv2v_kernels", "csrc", "benches", "tests")
KINDS = {".py", ".cpp", ".cu", ".h", ".cuh"}
NAME = re.compile(r"(?<![\w*{./-])(?:[\w-]+/)*[\w-]+\.py\b")
ELSEWHERE = {  # files that a test makes, and one of another package, beside the file that names them
    ("tests/diagnostics/test_bench_results.py", "bench_sum.py"),
    ("tests/diagnostics/test_bench_results.py", "rich.py"),
    ("tests/kernels/test_signatures.py", "right.py"),
    ("tests/kernels/test_signatures.py", "wrong.py"),
    ("tests/project/test_gpu_script.py", "test_suite.py"),
}

FILES = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*") if p.suffix in KINDS)
KNOWN = [f"/{path.relative_to(ROOT)}" for path in [*FILES, ROOT / "setup.py"]]
FILES.remove(Path(__file__))


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_python_file_that_is_named_exists(folder):
    absent = {
        (str(path.relative_to(ROOT)), name)
        for path in FILES
        if path.is_relative_to(ROOT / folder)
        for name in NAME.findall(path.read_text())
        if not any(known.endswith(f"/{name}") for known in KNOWN)
    }
    assert sorted(absent - ELSEWHERE) == []
