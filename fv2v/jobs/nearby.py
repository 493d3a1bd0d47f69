# SPDX-License-Identifier: Apache-2.0
"""Command lines that name files of stores, s3://bucket/a.png, made into ones of files of this machine."""

import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fv2v.io.hidden import hidden_folder
from fv2v.io.stores import URL, fetch, name_of, put, state_of
from fv2v.jobs.recent import Recent

KEPT = 16  # files, the weights among them
OUTPUT = "--output="
WORD = re.compile(rf"(--[a-z-]+=)?({URL.pattern}.*)", re.DOTALL)


class Nearby:
    """Files of stores on this machine, in a hidden folder of its own; the last ones stay.

    What a killed process left there goes when the next one begins (io/hidden.py).
    """

    def __init__(self) -> None:
        self._files: Recent[_File] = Recent(KEPT)
        # of the last command line:
        self._given: dict[str, str] = {}  # the URLs, by the paths here
        self._stored: dict[str, Any] = {}
        self._stack = ExitStack()
        self._folder: Path | None = None
        weakref.finalize(self, self._stack.close)

    @contextmanager
    def words(self, words: Sequence[str]) -> Iterator[list[str]]:
        """The same words with paths for URLs. When the block ends, its --output is put where it belongs.

        Errors as `fetch`'s and `put`'s.
        """
        self._given, self._stored = {}, {}
        held: list[_File] = []  # so that none of them goes to make place for the next
        outputs: list[tuple[Path, str]] = []
        local: list[str] = []
        for word in words:
            found = WORD.fullmatch(word)
            if found is None:
                local.append(word)
                continue
            option, url = found[1] or "", found[2]
            if option == OUTPUT:
                path = self._own_folder() / name_of(url)
                outputs.append((path, url))
            else:
                file = self._files.get(url, partial(self._fetched, url))
                held.append(file)
                path = file.path
            self._given[str(path)] = url
            local.append(f"{option}{path}")
        try:
            yield local
            for path, url in outputs:
                put(path, url)
                self._stored = {"stored": state_of(url)}
        finally:
            for path, _ in outputs:
                shutil.rmtree(path.parent, ignore_errors=True)

    def stored(self) -> dict[str, Any]:
        """`stored`, the state of the last command line's output; nothing where that lies in no store."""
        return self._stored

    def as_given(self, text: str) -> str:
        """The text with URLs for the paths of the last command line."""
        for path, url in self._given.items():
            text = text.replace(path, url)
        return text

    def _fetched(self, url: str) -> "_File":
        return _File(url, self._own_folder())

    def _own_folder(self) -> Path:
        """A new one for a file."""
        if self._folder is None:
            place = Path(tempfile.gettempdir()).absolute() / "files"
            self._folder = self._stack.enter_context(hidden_folder(place))
        return Path(tempfile.mkdtemp(dir=self._folder))


class _File:
    """A copy of a file of a store, for as long as anybody has this."""

    def __init__(self, url: str, folder: Path) -> None:
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = fetch(url, folder)
