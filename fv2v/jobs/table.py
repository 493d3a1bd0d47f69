# SPDX-License-Identifier: Apache-2.0
"""The table that says what is to be made: a row a clip, from a file or from two folders."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from fv2v.extras import check_extra
from fv2v.io.limits import TEXT, check_bytes, check_limit, reading, shown
from fv2v.io.paths import PathLike, check_input

ROWS = 1 << 18
LONGEST = 1 << 16  # characters of a row
LINES = 1 << 20  # of a file, empty ones too
NAMES = 256  # with a value, in a row
TOML = 1 << 22  # bytes: its parser is slow
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")  # in a folder of portraits
DRIVERS = {  # in a folder of drivers: the name by which a row has such a file
    **dict.fromkeys((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".gif"), "driving"),
    **dict.fromkeys((".npz", ".pkl"), "motion"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it was read."""

    number: int  # the line in a .jsonl or .csv, else counted from 1
    values: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""  # why it cannot be used; "" where nothing is known against it
    origin: str = ""  # the files of whose names the id was made; "" where the user wrote it


def read_rows(path: PathLike) -> list[Row]:
    """The rows of a .jsonl (an object a line), .csv (names in the first line) or .toml (tables [[jobs]]).

    In a .toml the values above the tables count for all rows that have none of that name. A row that cannot
    be read has a `fault`, and the others are read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another suffix, a file that is no such table, or one larger than the limits.
    """
    path = check_input(path)
    readers = {".jsonl": _jsonl_rows, ".csv": _csv_rows, ".toml": _toml_rows}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: expected jobs in a {', '.join(readers)}, got {path.suffix!r}")
    with reading(path, "no table of jobs that can be read"):
        check_bytes(path, TEXT, "bytes of jobs")
        rows: list[Row] = []
        for row in readers[path.suffix.lower()](path):
            check_limit("jobs", len(rows) + 1, ROWS)
            rows.append(row)
        if not rows:
            raise ValueError("expected jobs, a row a clip, got none")
    return rows


def pair_rows(portraits: Path, drivers: Path, zipped: bool = False) -> list[Row]:
    """Every portrait of a folder with every driver of another; `zipped`: the first with the first, and so on.

    Files count by their suffixes, in the order of their names; a row's id is `PORTRAIT+DRIVER`.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a folder without such files; to be zipped, folders of different numbers of files.
    """
    pictures, films = _files_in(portraits, PICTURES), _files_in(drivers, DRIVERS)
    if zipped and len(pictures) != len(films):
        raise ValueError(
            f"--zip: expected as many drivers as portraits, got {len(pictures)} in {portraits} and "
            f"{len(films)} in {drivers}"
        )
    count = len(pictures) * (1 if zipped else len(films))
    check_limit("pairs", count, ROWS)
    pairs = zip(pictures, films, strict=True) if zipped else ((a, b) for a in pictures for b in films)
    rows = []
    for i, (a, b) in enumerate(pairs, 1):
        values = {"id": f"{a.stem}+{b.stem}", "portrait": str(a), DRIVERS[b.suffix.lower()]: str(b)}
        rows.append(Row(i, values, origin=f"{a} and {b}"))
    return rows


def _files_in(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder, got a file")
    suffixes = tuple(suffixes)
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith(".")
    )
    if not found:
        raise ValueError(f"{folder}: expected files that end in {', '.join(suffixes)}, got none")
    return found


def _lines(file: IO[str]) -> Iterator[str]:
    """The lines of a file, which a limit keeps from being longer than a row may be."""
    number = 0
    try:
        while line := file.readline(LONGEST + 1):
            check_limit("characters of a line", len(line), LONGEST)
            check_limit("lines", number := number + 1, LINES)
            yield line
    except UnicodeDecodeError as error:
        raise ValueError(f"expected text in UTF-8, got other bytes ({error.reason}): save it so") from None


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(_lines(file), 1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Row(number, fault=f"no JSON: {shown(error)}")
                continue
            yield _row(number, values)


def _csv_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(_lines(file), strict=True)
        try:
            names = [name.strip() for name in next(lines, [])]
            while names and not names[-1]:  # spreadsheets write some
                names.pop()
            check_limit("columns", len(names), NAMES)
            if "id" not in names or len(set(names)) != len(names):
                raise ValueError(
                    "expected the names of the columns in the first line, each once, id among them; got "
                    f"{shown(', '.join(names))!r}"
                )
            for cells in lines:
                if not any(map(str.strip, cells)):
                    continue
                if any(map(str.strip, cells[len(names) :])):
                    fault = f"expected {len(names)} values, as there are columns, got {len(cells)}"
                    yield Row(lines.line_num, dict(zip(names, cells, strict=False)), fault)
                else:
                    yield Row(lines.line_num, dict(zip(names, map(str.strip, cells), strict=False)))
        except csv.Error as error:
            raise ValueError(f"line {lines.line_num}: no CSV: {error}") from None


def _toml_rows(path: Path) -> Iterator[Row]:
    if sys.version_info < (3, 11):
        check_extra("reading .toml", ["tomli"], "train")
    from fv2v.training.toml import read_table

    defaults = read_table(path, TOML)
    rows = defaults.pop("jobs", [])
    if not isinstance(rows, list):
        raise ValueError("expected tables [[jobs]], a clip each")
    check_limit("names above the tables", len(defaults), NAMES)
    for number, values in enumerate(rows, 1):
        yield _row(number, {**defaults, **values} if isinstance(values, dict) else values)


def _row(number: int, values: Any) -> Row:
    """A row of values that JSON or TOML had."""
    if not isinstance(values, dict):
        return Row(number, fault=f"expected names with values, got {type(values).__name__}")
    if len(values) > NAMES:
        return Row(number, fault=f"expected at most {NAMES} names, got {len(values)}")
    for name, value in values.items():
        for each in value if isinstance(value, list) else [value]:
            if expected := _expected_in_place_of(each):
                known = {"id": values["id"]} if isinstance(values.get("id"), str) else {}
                fault = f"{shown(name)}: expected {expected}, got {type(value).__name__}"
                return Row(number, known, fault)
    return Row(number, values)


def _expected_in_place_of(value: Any) -> str:
    """What no row may have such a value for; "" where it may."""
    if isinstance(value, int) and abs(value) >= 1 << 63:  # of which Python may refuse to make a text
        return "a number of at most 64 bits"
    return "" if isinstance(value, str | int | float | None) else "a text, a number, true or false"
