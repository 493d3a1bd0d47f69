# SPDX-License-Identifier: Apache-2.0
"""Hostile tables of jobs, rows of them and recordings, by name, whose ending is the file's."""

import json
from typing import Any

from hostile_files import Content, chunk, jpeg, png

from fv2v.codec.file import HEADER, INDEX, MOTION, PORTRAIT, SOUND

TABLES: dict[str, Content] = {
    "rows.jsonl": lambda: b'{"id": "a"}\n' * 1_000_000,
    "rows.csv": lambda: b"id\n" + b"a\n" * 1_000_000,
    "rows.toml": lambda: b"[[jobs]]\n" * 460_000,
    "too-long.jsonl": lambda: b" " * (1 << 25) + b"{}",
    "long-line.jsonl": lambda: b'{"id": "' + b"a" * (1 << 24) + b'"}\n',
    "blank.jsonl": lambda: b"\n" * (1 << 25),
    "nothing.jsonl": lambda: b"\xef\xbb\xbf\n",
    "bytes.jsonl": lambda: b'{"id": "a"}\n\xff\xfe\n',
    "wide-text.jsonl": lambda: '{"id": "a"}'.encode("utf-16"),
    "columns.csv": lambda: b"id," + b",".join(b"%x" % i for i in range(12_000)) + b"\n" + b"1," * 30_000,
    "same-columns.csv": lambda: b"id,a,a\n1,2,3\n",
    "no-columns.csv": lambda: b"\n\n\n",
    "quote.csv": lambda: b'id,portrait\na,"b\n' + b"c\n" * 1_000_000,
    "field.csv": lambda: b'id\n"' + b"\n" * 200_000 + b'"\n',
    "bytes.csv": lambda: b"id\n\xff\xfe\n",
    "escape.csv": lambda: b"\x1b[31m\n1\n",
    "dotted.toml": lambda: b"".join(f"{'a.' * 2000}b{i} = 1\n".encode() for i in range(1000)),
    "dotted-tables.toml": lambda: b"".join(f"[{'a.' * 2000}b{i}]\n".encode() for i in range(1000)),
    "dotted-lightly.toml": lambda: b"".join(f"{'a.' * 60}b{i} = 1\n".encode() for i in range(31_000)),
    "nested.toml": lambda: b"a = " + b"[\n" * 1_000_000,
    "nested-tables.toml": lambda: b"a = " + b"{a=" * 1_300 + b"1" + b"}" * 1_300,
    "defaults.toml": lambda: b"".join(b"a%d = 1\n" % i for i in range(300_000)) + b"[[jobs]]\n" * 9,
    "defaults-and-rows.toml": lambda: (
        b"".join(b"a%d = 1\n" % i for i in range(1000)) + b"[[jobs]]\n" * 400_000
    ),
    "twice.toml": lambda: b"a = 1\na = 2\n",
    "number.toml": lambda: b"jobs = 3\n",
    "one-table.toml": lambda: b"[jobs]\nid = 'a'\n",
    "long-line.toml": lambda: b"a = '" + b"a" * 5_000 + b"'\n",
    "too-long.toml": lambda: b"# comment\n" * 500_000,
    "bytes.toml": lambda: b"\xff\xfe",
    "suffix.json": lambda: b'[{"id": "a"}]',
    "no-suffix": lambda: b'{"id": "a"}\n',
}


PLACE = ["good.png", "good.mp4", "pipe|", "loop>loop", "folder/"]  # what is there beside a table of ROWS


def _row(**values: Any) -> bytes:
    good = {"id": "hostile", "portrait": "good.png", "driving": "good.mp4"} | values
    return json.dumps({name: value for name, value in good.items() if value is not ...}).encode()


def _toml(line: str) -> Content:
    row = f'[[jobs]]\nid = "hostile"\nportrait = "good.png"\ndriving = "good.mp4"\n{line}\n'
    return lambda: row.encode() + b'[[jobs]]\nid = "good"\nportrait = "good.png"\ndriving = "good.mp4"\n'


def _line(row: bytes) -> Content:
    """With a good row after it."""
    return lambda: row + b"\n" + _row(id="good") + b"\n"


ROWS: dict[str, Content] = {  # of which the first can be no job, and the last is one
    "nested.jsonl": _line(b"[" * 60_000),
    "nested-list.jsonl": _line(b"[" * 900 + b"]" * 900),
    "nested-value.jsonl": _line(b'{"id": ' + b"[" * 900 + b"]" * 900 + b"}"),
    "nested-table.jsonl": _line(_row(yaw={"a": {"a": 1}})),
    "number.jsonl": _line(b"7"),
    "long-number.jsonl": _line(b'{"id": ' + b"9" * 5_000 + b"}"),
    "large-number.jsonl": _line(_row(face=1 << 64)),
    "large-id.jsonl": _line(_row(id=10**300)),
    "large-in-list.jsonl": _line(_row(strength=[1, 10**300])),
    "frames.jsonl": _line(_row(frames=1e300)),
    "names.jsonl": _line(_row(**{f"a{i}": i for i in range(3_000)})),
    "name.jsonl": _line(_row(**{"\x1b[31m" + "a" * 50_000: 1})),
    "list.jsonl": _line(_row(yaw=[1] * 20_000)),
    "portrait-list.jsonl": _line(_row(portrait=["good.png"])),
    "portrait-number.jsonl": _line(_row(portrait=1e308)),
    "portrait-nothing.jsonl": _line(_row(portrait=None)),
    "pipe.jsonl": _line(_row(portrait="pipe")),
    "driving-pipe.jsonl": _line(_row(driving="pipe")),
    "device.jsonl": _line(_row(portrait="/dev/zero")),
    "driving-device.jsonl": _line(_row(driving="/dev/urandom")),
    "process.jsonl": _line(_row(portrait="/proc/self/mem")),
    "loop.jsonl": _line(_row(portrait="loop")),
    "folder.jsonl": _line(_row(portrait="folder")),
    "missing.jsonl": _line(_row(portrait="\x1b[31m\nmissing.png")),
    "zero.jsonl": _line(_row(portrait="good.png\0.png")),
    "half-character.jsonl": _line(_row(portrait="\ud800.png")),
    "long.jsonl": _line(_row(portrait="a/" * 30_000)),
    "long-name.jsonl": _line(_row(portrait="a" * 5_000)),
    "disk.jsonl": _line(_row(weights="/")),
    "no-id.jsonl": _line(_row(id=...)),
    "escape.jsonl": _line(_row(id="\x1b[31m")),
    "above.jsonl": _line(_row(id="../a")),
    "same-id.jsonl": lambda: _row(id="good") + b"\n" + _row(id="GOOD", yaw=1) + b"\n" + _row(id="b") + b"\n",
    "made-by-another.jsonl": _line(_row(driving="out/good.mp4")),
    "output.jsonl": _line(_row(output="/etc/passwd")),
    "date.toml": _toml("yaw = 1979-05-27"),
    "whole.toml": _toml(f"yaw = 0x{'f' * 4_000}"),
    "whole-id.toml": lambda: _toml("")().replace(b'"hostile"', b"0x" + b"f" * 4_000),
    "table.toml": _toml("yaw.a.b = 1"),
    "rows-of-numbers.toml": lambda: b'jobs = [1, {id="good", portrait="good.png", driving="good.mp4"}]\n',
    "cells.csv": lambda: b"id,portrait,driving\na" + b"," * 30_000 + b"\ngood,good.png,good.mp4\n",
}

HEAD = {"preset": "vox-256", "keypoints": 15, "time_base": [1, 25], "rate": [25, 1]}
PICTURE = b"\xff\xd8\xff"


def _record(kind: int, body: bytes, length: int | None = None) -> bytes:
    size, number = len(body) if length is None else length, bytearray()
    while size > 127:
        number.append(size & 127 | 128)
        size >>= 7
    return bytes([kind, *number, size]) + body


def _recording(*rest: bytes, portrait: bytes = PICTURE, **head: Any) -> Content:
    parts = [_record(HEADER, json.dumps(HEAD | head).encode()), _record(PORTRAIT, portrait), *rest]
    return lambda: b"fv2v\1" + b"".join(parts)


FRAME = _record(MOTION, b"\0abc")
RECORDINGS: dict[str, Content] = {
    "noise.fv2v": lambda: b"\x1b[31m" * 99,
    "version.fv2v": lambda: b"fv2v\xff",
    "header-alone.fv2v": lambda: b"fv2v\1",
    "frames.fv2v": _recording(FRAME, bytes(1 << 24)),
    "length.fv2v": _recording(FRAME, _record(SOUND, b"", 1 << 60)),
    "lengths.fv2v": _recording(FRAME, _record(SOUND, b"")[:1] + b"\xff" * 99),
    "kind.fv2v": _recording(FRAME, b"\xff"),
    "index.fv2v": _recording(FRAME, _record(INDEX, b"[" * 100_000)),
    "index-list.fv2v": _recording(FRAME, _record(INDEX, b'{"refreshes": [1, [2]]}')),
    "no-time.fv2v": _recording(b"\3abc"),
    "late.fv2v": _recording(_record(MOTION, b"\xfe" + b"\xff" * 7 + b"\x7fabc")),
    "standing.fv2v": _recording(FRAME, FRAME),
    "wide.fv2v": _recording(FRAME, portrait=jpeg(60_000, 60_000)),
    "png.fv2v": _recording(FRAME, portrait=png(4, 4)[:33] + b"\x7f\xff\xff\xff" + chunk(b"IDAT", b"")[4:]),
    "portrait.fv2v": _recording(FRAME, portrait=b"no picture"),
    "time-base.fv2v": _recording(FRAME, time_base=[1, 0]),
    "time-base-large.fv2v": _recording(FRAME, time_base=[10**400, 1]),
    "time-base-text.fv2v": _recording(FRAME, time_base="a"),
    "time-base-infinite.fv2v": _recording(FRAME, time_base=[float("inf"), 1]),
    "rate.fv2v": _recording(FRAME, rate=[0, 1]),
    "rate-not-a-number.fv2v": _recording(FRAME, rate=[float("nan"), 1]),
    "keypoints.fv2v": _recording(FRAME, keypoints=[]),
    "no-preset.fv2v": lambda: b"fv2v\1" + _record(HEADER, b"{}") + _record(PORTRAIT, PICTURE) + FRAME,
    "two-lists.fv2v": lambda: b"fv2v\1" + _record(HEADER, b"[]") + _record(PORTRAIT, PICTURE) + FRAME,
    "nested.fv2v": lambda: b"fv2v\1" + _record(HEADER, b'{"a":' * 100_000),
}
