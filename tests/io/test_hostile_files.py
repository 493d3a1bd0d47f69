# SPDX-License-Identifier: Apache-2.0
"""Files that would take gigabytes, hang or crash: each is refused in one line, in little time and memory."""

import json
import os
import subprocess
import sys
from typing import Any

import hostile_cases
import pytest
from places import ROOT, SUPPORT
from processes import make_once

SECONDS, MEGABYTES = 5, 1024
LIBPNG = "libpng "  # how lines begin that libpng prints past OpenCV, which offers no way to stop it
SKIPPED = ": skipped: "  # in lines about videos that training passes over


@pytest.fixture(scope="module")
def readings(tmp_path_factory) -> dict[str, dict[str, dict[str, Any]]]:
    """By reader and name of the case; in processes of their own (hostile_reading.py)."""

    def read_all(folder) -> None:
        (folder / "files").mkdir()
        command = [sys.executable, SUPPORT / "hostile_reading.py", folder / "files", folder / "results.json"]
        environment = os.environ | {"PYTHONPATH": str(SUPPORT)}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=1200)

    results = make_once(tmp_path_factory, "hostile", read_all) / "results.json"
    return json.loads(results.read_text())


def test_there_are_enough():
    assert sum(map(len, hostile_cases.CASES.values())) > 450


@pytest.mark.slow
@pytest.mark.parametrize("reader", hostile_cases.CASES)
def test_hostile_files_are_refused_in_one_line(readings, reader):
    wrong = {}
    for name, found in readings[reader].items():
        said = [line for line in found["said"].splitlines() if not line.startswith(LIBPNG)]
        lines = [line for line in said if SKIPPED not in line]
        named = len(lines) == 1 and lines[0].startswith("fv2v: ") and name.partition(".")[0] in lines[0]
        cheap = found["seconds"] <= SECONDS and found["megabytes"] <= MEGABYTES
        if not (found["code"] == 2 and named and all(map(str.isprintable, said)) and cheap):
            wrong[name] = found
    assert not wrong
    assert readings[reader].keys() == hostile_cases.CASES[reader].keys()
