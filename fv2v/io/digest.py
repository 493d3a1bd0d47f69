# SPDX-License-Identifier: Apache-2.0
"""What identifies a file's content."""

import hashlib
from pathlib import Path

CHUNK = 1 << 20  # bytes read at once


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
