# SPDX-License-Identifier: Apache-2.0
"""Prints the table of calls in fv2v/live/README.md: two `fv2v call` processes over a bad network.

`python benches/measure_call.py [--seconds 60] [-o benches/results/call.json]`, as root: the starter at 128
pixels, drawn heads as portraits and drivers, 100 ± 30 ms each way, 0, 5 and 20 % of packets lost. Each call
is measured for so many seconds; then the network is cut for five, and the time is taken until pictures move
again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

os.environ["PYTHONSAFEPATH"] = "1"  # processes started from a clone run what is installed, not its sources
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parent / "support"))
from shipped_pictures import DRIVER, PORTRAIT, acting, draw
from wire import ADDRESSES, Wire

import fv2v
from fv2v.data.synthetic import Expression, Pose
from fv2v.io.image import read_image, write_image
from fv2v.io.video import write_video

DELAY, JITTER, LOSSES = 0.1, 0.03, (0.0, 0.05, 0.2)
FPS, FRAMES = 25, 90
SETTLE = 5.0  # seconds after the greeting that are not measured
CUT, BACK = 5.0, 30.0  # seconds without network, and in which the call has to be back
COLUMNS = (
    "shown a second",
    "latency p50, p95",
    "motion",
    "sound",
    "control",
    "wire",
    "PSNR",
    "heard",
    "back",
)


@dataclass
class Row:
    """What one side saw of the other. Bytes a second are what it was sent, payload but for `wire`."""

    loss: float
    shown: float  # pictures a second
    latency: tuple[float, float]  # milliseconds from camera to picture: median and 95th percentile
    motion: float
    sound: float
    control: float
    wire: float  # as the sender counts it
    carried: float  # as the network between the two did
    portrait: int  # bytes, once
    psnr: float  # dB, against the sender's own render
    heard: float  # the share of the sound that arrived
    level: float  # of the sound, of full scale
    back: float  # seconds from the end of the cut to the first picture after it; infinite: never


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--losses", type=float, nargs="*", default=LOSSES)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    print(f"| lost | {' | '.join(COLUMNS)} |\n|{' --- |' * (len(COLUMNS) + 1)}")
    for loss in arguments.losses:
        with tempfile.TemporaryDirectory() as folder:
            sides = measure(Path(folder), loss, arguments.seconds)
        rows += sides
        for row in sides:
            print(as_line(row), flush=True)
    if arguments.output is not None:
        conditions = {"delay": DELAY, "jitter": JITTER, "seconds": arguments.seconds, "cut": CUT}
        arguments.output.write_text(
            json.dumps(conditions | {"rows": [asdict(row) for row in rows]}, indent=1)
        )


def as_line(row: Row) -> str:
    p50, p95 = row.latency
    rates = " | ".join(f"{each:.0f} B/s" for each in (row.motion, row.sound, row.control, row.wire))
    return (
        f"| {row.loss:.0%} | {row.shown:.1f} | {p50:.0f}, {p95:.0f} ms | {rates} | {row.psnr:.1f} dB | "
        f"{row.heard:.0%} | {row.back:.1f} s |"
    )


def measure(folder: Path, loss: float, seconds: float) -> list[Row]:
    """A call, in files in `folder`: what each side saw."""
    draw_inputs(folder)
    with Wire(DELAY, JITTER, loss) as wire:
        sides = [start(wire, 0, folder, "--listen", "--host", ADDRESSES[0])]
        try:
            link = sides[0].stdout.readline().strip()
            if not link:
                raise RuntimeError(f"nobody listens: {(folder / '0.err').read_text()}")
            sides.append(start(wire, 1, folder, link))
            wait_for(lambda: all(shows(folder, side) for side in (0, 1)), 180.0, folder)
            time.sleep(SETTLE)
            begin, before = time.monotonic(), list(wire.bytes)
            time.sleep(seconds)
            wire.is_cut, end = True, time.monotonic()
            carried = [(b - a) / (end - begin) for a, b in zip(before, wire.bytes, strict=True)]
            time.sleep(CUT)
            wire.is_cut, restored = False, time.monotonic()
            try:
                wait_for(lambda: all(shows(folder, side, after=restored) for side in (0, 1)), BACK, folder)
            except TimeoutError as error:
                print(error, file=sys.stderr)
            time.sleep(1.0)
        finally:
            for side in sides:
                side.terminate()
            for side in sides:
                side.wait(timeout=60)
    return [summary(folder, side, loss, begin, end, restored, carried[1 - side]) for side in (0, 1)]


def draw_inputs(folder: Path) -> None:
    """Two portraits, and each one's driver."""
    torch.manual_seed(0)
    neutral = Expression.neutral(1)
    rest = Pose.at(*torch.zeros(3, 1))
    for side, (portrait, driver) in enumerate(((PORTRAIT, DRIVER), (DRIVER, PORTRAIT))):
        write_image(folder / f"{side}.png", draw(portrait, neutral, rest)[0])
        driving = list(draw(driver, *acting(torch.arange(FRAMES) / FRAMES)))
        write_video(folder / f"{side}.mp4", driving, fps=FPS)


def start(wire: Wire, side: int, folder: Path, *where: str) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "fv2v", "call", *where, "--preset", "starter", "--absolute", "--no-crop"]
    words += ["--portrait", f"{folder}/{side}.png", "--driving", f"{folder}/{side}.mp4", "--sound", "tone"]
    words += ["--show", f"{folder}/{side}-seen/%05d.png", "--hear", f"{folder}/{side}.wav"]
    words += ["--log", f"{folder}/{side}.jsonl", "--keep-motion", f"{folder}/{side}.npz"]
    with (folder / f"{side}.err").open("w") as errors:
        return subprocess.Popen(wire.command(side, *words), stdout=subprocess.PIPE, stderr=errors, text=True)


def wait_for(done: Any, seconds: float, folder: Path) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            said = [path.read_text() for path in sorted(folder.glob("*.err"))]
            raise TimeoutError(f"not within {seconds:g} s: {said}")
        time.sleep(0.2)


def laps(folder: Path, side: int) -> list[dict[str, Any]]:
    path = folder / f"{side}.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []  # the last may be half written
    return [lap for lap in map(json.loads, lines) if "frames" in lap]


def shows(folder: Path, side: int, after: float = 0.0) -> bool:
    """Whether it has shown a picture since then of a frame that was taken since then."""
    return any(taken > 1000 * after for lap in laps(folder, side) for _, taken, _, _ in lap["frames"])


def summary(
    folder: Path, side: int, loss: float, begin: float, end: float, restored: float, carried: float
) -> Row:
    """What a side saw between two moments of `time.monotonic`, which all processes share."""
    all_laps = laps(folder, side)
    frames = [frame for lap in all_laps for frame in lap["frames"]]
    measured = [frame for frame in frames if 1000 * begin <= frame[2] < 1000 * end]
    late = np.array([shown - taken for _, taken, shown, _ in measured])
    inside = [lap for lap in all_laps if begin + 1 <= lap["clock"] < end]
    back = min((shown for _, taken, shown, _ in frames if taken > 1000 * restored), default=np.inf)
    other = [lap for lap in laps(folder, 1 - side) if begin + 1 <= lap["clock"] < end]
    rates = {part: mean(lap["received"][part] for lap in inside) for part in ("motion", "control")}
    return Row(
        loss,
        len(measured) / (end - begin),
        tuple(float(each) for each in np.percentile(late, (50, 95))),
        mean(lap["sent"]["motion"] for lap in other),
        mean(lap["sent"]["sound"] for lap in other),
        rates["control"],
        mean(lap["sent"]["wire"] for lap in other),
        carried,
        round(sum(lap["received"]["portrait"] * lap["lasted"] for lap in all_laps)),
        likeness(folder, side, measured),
        (inside[-1]["heard"] - inside[0]["heard"]) / (50 * (inside[-1]["clock"] - inside[0]["clock"])),
        mean(lap["level"] for lap in inside),
        back / 1000 - restored,
    )


def mean(values: Any) -> float:
    return float(np.mean(list(values)))


def likeness(folder: Path, side: int, measured: list[list[int]]) -> float:
    """Mean PSNR of up to 50 pictures against the other side's own: its portrait by its exact motion."""
    other = 1 - side
    sent = fv2v.read_motion(folder / f"{other}.npz")
    rows = {pts: row for row, pts in enumerate(sent.timing.pts)}
    films = {film: taken for _, taken, _, film in measured}  # the last picture before a frame of the film
    reenactor = fv2v.Reenactor("starter")
    source = reenactor.encode(folder / f"{other}.png")
    values = []
    for film, taken in list(films.items())[:: max(1, len(films) // 50)]:
        path = folder / f"{side}-seen" / f"{film:05d}.png"
        if taken not in rows or not path.exists():
            continue
        motion = sent.motion[rows[taken] : rows[taken] + 1]
        own = next(iter(reenactor.animate(source, motion, relative=False))).astype(float)
        error = np.square(own - read_image(path)).mean()
        values.append(10 * np.log10(255**2 / max(error, 1e-9)))
    return mean(values)


if __name__ == "__main__":
    main()
