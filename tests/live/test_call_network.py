# SPDX-License-Identifier: Apache-2.0
"""Two `fv2v call` processes, each in a network namespace of its own, over a network that delays and loses."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from places import ROOT
from wire import Wire


def require_namespaces() -> None:
    """They need root and TUN devices, which some containers refuse."""
    try:
        with Wire():
            pass
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_a_call_over_a_bad_network(tmp_path):
    """100 ± 30 ms each way, 5 % of packets lost, then cut for five seconds: a row of the README."""
    require_namespaces()
    result = tmp_path / "call.json"
    command = [sys.executable, ROOT / "benches/measure_call.py", "--seconds", "10", "--losses", "0.05"]
    measuring = subprocess.Popen(
        [*command, "-o", result], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        _, errors = measuring.communicate(timeout=600)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(measuring.pid, signal.SIGKILL)  # and the two sides, where it was stopped
    assert measuring.returncode == 0, errors
    rows = json.loads(result.read_text())["rows"]
    assert len(rows) == 2
    for row in rows:
        assert row["shown"] > 0.3, row  # by the processor: two renderers, and other tests
        assert 70 < row["latency"][0] <= row["latency"][1], row
        assert 30 < row["motion"] <= 2000, row  # bytes a second, by the processor as well
        assert row["wire"] > row["motion"] + row["sound"], row
        assert abs(row["wire"] / row["carried"] - 1) < 0.2, row  # laps are not cut where the measurement is
        assert 1000 < row["portrait"] < 20_000, row
        assert row["psnr"] > 35, row
        assert row["heard"] > 0.5, row
        assert row["level"] > 0.01, row
        assert row["back"] < 25, row
