# SPDX-License-Identifier: Apache-2.0
"""Prints what `fv2v batch` saves over a loop of `fv2v reenact`, one process a clip, on the starter.

`fv2v demo`, then `python benches/measure_batch.py fv2v-demo/portrait.png fv2v-demo/driving.mp4`. Seconds of
the processor say more than those of the clock on a machine that others use too. With `--ray local`, or the
address of a cluster, it prints instead what Ray costs, to start and a clip, and the rows of the table in
fv2v/jobs/README.md that follow from that.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fv2v.jobs.call import Call
from fv2v.jobs.cluster import carry_out_on_ray
from fv2v.jobs.plan import Job
from fv2v.jobs.pool import carry_out
from fv2v.jobs.worker import Outcome

JOBS = 200  # that do nothing
FRAMES, MACHINES, WORKERS = 250, 100, 32  # of a clip; in the table; of a machine of 64 cores


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


def print_saving(folder: Path, given: argparse.Namespace, row: dict[str, object]) -> None:
    """Of a batch over a loop."""
    looped, output = given.looped or given.clips, folder / "out"
    command = write_jobs(folder, row, given.clips)
    batch = timed([*command, str(output), "--workers", str(given.workers)])
    pair, count = (given.portrait, given.driving), str(given.frames)
    clips = [folder / f"{i}.mp4" for i in range(looped)]
    loop = timed(*(["reenact", *pair, "-o", str(clip), "--yaw", clip.stem, "-n", count] for clip in clips))
    same = all(clip.read_bytes() == (output / clip.name).read_bytes() for clip in clips)
    scale = given.clips / looped
    print(f"{given.clips} clips of {count} frames, {looped} of them by the loop; the same bytes: {same}")
    for name, alone, together in zip(("clock", "processor"), loop, batch, strict=True):
        ratio = scale * alone / together
        print(f"{name}: loop {scale * alone:.1f} s, batch {together:.1f} s, {ratio:.2f} times as long")


def nothing(words: Sequence[str]) -> Call:
    """A job that is done at once."""
    return Call(lambda progress: {}, {}, {})


def of_nothing(carry: Callable[[list[Job]], Iterator[tuple[Job, Outcome]]]) -> tuple[float, float]:
    """Seconds before the first of some jobs that do nothing has ended, and for each of the others."""
    jobs = [Job(str(i), i, (), Path(), "") for i in range(JOBS + 1)]
    started, ends = time.perf_counter(), []
    for _, outcome in carry(jobs):
        assert not outcome.error, outcome.error
        ends.append(time.perf_counter())
    return ends[0] - started, (ends[-1] - ends[0]) / JOBS


def print_cost_of_ray(folder: Path, given: argparse.Namespace, row: dict[str, object]) -> None:
    """Of jobs that do nothing, and of batches of few and of many clips: what differs is the clips' own."""
    start, cost = {}, {}
    pools: dict[str, Any] = {
        "alone": lambda jobs: carry_out(jobs, 1, nothing),
        "Ray": lambda jobs: carry_out_on_ray(jobs, given.ray, nothing, workers=1),
    }
    for name, pool in pools.items():
        start[name], cost[name] = of_nothing(pool)
        print(f"{name}: a worker is there after {start[name]:.1f} s; a job costs {1000 * cost[name]:.1f} ms")
    few, slope = 2, {}
    for name, options in (("alone", []), ("Ray", ["--ray", given.ray, "--workers", "1"])):
        seconds = []
        for count in (few, few + given.clips):
            command = [*write_jobs(folder, row, count), str(folder / f"{name}-{count}"), *options]
            seconds.append(timed(command)[0])
        slope[name] = (seconds[1] - seconds[0]) / given.clips
    more = 1000 * (slope["Ray"] - slope["alone"])
    print(f"a clip: {slope['alone']:.3f} s, with Ray {slope['Ray']:.3f} s, {more:.0f} ms more")
    print_rows(start["Ray"], cost["Ray"], given.frame / 1000)


def print_rows(start: float, cost: float, frame: float) -> None:
    """Of the table in fv2v/jobs/README.md. Seconds: until a worker is there; Ray's a job; a frame."""
    clips = MACHINES * WORKERS * 3600 / (FRAMES * frame + cost)
    first = f"Ray: a cluster on {os.cpu_count()} cores and its first worker"
    for cells in (
        (f"{MACHINES} such machines", f"{1000 * frame:.0f} ms", f"{clips:,.0f}", "computed, with Ray's cost"),
        (first, "", "", f"{start:.1f} s, measured"),
        ("Ray: its cost a clip", "", "", f"{1000 * cost:.1f} ms, measured over {JOBS} jobs of nothing"),
        ("Ray: what one driver gives out", "", f"{3600 / cost:,.0f}", "computed: 3600 s / that cost"),
    ):
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("portrait")
    parser.add_argument("driving")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--frames", type=int, default=8, help="of each clip")
    parser.add_argument("--looped", type=int, help="clips that go through the loop; its times count for all")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--ray", metavar="ADDRESS")
    parser.add_argument("--frame", type=float, default=745, help="milliseconds of a frame, for the table")
    given = parser.parse_args()
    row: dict[str, object] = {"portrait": given.portrait, "driving": given.driving, "frames": given.frames}
    with tempfile.TemporaryDirectory() as folder:
        (print_cost_of_ray if given.ray else print_saving)(Path(folder), given, row)


if __name__ == "__main__":
    main()
