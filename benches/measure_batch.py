# SPDX-License-Identifier: Apache-2.0
"""Prints what `fv2v batch` saves over a loop of `fv2v reenact`, one process a clip, on the starter.

`fv2v demo`, then `python benches/measure_batch.py fv2v-demo/portrait.png fv2v-demo/driving.mp4`. Seconds of
the processor say more than those of the clock on a machine that others use too.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("portrait")
    parser.add_argument("driving")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--frames", type=int, default=8, help="of each clip")
    parser.add_argument("--looped", type=int, help="clips that go through the loop; its times count for all")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    looped = given.looped or given.clips
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        row = {"portrait": given.portrait, "driving": given.driving, "frames": given.frames}
        rows = [json.dumps(row | {"id": i, "yaw": i}) for i in range(given.clips)]
        (folder / "jobs.jsonl").write_text("\n".join(rows))
        jobs, output = str(folder / "jobs.jsonl"), folder / "out"
        batch = timed(["batch", jobs, "-o", str(output), "--workers", str(given.workers)])
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
