"""Test files run once more in processes of their own, as many at a time as there are cores."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from places import ROOT, TESTS


def run_file(file: str, select: str, **environment: str) -> str:
    """What pytest prints for a file's tests that `select` (its -k) takes; none may fail."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", select, "-p", "no:cacheprovider", str(TESTS / file)],
        cwd=ROOT,
        # they share the cores as processes
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@contextmanager
def running(request: pytest.FixtureRequest, run: Callable[[str], str]) -> Iterator[dict[str, Future[str]]]:
    """`run(file)` on its way for each `file` that the selected tests of this module have as a parameter."""
    items = [item for item in request.session.items if item.path == request.path]
    files = [item.callspec.params["file"] for item in items]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {file: pool.submit(run, file) for file in files}
        pool.shutdown(cancel_futures=True)
