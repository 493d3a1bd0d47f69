# SPDX-License-Identifier: Apache-2.0
"""From rows to jobs: what each is to make of which files, and the key that tells whether that was made."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fv2v.io.frame_folder import frames_of, is_frames
from fv2v.io.limits import shown
from fv2v.io.paths import check_input
from fv2v.io.stores import is_url
from fv2v.jobs.key import Contents, Inputs, key_of
from fv2v.jobs.results import LINES, Results
from fv2v.jobs.table import Row

LONGEST = 200  # bytes of an id: file systems take 255, and a suffix follows


class Wish(NamedTuple):
    """A row as its command understands it."""

    words: tuple[str, ...]  # the command line
    inputs: tuple[Path | str, ...]  # files that it cannot do without, paths or URLs
    options: Mapping[str, Any]  # by name, those inputs too, without what has its default value


# Of a row's values and the clip's path or URL; a ValueError for values that the command does not take.
Reader = Callable[[Mapping[str, Any], Path | str], Wish]


@dataclass(frozen=True, slots=True)
class Job:
    """A clip to be made."""

    identity: str
    row: int
    words: tuple[str, ...]  # the command line that makes it
    output: Path | str  # a URL
    key: str  # the same for the same options and the same content of the input files
    inputs: Inputs = ()  # those files, as they were when the key was made


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that cannot be a job."""

    identity: str | None
    row: int
    error: str


def plan(rows: Iterable[Row], results: Results, read: Reader) -> Iterator[Job | Refused]:
    """A job or a refusal for each row, in their order. Reads the input files, each once, and renders nothing.

    Of rows of one id the first is a job and the others are refused, as is one that reads a clip that another
    row makes: no job waits for another.
    """
    rows, contents = list(rows), Contents()
    first: dict[str, Row] = {}
    makers: dict[str, int] = {}
    for row in rows:
        identity = _identity(row)
        if identity is not None and _fault_of(identity) is None:
            first.setdefault(identity.casefold(), row)
            makers.setdefault(os.path.realpath(results.output(identity)), row.number)
    for row in rows:
        identity = _identity(row)
        try:
            if row.fault:
                raise ValueError(row.fault)
            if identity is None:
                raise ValueError("expected an id, by which the clip is named")
            if fault := _fault_of(identity):
                got = f"{shown(repr(identity))}: {fault}{_renamed(row)}"
                raise ValueError(f"expected an id that is a file's name, got {got}")
            if (other := first[identity.casefold()]).number != row.number:
                like = f" ({other.origin})" if other.origin else ""
                raise ValueError(
                    f"the id is that of row {other.number}{like}, too: expected another one{_renamed(row)}"
                )
            output = results.output(identity)
            wish = read(row.values, output)
            for path in wish.inputs:
                if is_url(str(path)):  # of those the key asks their stores
                    continue
                if is_frames(path):
                    frames_of(path)
                else:
                    check_input(path)
            for value in _texts(wish.options):
                if maker := makers.get(os.path.realpath(value)):
                    raise ValueError(f"{value}: row {maker} makes this file: expected inputs that are there")
            key, inputs = key_of(wish.words[0], wish.options, contents)
        except (ValueError, OSError) as error:
            yield Refused(identity, row.number, shown(error))
            continue
        yield Job(identity, row.number, wish.words, output, key, inputs)


def check_new(rows: Iterable[Row], folder: Path, suffix: str) -> None:
    """ValueError where a folder in which no batch has worked yet has a file that one of the rows makes."""
    if (folder / LINES).exists():
        return
    for row in rows:
        identity = _identity(row)
        if identity is not None and _fault_of(identity) is None:
            path = folder / f"{identity}{suffix}"
            if path.exists():
                raise ValueError(
                    f"{path} is there, and no batch made it: expected another folder, or move it away first"
                )


def _renamed(row: Row) -> str:
    """What to do about the id of a row that nobody has written."""
    return f"; it comes of the name of {row.origin}: rename that" if row.origin else ""


def _identity(row: Row) -> str | None:
    value = row.values.get("id")
    return None if value is None or value == "" or isinstance(value, bool | list) else str(value)


def _texts(options: Mapping[str, Any]) -> Iterator[str]:
    """The options' values that may name files."""
    for value in options.values():
        for each in value if isinstance(value, list | tuple) else (value,):
            if isinstance(each, str | Path):
                yield str(each)


def _fault_of(identity: str) -> str | None:
    """Why an id names no file, on any system; None where it does."""
    if not identity.isprintable() or any(each in '/\\:*?"<>|' for each in identity):
        return 'it has one of / \\ : * ? " < > |, or what cannot be printed'
    if identity[0] in ". " or identity[-1] in ". ":
        return "it begins or ends with a point or a blank"
    try:
        length = len(os.fsencode(identity))
    except UnicodeEncodeError as error:
        return f"names of files are {error.encoding} here, as the locale says"
    if length > LONGEST:
        return f"it has more than {LONGEST} bytes"
    return None
