# SPDX-License-Identifier: Apache-2.0
"""Bytes of all kinds, found by coverage: nothing but a CodecError."""

import subprocess
import sys

import pytest
from places import TESTS

RUNS = 40_000  # some three minutes; 200,000 took 13


@pytest.mark.slow
def test_only_the_documented_error():
    command = [sys.executable, str(TESTS / "support" / "fuzz_codec.py"), str(RUNS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, cwd=TESTS / "support")
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"Done {RUNS}" in done.stderr
