# SPDX-License-Identifier: Apache-2.0
"""Training in processes of its own: `python training_children.py NAME FOLDER THREADS`."""

import io
import os
import signal
import sys
import time
from pathlib import Path
from threading import Timer
from typing import Any, BinaryIO

import torch
from runs import CPU, WITHOUT_JACOBIANS, config, gradients_of_a_step, trained

from fv2v.io.hidden import lock_file
from fv2v.training.distributed import process_group
from fv2v.training.trainer import LOCK, Trainer

KILLED_AFTER, HALF_WRITTEN = 3, 4  # steps


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_in_a_step(folder: Path) -> None:
    """Somewhere in it, or in what follows."""

    def show(done: int, *rest: Any) -> None:
        if done == KILLED_AFTER:
            Timer(0.02, die).start()

    Trainer(config(folder, steps=6), CPU).run(show)


def killed_in_a_write(folder: Path) -> None:
    save = torch.save

    def half(stored: Any, file: BinaryIO) -> None:
        whole = io.BytesIO()
        save(stored, whole)
        if stored["step"] < HALF_WRITTEN:
            file.write(whole.getvalue())
            return
        file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        file.flush()
        die()

    torch.save = half
    trained(folder, steps=6)


def interrupted(folder: Path) -> None:
    """By SIGTERM, sent to all processes of the run between two steps."""

    def show(done: int, *rest: Any) -> None:
        if done == KILLED_AFTER:
            os.killpg(os.getpgrp(), signal.SIGTERM)

    trainer = Trainer(config(folder, steps=6, save_every=6, workers=1), CPU)
    trainer.run(show)
    print(f"stopped after {trainer.step}")


def one_of_two(folder: Path) -> None:
    """A step's gradients in float64, then a run."""
    with process_group("cpu") as world:
        found = gradients_of_a_step(world)
        if world.first:
            torch.save(found, folder / "gradients.pt")
        Trainer(config(folder, batch=1, accumulate=2, losses=WITHOUT_JACOBIANS), world).run()


def holds_the_folder(folder: Path) -> None:
    lock = lock_file(folder / LOCK)
    print("held", flush=True)
    time.sleep(600)  # until it is killed
    assert lock is not None


if __name__ == "__main__":
    name, path, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.use_deterministic_algorithms(True, warn_only=True)  # as conftest.py has it
    globals()[name](Path(path))
