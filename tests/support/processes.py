# SPDX-License-Identifier: Apache-2.0
"""Test files run once more in processes of their own, and what those share."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from places import ROOT, TESTS


def run_file(file: str, select: str, **environment: str) -> str:
    """What pytest prints for a file's tests that `select` (its -k) takes; none may fail."""
    options = ["-q", "-k", select, "-m", "slow or not slow", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(TESTS / file)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def through_a_shell(command: list[str]) -> list[str]:
    """The same, for what looks at its own memory, whose peak begins at that of the process it comes from."""
    return ["sh", "-c", '"$@"; exit $?', "sh", *command]


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` fills, the same in every process that runs tests of this session."""
    shared = factory.getbasetemp()
    if shared.name.startswith("popen-"):  # a worker's of pytest-xdist
        shared = shared.parent
    folder = shared / name
    with FileLock(shared / f"{name}.lock"):
        if not folder.exists():
            folder.mkdir()
            make(folder)
    return folder
