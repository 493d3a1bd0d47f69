# SPDX-License-Identifier: Apache-2.0
"""The paper's ablation (its Table 4) in small: trains all models on drawn heads, and compares them.

`python benches/train_ablation.py -o RUNS` draws the heads, trains each of MODELS by each seed (`fv2v train
ablation-NAME`, in two stages), measures them on held-out heads, and writes ablation.json, ablation.md and
ablation.png into benches/results/ablation. The same command goes on where it was stopped or killed, in every
part of it.

In the first stage, MOTION, keypoints and poses alone are learnt: without pictures a pair takes a third of the
time. What they have learnt is what the second stage begins with.

Two runs at a time, of one thread each, take two cores less time than one after the other. Minutes are of the
clock, of one such run; what a killed run has to take again counts twice. `--quick` takes two steps and two
people: to see that it runs. `--precision bfloat16` halves the time where a CPU multiplies it (AMX).

AKD is the mean distance in pixels between the renderer's landmarks of the true picture and those that the
starter's H, the drawn heads' own detector, finds in the output.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

sys.path.insert(0, str(Path(__file__).parent / "support"))
from ablation_report import write_report

import fv2v
from fv2v.geometry import keypoints_of
from fv2v.io.digest import sha256_of
from fv2v.io.paths import whole_file
from fv2v.metrics import HeldOut, Scene, evaluate
from fv2v.metrics.evaluation import Example
from fv2v.metrics.protocols import unchanged
from fv2v.metrics.report import MetricNetworksUsed, describe
from fv2v.training import state
from fv2v.training.config import PRECISIONS, TrainConfig, read_config
from fv2v.training.trainer import MODEL

MODELS = ("ours", "k15", "k10", "2d", "direct", "fomm")
SIZE = 64  # pixels
MOTION = ("losses.reconstruction=0", "steps=400", "batch=32", "optimiser.lr=1e-3")  # of the first stage
BATCH = 8  # frames that are measured together
TICK = 1.0  # seconds between looks at what runs
# glibc keeps freed memory, or every large tensor's pages are made anew
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MALLOC_TOP_PAD_": "100000000",
}
RESULTS = Path(__file__).parent / "results" / "ablation"
QUICK = {"steps": 2, "identities": 4, "frames": 2, "people": 2, "batch": 2}


@dataclass(frozen=True)
class Run:
    """A stage of one model by one seed, in a folder of its own."""

    model: str
    seed: int
    data: Path
    folder: Path
    sets: tuple[str, ...]  # what the command line changes of the config, as `--set` takes it

    @property
    def assignments(self) -> list[str]:
        return [f"data={self.data}", f"output={self.folder}", f"seed={self.seed}", *self.sets]

    @cached_property
    def config(self) -> TrainConfig:
        return read_config(f"ablation-{self.model}", self.assignments)

    @property
    def done(self) -> bool:
        last = f"step-{self.config.steps:08d}.pt"
        found = state.found(self.folder)
        return bool(found) and found[-1].name == last and (self.folder / MODEL).exists()

    @property
    def clock(self) -> Path:
        """A file of the seconds so far, outside the run's folder, in which its process may tidy up."""
        return self.folder.with_suffix(".seconds")

    @property
    def seconds(self) -> float:
        return float(self.clock.read_text()) if self.clock.exists() else 0.0

    def took(self, seconds: float) -> None:
        total = self.seconds + seconds
        with whole_file(self.clock) as temporary:
            temporary.write_text(f"{total:.3f}\n")

    def start(self, threads: int) -> subprocess.Popen[bytes]:
        """Train, or go on; what it prints is in the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        sets = [word for each in self.assignments for word in ("--set", each)]
        command = [sys.executable, "-m", "fv2v", "train", f"ablation-{self.model}", *sets, "--device", "cpu"]
        environment = os.environ | MALLOC | {"OMP_NUM_THREADS": str(threads)}
        with (self.folder / "printed.txt").open("ab") as printed:
            return subprocess.Popen(command, env=environment, stdout=printed, stderr=subprocess.STDOUT)


def draw_heads(folder: Path, identities: int, frames: int, workers: int) -> None:
    """What is missing of them."""
    words = [
        "-o",
        folder,
        "--size",
        SIZE,
        "--identities",
        identities,
        "--frames",
        frames,
        "--workers",
        workers,
    ]
    subprocess.run([sys.executable, "-m", "fv2v", "synthesize", *map(str, words)], check=True)


def train_all(runs: list[Run], parallel: int, threads: int) -> None:
    """Those that are not done, so many at a time. SystemExit where one fails; the others end with it."""
    waiting, running = [run for run in runs if not run.done], dict[Run, subprocess.Popen[bytes]]()
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                run = waiting.pop(0)
                running[run] = run.start(threads)
                print(f"{run.folder.name}: {run.config.steps} steps", flush=True)
            before = time.perf_counter()
            time.sleep(TICK)
            for run, process in list(running.items()):
                run.took(time.perf_counter() - before)
                if process.poll() is None:
                    continue
                del running[run]
                if process.returncode:
                    printed = (run.folder / "printed.txt").read_text(errors="replace")
                    sys.exit(f"{run.folder.name} failed:\n{printed[-2000:]}")
                print(f"{run.folder.name}: {run.seconds / 60:.1f} minutes", flush=True)
    finally:
        for process in running.values():
            process.terminate()  # it writes a checkpoint
        for process in running.values():
            process.wait()


class Landmarks:
    """The landmarks of drawn heads (B, 22, 2) in pixels, where the starter's H sees them in pictures."""

    def __init__(self) -> None:
        self.reenactor = fv2v.Reenactor("starter", device="cpu")

    @torch.inference_mode()
    def __call__(self, pictures: Tensor) -> Tensor:
        config, side = self.reenactor.config, pictures.shape[-1]
        size = (config.image_size, config.image_size)
        larger = interpolate(pictures, size, mode="bicubic", antialias=True).clamp(0, 1)
        motion, canonical = self.reenactor.networks.estimate(larger)
        voxels = config.image_size // config.volume_stride
        return in_pixels(keypoints_of(canonical, motion) * (voxels - 1) / voxels, side)


def in_pixels(points: Tensor, side: int) -> Tensor:
    """(B, K, 3) in picture coordinates, where -1 and 1 are the edges -> (B, K, 2)."""
    return (points[..., :2] + 1) / 2 * side


def distance(detector: Landmarks, pictures: list[Tensor], scenes: list[Scene]) -> float:
    """AKD: of driven pictures (T-1, 3, n, n) of each scene."""
    found = []
    for driven, scene in zip(pictures, scenes, strict=True):
        assert scene.truth is not None
        true = in_pixels(keypoints_of(scene.truth.canonical, scene.truth.driving), driven.shape[-1])
        found.append((detector(driven) - true).norm(dim=-1).mean(-1))
    return float(torch.cat(found).mean())


def scores(run: Run, scenes: list[Scene], detector: Landmarks, asked: dict[str, int]) -> dict[str, Any]:
    """A trained model's numbers; those of the same weights and people are read where they are known."""
    weights, kept = run.folder / MODEL, run.folder / "scores.json"
    key = {"weights": sha256_of(weights), "held_out": asked}
    if kept.exists() and (known := json.loads(kept.read_text()))["key"] == key:
        return known
    reenactor = fv2v.Reenactor(weights=weights, device="cpu")
    found = evaluate(reenactor, scenes, batch_size=BATCH, examples=len(scenes))
    parameters = sum(each.numel() for each in reenactor.model.parameters())
    known = {
        "key": key,
        "parameters": parameters,
        "keypoints": reenactor.config.keypoints,
        "akd": distance(detector, [each.outputs.driven for each in found.examples], scenes),
        "results": asdict(found.results),
        "references": references(found.examples, scenes, detector),
        "setting": asdict(
            describe(
                reenactor,
                weights=weights,
                data="held-out drawn heads",
                seed=asked["seed"],
                scenes=found.scenes,
                frames=asked["frames"],
                networks=MetricNetworksUsed(),
                batch_size=BATCH,
            )
        ),
    }
    with whole_file(kept) as temporary:
        temporary.write_text(json.dumps(known, indent=1) + "\n")
    print(f"{run.folder.name}: measured", flush=True)
    return known


def references(examples: list[Example], scenes: list[Scene], detector: Landmarks) -> dict[str, float]:
    """AKD of the true pictures, which is the detector's own error, and of the sources unmoved."""
    still = [unchanged(each.source, each.outputs).driven for each in examples]
    return {
        "akd_true": distance(detector, [each.true.driven for each in examples], scenes),
        "akd_unchanged": distance(detector, still, scenes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the heads and the runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--identities", type=int, default=1000, help="people to learn from")
    parser.add_argument("--frames", type=int, default=8, help="of each of them")
    parser.add_argument("--people", type=int, default=64, help="held out, to measure on")
    parser.add_argument("--parallel", type=int, default=2, help="runs at a time")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="float32", help="of training's convolutions"
    )
    parser.add_argument("--quick", action="store_true", help="two steps, two people")
    given = parser.parse_args()
    sets = [f"precision={given.precision}"]
    motion_sets = [*sets, *MOTION]
    if given.quick:
        given.identities, given.frames, given.people = QUICK["identities"], QUICK["frames"], QUICK["people"]
        motion_sets += (few := [f"batch={QUICK['batch']}", f"steps={QUICK['steps']}"])
        sets += few
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores = os.cpu_count() or 1
    threads = max(1, cores // given.parallel)

    data = given.output / "heads"
    given.output.mkdir(parents=True, exist_ok=True)
    draw_heads(data, given.identities, given.frames, cores)
    motions, runs = list[Run](), list[Run]()
    for seed in given.seeds:
        for model in given.models:
            folder = given.output / f"{model}-{seed}"
            motion = Run(model, seed, data, folder.with_name(f"{folder.name}-motion"), tuple(motion_sets))
            motions.append(motion)
            begun = (*sets, f"weights={motion.folder / MODEL}", "prior=false")
            runs.append(Run(model, seed, data, folder, begun))
    train_all(motions, given.parallel, threads)
    train_all(runs, given.parallel, threads)
    held_out = {"identities": given.people, "frames": 8, "pairs": given.people, "seed": 0}
    scenes = list(HeldOut(size=SIZE, **held_out))
    detector = Landmarks()
    rows = [
        {
            "model": run.model,
            "seed": run.seed,
            "steps": [motion.config.steps, run.config.steps],
            "minutes": (motion.seconds + run.seconds) / 60,
        }
        | scores(run, scenes, detector, held_out)
        for motion, run in zip(motions, runs, strict=True)
    ]
    setting = {
        "size": SIZE,
        "precision": given.precision,
        "batch": [motions[0].config.batch, runs[0].config.batch],
        "identities": given.identities,
        "frames": given.frames,
        "held_out": held_out,
        "parallel": given.parallel,
        "threads": threads,
    }
    write_report(given.results, rows, setting)
    print(f"{given.results}: written")


if __name__ == "__main__":
    main()
