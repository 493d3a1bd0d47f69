# SPDX-License-Identifier: Apache-2.0
"""The key of a film that is to be made: the same for the same options and the same content of input files."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fv2v.io.digest import sha256_of
from fv2v.io.frame_folder import is_frames
from fv2v.io.image import IMAGE_SUFFIXES
from fv2v.io.stores import is_url, state_of

Inputs = tuple[tuple[str, str], ...]  # paths or URLs, each with what is another text when it has changed


def key_of(command: str, options: Mapping[str, Any], contents: "Contents") -> tuple[str, Inputs]:
    """64 hexadecimal digits, and the files whose content they stand for.

    Args:
        command: the name of it.
        options: by name, arguments too, as the command line has them.
        contents: of the files that they name.
    """
    contents.named = {}
    stated = {name: contents.in_place_of(name, value) for name, value in sorted(options.items())}
    key = hashlib.sha256(json.dumps([command, stated]).encode()).hexdigest()
    return key, tuple(contents.named.items())


def changed_since(inputs: Inputs) -> str | None:
    """The first of the files that is another one now, or is gone; None where all are as they were."""
    for name, state in inputs:
        try:
            if _state_of(name) != state:
                return name
        except (OSError, ValueError):  # of a store's file that has become a folder, say
            return name
    return None


def _state_of(name: str) -> str:
    if is_url(name):
        return state_of(name)
    known = os.stat(name)
    return f"{known.st_size} {known.st_mtime_ns} {known.st_ino}"


class Contents:
    """What files hold, each read once.

    Attributes:
        named: the states of the files that the last key stands for, by their names.
    """

    def __init__(self) -> None:
        self.named: dict[str, str] = {}
        self._known: dict[str, str] = {}
        self._states: dict[str, str] = {}

    def in_place_of(self, name: str, value: Any) -> Any:
        """An option's value, where it names a file the digest of its content, or the state of a store's.

        So does a folder of weights, with the names of the files in it that may be such, and one of frames.
        """
        if isinstance(value, list | tuple):
            return [self.in_place_of(name, each) for each in value]
        if not isinstance(value, str | Path):
            return value
        if is_url(str(value)):
            if value not in self._known:
                self._known[str(value)] = state_of(str(value))
            self.named[str(value)] = self._known[str(value)]
            return self._known[str(value)]
        path = Path(value)
        if path.is_file():
            return self._digest(path)
        if name == "weights" and path.is_dir():
            from fv2v.checkpoints.search import folders_below  # which imports torch, for seconds
            from fv2v.checkpoints.storage import weights_in

            files = [file for folder in (path, *folders_below(path)) for file in weights_in(folder)]
            return {str(each.relative_to(path)): self._digest(each) for each in files}
        if is_frames(path):
            folder = path if path.is_dir() else path.parent
            pictures = sorted(each for each in folder.glob("*.*") if each.suffix.lower() in IMAGE_SUFFIXES)
            return [str(value), {each.name: self._digest(each) for each in pictures}]
        return str(value)

    def _digest(self, path: Path) -> str:
        known = os.path.realpath(path)
        if known not in self._known:
            self._states[known] = _state_of(known)
            self._known[known] = sha256_of(path)
        self.named[str(path)] = self._states[known]
        return self._known[known]
