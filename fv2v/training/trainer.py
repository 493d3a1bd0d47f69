# SPDX-License-Identifier: Apache-2.0
"""A training run: it starts or is resumed, takes its steps, and writes to its folder."""

import math
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import islice

import torch

from fv2v import checkpoints
from fv2v.data import open_data
from fv2v.data.loader import pair_loader
from fv2v.data.pairs import Draw, PairData, Pairs
from fv2v.io.hidden import lock_file, remove_left_behind
from fv2v.io.paths import whole_file
from fv2v.presets import completed
from fv2v.progress import StepProgress
from fv2v.training import state as run_state
from fv2v.training.build import TRUE, check_size, loss_networks, starting_model
from fv2v.training.config import TrainConfig
from fv2v.training.distributed import World
from fv2v.training.interrupts import deferred_signals
from fv2v.training.learner import Learner, NotFinite, StepResult
from fv2v.training.scores import HeldOutPeople
from fv2v.training.state import TrainingState
from fv2v.training.tensorboard import Board, sheet
from fv2v.training.toml import as_toml, changes, plain

MODEL = "model.safetensors"  # the averaged weights, as `Reenactor(weights=...)` takes them
CONFIG = "config.toml"  # the run's, as `fv2v train` takes it
LOCK = ".lock"  # in the run's folder, locked by the process that writes there
SHOWN = 4  # pairs in a sheet


class Trainer:
    """A run of a config, resumed from the newest checkpoint where its folder has one.

    Errors in the config, the data and the weights are raised here, or by the first step.

    Attributes:
        model: the result, a `FaceVid2Vid` of averaged weights, in evaluation mode.
        step: steps done.
        steps: in all.
        notes: for the user to read before it starts, a line each.
    """

    def __init__(
        self, config: TrainConfig, world: World, data: PairData | None = None, *, fresh: bool = False
    ) -> None:
        """Load everything.

        Args:
            config: of the run.
            world: as `process_group` yields it.
            data: in place of what is in the folder `config.data`.
            fresh: start over where no checkpoint in the run's folder can be read; those that are there, and
                the trained model, go into a folder in it.

        Raises:
            FileNotFoundError: a file or folder is absent.
            ValueError: a config that does not fit its model or its data; files that cannot be used; another
                process trains in the folder; no checkpoint there can be read, without `fresh`.
        """
        self.config, self.world, self.notes = config, world, list[str]()
        model = starting_model(config)
        shape = model.config
        size = config.size or shape.image_size
        check_size(shape, size)
        painted = size * shape.output_size // shape.image_size
        self.data = open_data(config.data, painted) if data is None else data
        examples = [self.data[Draw(i % len(self.data), config.seed + i)] for i in range(SHOWN)]
        self.examples = Pairs.cat(examples).scaled(world.device)
        self._check_data(shape.keypoints, painted)
        self.pairs = config.batch * config.accumulate * world.size
        self.steps = config.steps or math.ceil(config.epochs * len(self.data) / self.pairs)
        if config.spectral_norm is None:
            config = replace(config, spectral_norm=config.weights is None)
        self.described = plain(replace(config, model=shape)) | {"processes": world.size}
        known = self.examples.truth is not None
        self.held_out = HeldOutPeople(config.held_out, known, painted)
        self.learner = Learner(
            model.to(world.device),
            config,
            loss_networks(config, knows_truth=known, device=world.device),
            world,
            self.steps,
            size,
        )
        self.model = self.learner.average.model
        self.step = self._resume(fresh)

    def run(self, progress: StepProgress | None = None) -> None:
        """Train to the end, or until SIGINT or SIGTERM, where `step` is less than `steps` afterwards.

        At the end and every `save_every` steps, a checkpoint and `model.safetensors` are written to the run's
        folder; before the first, `config.toml`.

        Args:
            progress: called after every step, in the first process.

        Raises:
            NotFinite: a loss or a gradient is NaN or infinite; it names the step and the terms. Checkpoints
                stay as they are.
        """
        with ExitStack() as stack:
            interrupts = stack.enter_context(deferred_signals())
            board = None
            if self.world.first:
                with whole_file(self.config.output / CONFIG) as temporary:
                    temporary.write_text(as_toml(plain(self.config)), encoding="utf-8")
                board = stack.enter_context(closing(Board(self.config.output, self.step)))
            for parts in self._batches():
                result = self._learn(parts, interrupts.arrived)
                self.step += 1
                if board is not None:
                    if result.stopped or self._due(self.config.save_every):
                        self.save()
                    self._log(board, result.values)
                    if progress is not None:
                        progress(self.step, self.steps, self.pairs, result.values)
                if result.stopped:
                    break
        self.world.wait()
        if self.world.first:
            self._release()

    def save(self) -> None:
        """Write a checkpoint, and `model.safetensors`."""
        random = [torch.get_rng_state()]
        if self.world.device.type == "cuda":
            random.append(torch.cuda.get_rng_state(self.world.device))
        state = TrainingState(self.step, self.described, self.learner.state(), random)
        run_state.write(state, self.config.output, self.config.keep)
        checkpoints.save(self.model, self.config.output / MODEL)

    def _due(self, every: int) -> bool:
        """After every so many steps, and after the last."""
        return self.step % every == 0 or self.step == self.steps

    def _log(self, board: Board, values: dict[str, float]) -> None:
        config = self.config
        if self._due(config.log_every):
            losses = {f"loss/{name}": value for name, value in values.items()}
            board.numbers(self.step, losses | {"rate": config.optimiser.rate(self.step - 1, self.steps)})
        if self._due(config.scores_every):
            scores = self.held_out.scores(self.model, self.learner.size)
            board.numbers(self.step, {f"held_out/{name}": value for name, value in scores.items()})
        if self._due(config.sheet_every):
            board.picture(self.step, "pairs", sheet(self.model, self.examples, self.learner.size))

    def _learn(self, parts: list[Pairs], stop: bool) -> StepResult:
        try:
            return self.learner.step(self.step, parts, stop)
        except NotFinite as error:
            kept = run_state.found(self.config.output)
            last = f"{kept[-1]} is from before it" if kept else "no checkpoint was written before it"
            raise NotFinite(f"{error}; {last}") from None

    def _batches(self) -> Iterator[list[Pairs]]:
        """The parts of each of the steps to come."""
        loader = pair_loader(
            self.data,
            batch=self.pairs,
            seed=self.config.seed,
            steps=max(0, self.steps - self.step),
            first_step=self.step,
            rank=self.world.rank,
            ranks=self.world.size,
            accumulate=self.config.accumulate,
            workers=self.config.workers,
            augment=self.config.augment,
        )
        while parts := list(islice(loader, self.config.accumulate)):
            yield parts

    def _take_folder(self) -> None:
        """Make the run's folder, for this process alone, without what a killed run left half written."""
        folder = self.config.output
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"output: {folder} is a file, expected a folder")
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_file(folder / LOCK)
        if lock is None:
            raise ValueError(
                f"output: another process trains in {folder}; let it end, or choose another folder"
            )
        self._release = weakref.finalize(self, lock.close)
        remove_left_behind(folder)

    def _start_over(self) -> None:
        """Move what an earlier run left into a folder; ValueError where that run can go on."""
        folder = self.config.output
        state = run_state.latest(folder).state
        if state is not None:
            raise ValueError(
                f"output: the run in {folder} can go on after step {state.step}; leave out --fresh, or "
                "choose another folder"
            )
        aside = run_state.set_aside(folder, [folder / MODEL])
        if aside is not None:
            self.notes.append(f"{folder}: started over; what was there is in {aside}")

    def _resume(self, fresh: bool) -> int:
        """Load the newest checkpoint, where there is one; the steps done."""
        folder = self.config.output
        if self.world.first:
            self._take_folder()
            if fresh:
                self._start_over()
        self.world.wait()
        state, left_out = run_state.latest(folder)
        if state is None:
            if left_out or (folder / MODEL).exists():
                there = f"{left_out[0]}; {len(left_out)} in all" if left_out else f"only {MODEL}"
                raise ValueError(
                    f"output: {folder} holds no checkpoint that can be read ({there}). Put a whole one "
                    "there, or start over with --fresh, which moves what is there into a folder"
                )
            return 0
        self.notes += left_out
        before = {**state.config, "model": completed(state.config["model"])}
        if before["model"] != self.described["model"]:
            raise ValueError(f"{folder} holds a run of another model; choose another folder for this one")
        self.learner.load(state.learner)
        torch.set_rng_state(state.random[0])
        if self.world.device.type == "cuda" and len(state.random) > 1:
            torch.cuda.set_rng_state(state.random[1], self.world.device)
        self.notes.append(f"{folder}: resumed after step {state.step}")
        self.notes += [f"changed since then: {each}" for each in changes(before, self.described)]
        return state.step

    def _check_data(self, keypoints: int, size: int) -> None:
        losses, truth = self.config.losses, self.examples.truth
        if self.examples.driving.shape[-1] != size:
            raise ValueError(
                f"data: expected pictures of {size} px, got {tuple(self.examples.driving.shape[2:])}"
            )
        needed = {f"losses.{name}": getattr(losses, name) for name in (*TRUE, "true_keypoints")} | {
            "teacher": max(self.config.teacher)
        }
        used = [name for name, weight in needed.items() if weight]
        if used and truth is None:
            raise ValueError(f"{used[0]}: expected 0, as the data has no true motion")
        known, landmarks = 0 if truth is None else truth.canonical.shape[1], self.config.landmarks
        if not all(0 <= number < known for number in landmarks):
            raise ValueError(f"landmarks: the data has {known}, numbered from 0; got {list(landmarks)}")
        chosen = len(landmarks) or known
        if used and chosen != keypoints:
            raise ValueError(
                f"{used[0]}: the data has {known} true keypoints, the model has {keypoints}; landmarks names "
                "those that count"
            )
        for name, wanted in (("expression_weights", chosen), ("focus", known)):
            count = len(getattr(self.config, name))
            if count not in (0, wanted):
                raise ValueError(
                    f"{name}: expected {wanted} numbers, one a true keypoint of the data; got {count}"
                )
        if losses.head_pose and truth is None and self.config.pose is None:
            self.notes.append("no head_pose term: the data has no true poses, and `pose` names no weights")
