# SPDX-License-Identifier: Apache-2.0
"""`fv2v batch` in processes of its own, which are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import batches
import numpy as np

from fv2v.io.hidden import NAME
from fv2v.jobs.results import LINES

COMMAND = [sys.executable, "-m", "fv2v", "batch"]


def start(*arguments: object) -> subprocess.Popen:
    words = [*COMMAND, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a job that a script has put in the background is started with Ctrl-C ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_lines(folder: Path, count: int, process: subprocess.Popen) -> None:
    """Until results.jsonl has so many, or the process ended."""
    while process.poll() is None:
        if (folder / LINES).exists() and (folder / LINES).read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)


def assert_whole(folder: Path, expected: dict[str, bytes], rows: int) -> set[str]:
    """Every clip is what it would be in the end, and every line that is whole tells of one; their names."""
    assert batches.made(folder).items() <= expected.items()
    whole = (folder / LINES).read_bytes().split(b"\n")[:-1] if (folder / LINES).exists() else []
    names = {json.loads(line)["output"] for line in whole}
    assert names <= batches.made(folder).keys()
    return names


def kill_until_done(
    command: list[object], folder: Path, expected: dict[str, bytes], kills: int, seed: int
) -> None:
    """SIGKILL of the driver, then on to the end: no clip is lost that has its line, and none has two."""
    random = np.random.default_rng(seed)
    known: set[str] = set()
    for _ in range(kills):
        process = start(*command)
        wait_for_lines(folder, len(known) + int(random.integers(1, 3)), process)
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        process.communicate()
        after = assert_whole(folder, expected, len(expected))
        assert known <= after
        known = after
    process = start(*command)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, "")
    assert f" {len(known)} kept" in out
    assert batches.made(folder) == expected
    left = [path.name for path in folder.iterdir() if path.name not in expected]
    assert sorted(name for name in left if not NAME.fullmatch(name)) == [".lock", LINES]
    names = [line["id"] for line in batches.lines(folder)]
    assert len(names) == len(set(names)) == len(expected)
