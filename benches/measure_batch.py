# SPDX-License-Identifier: Apache-2.0
"""Prints what `fv2v batch` saves over a loop of `fv2v reenact`, one process a clip, on the starter.

`fv2v demo`, then `python benches/measure_batch.py fv2v-demo/portrait.png fv2v-demo/driving.mp4`. Seconds of
the processor say more than those of the clock on a machine that others use too. With `--ray local`, or the
address of a cluster, it prints instead what Ray costs: to start, and a clip.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def timed(*commands: list[str]) -> tuple[float, float]:
    """Seconds by the clock and of the processor that commands of fv2v take, one after the other."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for command in commands:
        subprocess.run([sys.executable, "-m", "fv2v", *command], check=True, capture_output=True)
    clock, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_jobs(folder: Path, row: dict[str, object], clips: int) -> list[str]:
    """A batch of so many clips: its command line up to the folder for them."""
    rows = [json.dumps(row | {"id": i, "yaw": i}) for i in range(clips)]
    (folder / f"{clips}.jsonl").write_text("\n".join(rows))
    return ["batch", str(folder / f"{clips}.jsonl"), "-o"]


def print_cost_of_ray(folder: Path, row: dict[str, object], clips: int, address: str) -> None:
    """Of batches of few and of many clips, by one worker each: what differs is the clips' own time."""
    few, seconds = 2, {}
    for name, options in (("alone", []), ("ray", ["--ray", address, "--workers", "1"])):
        for count in (few, few + clips):
            command = [*write_jobs(folder, row, count), str(folder / f"{name}-{count}"), *options]
            seconds[name, count] = timed(command)[0]
    slope = {name: (seconds[name, few + clips] - seconds[name, few]) / clips for name in ("alone", "ray")}
    start = {name: seconds[name, few] - few * slope[name] for name in slope}
    cost = 1000 * (slope["ray"] - slope["alone"])
    print(f"a clip: {slope['alone']:.3f} s, with Ray {slope['ray']:.3f} s, {cost:.0f} ms more")
    print(f"before the first one: {start['alone']:.1f} s, with Ray {start['ray']:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("portrait")
    parser.add_argument("driving")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--frames", type=int, default=8, help="of each clip")
    parser.add_argument("--looped", type=int, help="clips that go through the loop; its times count for all")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--ray", metavar="ADDRESS")
    given = parser.parse_args()
    looped = given.looped or given.clips
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        row = {"portrait": given.portrait, "driving": given.driving, "frames": given.frames}
        if given.ray:
            print_cost_of_ray(folder, row, given.clips, given.ray)
            return
        output = folder / "out"
        command = write_jobs(folder, row, given.clips)
        batch = timed([*command, str(output), "--workers", str(given.workers)])
        pair, count = (given.portrait, given.driving), str(given.frames)
        clips = [folder / f"{i}.mp4" for i in range(looped)]
        loop = timed(
            *(["reenact", *pair, "-o", str(clip), "--yaw", clip.stem, "-n", count] for clip in clips)
        )
        same = all(clip.read_bytes() == (output / clip.name).read_bytes() for clip in clips)
    scale = given.clips / looped
    print(f"{given.clips} clips of {count} frames, {looped} of them by the loop; the same bytes: {same}")
    for name, alone, together in zip(("clock", "processor"), loop, batch, strict=True):
        ratio = scale * alone / together
        print(f"{name}: loop {scale * alone:.1f} s, batch {together:.1f} s, {ratio:.2f} times as long")


if __name__ == "__main__":
    main()
