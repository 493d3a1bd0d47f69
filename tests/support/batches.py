# SPDX-License-Identifier: Apache-2.0
"""What tests of `fv2v batch` make clips of, small enough for milliseconds, and what they find afterwards."""

import json
from pathlib import Path
from typing import Any

import clips
import cv2
from tiny import TINY_VOX, lively

from fv2v.cli.rows import read_values
from fv2v.io.image import read_image, write_image
from fv2v.jobs.plan import Job, plan
from fv2v.jobs.results import open_results
from fv2v.jobs.table import Row
from fv2v.reenactor import Reenactor


def write_inputs(folder: Path) -> Path:
    """Two portraits, two drivers, and weights, tiny.safetensors."""
    lively(Reenactor(TINY_VOX, weights="random")).save(folder / "tiny.safetensors")
    picture = clips.portrait()
    write_image(folder / "p0.png", picture[:400])
    write_image(folder / "p1.png", cv2.flip(picture, 1)[:400])
    for i in range(2):
        film = clips.moving_picture(picture, 3 + i, size=64)
        clips.write_clip(folder / f"d{i}.mp4", film, audio="aac")
    return folder


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def plain_rows(inputs: Path, count: int) -> list[dict[str, Any]]:
    """Different jobs, without a search for faces."""
    return [
        {
            "id": f"clip-{i:02}",
            "portrait": str(inputs / f"p{i % 2}.png"),
            "driving": str(inputs / f"d{i // 2 % 2}.mp4"),
            "yaw": i % 90,
            "crop": False,
        }
        for i in range(count)
    ]


def jobs_of(inputs: Path, folder: Path, rows: list[dict]) -> list[Job]:
    weights = {"weights": str(inputs / "tiny.safetensors")}
    with open_results(folder) as results:
        planned = list(plan([Row(i, weights | row) for i, row in enumerate(rows, 1)], results, read_values))
    assert all(isinstance(each, Job) for each in planned), planned
    return planned


def lines(folder: Path) -> list[dict[str, Any]]:
    """Of results.jsonl."""
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def made(folder: Path) -> dict[str, bytes]:
    """The clips by name."""
    return {path.name: path.read_bytes() for path in folder.glob("*.mp4")}


def blank(path: Path) -> Path:
    """A picture without a face."""
    write_image(path, read_image(clips.PORTRAIT)[:64, :64] // 8)
    return path
