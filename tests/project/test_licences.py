# SPDX-License-Identifier: Apache-2.0
"""Every source file names its licence, and what CI installs is pinned to the byte."""

import re
from pathlib import Path

import pytest
from places import ROOT

LINE = "SPDX-License-Identifier: Apache-2.0"
COMMENTS = {".py": "#", ".sh": "#", "": "#"} | dict.fromkeys((".c", ".cpp", ".cu", ".cuh", ".h"), "//")
FOLDERS = ("fv2v", "fv2v_kernels", "csrc", "benches", "tests")
SOURCES = [
    *(
        each
        for folder in FOLDERS
        for each in (ROOT / folder).rglob("*")
        if each.suffix and each.suffix in COMMENTS
    ),
    *(ROOT / name for name in ("setup.py", ".ci/run", ".ci/lock")),
]


def test_every_source_file_names_its_licence():
    assert len(SOURCES) > 400
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]
    without = []
    for path in SOURCES:
        first, second, *_ = [*path.read_text().splitlines(), "", ""]
        line = second if first.startswith("#!") else first
        if line != f"{COMMENTS[path.suffix]} {LINE}":
            without.append(str(path.relative_to(ROOT)))
    assert sorted(without) == []


def pins(path: Path) -> dict[str, str]:
    """Package and version of each line."""
    found = re.findall(r"^([\w.-]+)==([\w.]+)", path.read_text(), re.M)
    return {name.lower().replace("_", "-"): version for name, version in found}  # without +cpu


def test_ci_installs_what_the_constraints_say():
    constraints, required = pins(ROOT / "constraints.txt"), pins(ROOT / ".ci" / "requirements.txt")
    assert {name: required.get(name) for name in constraints} == constraints, "run .ci/lock"
    lines = (ROOT / ".ci" / "requirements.txt").read_text().splitlines()[1:]
    assert all(re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)


@pytest.mark.parametrize("name", ["setuptools", "pybind11", "ninja"])
def test_what_the_build_requires_is_pinned(name):
    required = (ROOT / "pyproject.toml").read_text().split("requires = ", 1)[1].split("\n")[0]
    assert f'"{name}' in required
    assert name in pins(ROOT / ".ci" / "requirements.txt")
    assert required.count(",") == 2
