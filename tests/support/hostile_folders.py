# SPDX-License-Identifier: Apache-2.0
"""Folders as bytes, which `unpacked` makes folders of again, and hostile ones: of frames, weights, videos,
training's checkpoints and recordings. The letters that a name begins with say who reads it (`READ_BY`).
"""

import os
import pickle
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hostile_files import Content, png, torch_zip, weights

from fv2v.presets import VOX_256

BETWEEN = b"\n\n\n\n"  # two files' contents
STATE = "step-00000001.pt"
HUGE = 60_000  # pixels on a side
PLAIN = png(4, 4, body=b"".join([b"\0" + bytes(12)] * 4))


def folder(names: Sequence[str], *contents: bytes) -> bytes:
    """Of files with these contents in turn.

    A name may be NAME/ for a folder, NAME| for a pipe, or NAME>OTHER for a symbolic link.
    """
    return BETWEEN.join([b"\n".join(map(os.fsencode, names)), *contents])


def unpacked(data: bytes, place: Path) -> None:
    """Put the files into an empty folder; names that no file can have are left out."""
    head, *contents = data.split(BETWEEN)
    for number, line in enumerate(head.split(b"\n")):
        with suppress(OSError, ValueError):
            _put(place, os.fsdecode(line), contents[number % len(contents)] if contents else b"")


def _put(place: Path, line: str, content: bytes) -> None:
    name, arrow, other = line.partition(">")
    file = place / _inside(name.rstrip("|"))
    file.parent.mkdir(parents=True, exist_ok=True)
    if arrow:
        file.symlink_to(place / _inside(other))
    elif name.endswith("|"):
        os.mkfifo(file)
    elif name.endswith("/"):
        file.mkdir(exist_ok=True)
    elif file.name == STATE:
        file.write_bytes(torch_zip(content))  # with the checksums of what was changed
    else:
        file.write_bytes(content)


def _inside(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", ".."))


def _doubled(levels: int) -> bytes:
    """A dict that holds one twice, that holds one twice, ...: 2^levels dicts to whoever walks through."""
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value, "b": value}
    return pickle.dumps(value, 2)


def _state(**changes: Any) -> bytes:
    learner = {"model": {}, "average": {}, "average_steps": 1, "discriminator": {}}
    learner |= {"optimisers": [], "scalers": []}
    state = {"format": "fv2v training", "step": 1, "config": {}, "learner": learner, "random": []}
    return folder([STATE], pickle.dumps(state | changes, 2))


LOOPS = [f"{name}>." for name in "abcd"]
OURS = weights(VOX_256.as_dict())

FRAMES: dict[str, Content] = {
    "none": lambda: folder(["a.txt"], b"text"),
    "mixed": lambda: folder(["1.png", "2.png"], PLAIN, png(5, 4, body=bytes(64))),
    "wide": lambda: folder(["1.png"], png(HUGE, HUGE)),
    "pipe": lambda: folder(["1.png|"]),
    "loop": lambda: folder(["1.png>1.png"]),
    "loops": lambda: folder(LOOPS),
    "folders": lambda: folder(["1.png/", "2.png/"]),
    "escape": lambda: folder(["\x1b[31m.png"], b"no picture"),
    "bytes": lambda: folder(["\udcff\udcfe.png"], b"no picture"),
    "long-number": lambda: folder([f"{'9' * 240}.png"], b"no picture"),
    "digits": lambda: folder(["1\u0662\u00b2.png"], b"no picture"),
    "empty": lambda: folder(["1.png"], b""),
}
PATTERNS: dict[str, Content] = {
    "gap": lambda: folder(["1.png", "3.png"], PLAIN),
    "far-gap": lambda: folder(["1.png", f"{'9' * 240}.png"], PLAIN),
    "twice": lambda: folder(["1.png", "01.png"], PLAIN),
    "twice-in-other-digits": lambda: folder(["2.png", "\u0662.png"], PLAIN),
    "none": lambda: folder(["a.png"], PLAIN),
    "pipe": lambda: folder(["1.png|"]),
    "folder": lambda: folder(["1.png/"]),
    "loop": lambda: folder(["1.png>1.png"]),
    "broken": lambda: folder(["1.png", "2.png"], PLAIN, b"no picture"),
}
WEIGHTS: dict[str, Content] = {
    "none": lambda: folder(["a/b/c.txt"], b"text"),
    "loops": lambda: folder(LOOPS),
    "loops-below": lambda: folder(["a/b/c/d.txt", *(f"a/b/{i}>a" for i in range(9))], b"text"),
    "loop-of-files": lambda: folder(["a.safetensors>b.pth", "b.pth>a.safetensors"]),
    "pipe": lambda: folder(["a.safetensors|", "b.pth|"]),
    "folders": lambda: folder([f"{i}/" for i in range(2100)]),
    "deep": lambda: folder(["/".join("a" * 200) + "/a.safetensors"], OURS),
    "two": lambda: folder(["a.safetensors", "b.sft"], OURS),
    "two-sets": lambda: folder(["a/a.safetensors", "b/b.sft"], OURS),
    "current": lambda: folder(["a/snapshots/b/c.txt", "a/refs/main"], b"b", b"\xff" * 5000),
    "current-pipe": lambda: folder(["a/snapshots/b/c.txt", "a/refs/main|"], b"b"),
    "dicts": lambda: folder(["a.pth"], torch_zip(_doubled(60))),
    "dicts-below": lambda: folder(["a/a.bin", "a/b.ckpt"], torch_zip(_doubled(60))),
    "itself": lambda: folder(["a.pth"], torch_zip(b"\x80\x02}q\0X\x01\0\0\0ah\0s.")),
    "bomb": lambda: folder(["mapping.pth.tar"], torch_zip(b"\x80\x02}.", {"data/0": bytes(1 << 28)}, 8)),
    "half": lambda: folder(["warping_module.pth"], torch_zip(b"\x80\x02}.")),
    "escape": lambda: folder(["\x1b[31m.pth", "\x1b[32m.safetensors"], OURS),
}
VIDEOS: dict[str, Content] = {
    "none": lambda: folder(["a/b.txt"], b"text"),
    "loops": lambda: folder(LOOPS),
    "loops-below": lambda: folder(["a/b/", *(f"a/b/{i}>a" for i in range(9))]),
    "pipes": lambda: folder(["a.mp4|", "b.mkv|"]),
    "loop-of-files": lambda: folder(["a.mp4>b.mp4", "b.mp4>a.mp4"]),
    "wide": lambda: folder(["a/1.png", "a/2.png"], png(HUGE, HUGE)),
    "pipes-in-frames": lambda: folder(["a/1.png|", "a/2.png|"]),
    "broken": lambda: folder([f"{i}.mp4" for i in range(99)], b"no film"),
    "escape": lambda: folder(["\x1b[31m.mp4"], b"no film"),
}
STATES: dict[str, Content] = {
    "step-text": lambda: _state(step="1"),
    "step-list": lambda: _state(step=[1]),
    "step-nothing": lambda: _state(step=None),
    "step-large": lambda: _state(step=10**400),
    "step-other": lambda: _state(step=2),
    "format": lambda: _state(format=[1]),
    "learner": lambda: _state(learner=[1]),
    "learner-names": lambda: _state(learner={"a": 1}),
    "more": lambda: _state(more=1),
    "doubled": lambda: folder([STATE], _doubled(60)),
    "number": lambda: folder([STATE], b"\x80\x02K\x01."),
    "pipe": lambda: folder([f"{STATE}|"]),
    "folder": lambda: folder([f"{STATE}/"]),
    "loop": lambda: folder([f"{STATE}>{STATE}"]),
    "inflates": lambda: folder(
        ["step-00000002.pt"], torch_zip(b"\x80\x02}.", {f"data/{i}": bytes(1 << 28) for i in range(2)}, 8)
    ),
}
