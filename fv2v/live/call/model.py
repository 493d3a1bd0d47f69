# SPDX-License-Identifier: Apache-2.0
"""What gives motion its meaning, as a number that two sides can compare."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from fv2v.checkpoints import in_folder, shipped
from fv2v.io.digest import sha256_of
from fv2v.reenactor import Reenactor


def model_digest(reenactor: Reenactor) -> str:
    """64 hexadecimal digits of a preset's config and of the bytes of its weights' files.

    Equal weights in files of another format count as others.
    """
    weights = reenactor.weights
    if weights is None:
        weights = shipped(reenactor.config)
    if weights == "random":
        files = ["random"]
    else:
        paths = [Path(weights)] if isinstance(weights, str | os.PathLike) else map(Path, weights)
        folders = [in_folder(path) if path.is_dir() else [path] for path in paths]
        files = sorted(sha256_of(file) for folder in folders for file in folder)
    meaning = json.dumps([asdict(reenactor.config), files], sort_keys=True, default=str)
    return hashlib.sha256(meaning.encode()).hexdigest()
