# SPDX-License-Identifier: Apache-2.0
"""What identifies the content of a file or folder."""

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


def sha256_of_all(path: Path) -> str:
    """The same of a file; of a folder that of the names and digests of the files in it."""
    if not path.is_dir():
        return sha256_of(path)
    digest = hashlib.sha256()
    for each in sorted(path.iterdir()):
        if each.is_file():
            digest.update(f"{sha256_of(each)} {each.name}\n".encode())
    return digest.hexdigest()
