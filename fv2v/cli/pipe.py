# SPDX-License-Identifier: Apache-2.0
"""A film from a pipe: `-` in place of its name."""

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

PIPE = Path("-")


def from_pipe(path: Path) -> Path:
    """`path`; for `-` a file of what stdin holds, which is gone when the process ends.

    A film is read more than once: for its first face, and then to the end. So any container may come, also
    one whose index is at its end.

    Raises:
        ValueError: stdin is a terminal, or empty.
    """
    if path != PIPE:
        return path
    if sys.stdin.isatty():
        raise ValueError("-: expected a film from a pipe, as `... | fv2v reenact SOURCE -`; got a terminal")
    folder = tempfile.TemporaryDirectory(prefix="fv2v-")
    atexit.register(folder.cleanup)
    whole = Path(folder.name) / "stdin"
    with whole.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
    if not whole.stat().st_size:
        raise ValueError("-: expected a film from a pipe, got nothing")
    return whole
