# SPDX-License-Identifier: Apache-2.0
"""The training step: a model, its discriminator and its averaged weights, and their optimisers."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from copy import deepcopy
from math import isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from fv2v.data.pairs import Pairs
from fv2v.devices import find_dtype
from fv2v.networks import FaceVid2Vid
from fv2v.training.config import TrainConfig
from fv2v.training.distributed import World
from fv2v.training.ema import Average
from fv2v.training.objective import DiscriminatorObjective, LossNetworks, Objective
from fv2v.training.randomness import StepRandomness
from fv2v.training.spectral import add_spectral_norms, plain_weights
from fv2v.training.sync_norm import synchronise_norms

GRADIENTS = ("gradient", "discriminator_gradient")  # the names of gradient norms in logs


class StepResult(NamedTuple):
    """The result of a step, the same in all processes."""

    values: dict[str, float]  # for logs: means of the terms over the batch, their sum "loss", and GRADIENTS
    stopped: bool  # whether any process was asked to stop


class LearnerState(NamedTuple):
    """Everything that steps change, as tensors and plain containers."""

    model: dict[str, Any]
    average: dict[str, Any]
    average_steps: int
    discriminator: dict[str, Any] | None
    optimisers: list[dict[str, Any]]  # the model's; the discriminator's where there is one
    scalers: list[dict[str, Any]]  # of each optimiser's gradients; empty where the precision needs none


class NotFinite(ValueError):
    """A loss or a gradient is NaN or infinite. The weights are those of the step before."""


class Learner:
    """Trains a model, one optimiser step a call of `step`. On a CPU, runs are reproducible bit for bit."""

    def __init__(
        self,
        model: FaceVid2Vid,
        config: TrainConfig,
        networks: LossNetworks,
        world: World,
        steps: int,
        size: int,
    ) -> None:
        """A learner before its first step.

        Args:
            model: on the world's device; trained in place.
            config: of the run.
            networks: that losses use, on the world's device; the discriminator is trained in place.
            world: the processes that train together.
            steps: the length of the run.
            size: side of the networks' input pictures, in pixels.
        """
        self.config, self.world, self.steps, self.size = config, world, steps, size
        self.average = Average(deepcopy(model), config.average)
        if config.spectral_norm and _is_trained(model.generator):
            add_spectral_norms(model.generator, config.seed)
        if world.device.type == "cpu":
            _keep_channels_last(model)
        if world.size > 1:
            synchronise_norms(model, world.device)
        self.model, self.discriminator = model.train(), networks.discriminator
        for network in model.children():
            if not _is_trained(network):
                network.eval()  # frozen with the statistics of its norms
        if config.fixed_norms:
            _fix_norms(model)
        self.dtype = next(model.appearance.parameters()).dtype
        self.objective = self._shared(
            Objective(
                model,
                config.losses,
                networks,
                size,
                config.expression_weights,
                config.focus,
                config.landmarks,
            )
        )
        self.optimisers = [self._adam(_groups(model, config))]
        if self.discriminator is not None:
            self.discriminator_objective = self._shared(DiscriminatorObjective(self.discriminator.train()))
            parameters = list(self.discriminator.parameters())
            self.optimisers.append(self._adam([{"params": parameters, "name": "discriminator"}]))
        half = config.precision == "float16"
        self.scalers = [torch.amp.GradScaler(world.device.type, enabled=half) for _ in self.optimisers]

    def step(self, step: int, parts: Sequence[Pairs], stop: bool = False) -> StepResult:
        """One optimiser step.

        Args:
            step: its number, from 0 on.
            parts: of the batch this process's, as `pair_loader` yields them; gradients add up over them.
            stop: whether this process was asked to stop.

        Raises:
            NotFinite: before a weight is changed; it names step and terms.
        """
        if self.config.norms_until < 1 and step >= self.config.norms_until * self.steps:
            for network in (self.model.appearance, self.model.dense_motion, self.model.generator):
                _fix_norms(network)
        sums: dict[str, Tensor] = {}
        for i, pairs in enumerate(parts):
            with self._reduced(last=i == len(parts) - 1):
                for name, term in self._backward(pairs, self._randomness(step, len(pairs), i), len(parts)):
                    sums[name] = sums.get(name, 0) + term / len(parts)
        gradients = dict(zip(GRADIENTS, self._norms(), strict=False))
        asked = torch.tensor(float(stop), dtype=self.dtype, device=self.world.device)
        # the only time in a step that the CPU waits for the device
        *found, stopped = self.world.mean(torch.stack([*sums.values(), *gradients.values(), asked])).tolist()
        values = dict(zip((*sums, *gradients), found, strict=True))
        # infinite gradients are how float16's scaler finds its scale: it skips such a step
        may_overflow = gradients if self.scalers[0].is_enabled() else ()
        wrong = [name for name, value in values.items() if not isfinite(value) and name not in may_overflow]
        if wrong:
            raise NotFinite(f"step {step + 1}: not a finite number: {', '.join(wrong)}")
        self._update(step)
        return StepResult(values, stopped > 0)

    def state(self) -> LearnerState:
        """Everything that steps change, not copied."""
        discriminator = self.discriminator
        return LearnerState(
            model=self.model.state_dict(),
            average=self.average.model.state_dict(),
            average_steps=self.average.steps,
            discriminator=None if discriminator is None else discriminator.state_dict(),
            optimisers=[each.state_dict() for each in self.optimisers],
            scalers=[each.state_dict() for each in self.scalers],
        )

    def load(self, state: LearnerState) -> None:
        """Continue from the state of a learner of the same config."""
        self.model.load_state_dict(state.model)
        self.average.model.load_state_dict(state.average)
        self.average.steps = state.average_steps
        if self.discriminator is not None and state.discriminator is not None:
            self.discriminator.load_state_dict(state.discriminator)
        for optimiser, values in zip(self.optimisers, state.optimisers, strict=True):
            optimiser.load_state_dict(values)
        for scaler, values in zip(self.scalers, state.scalers, strict=True):
            scaler.load_state_dict(values)

    def _backward(self, pairs: Pairs, randomness: StepRandomness, parts: int) -> Iterator[tuple[str, Tensor]]:
        """Add the gradients of one of `parts` parts of the batch; yields the terms, by name."""
        pairs = pairs.scaled(self.world.device, self.dtype)
        if randomness.unmoved is not None:
            pairs = pairs.unmoved(randomness.unmoved)
        if self.discriminator is not None:
            self.discriminator.requires_grad_(False)
        with self._autocast():
            terms, output = self.objective(pairs, randomness)
        loss = terms.total(self.config.losses)
        self.scalers[0].scale(loss / parts).backward()
        yield "loss", loss.detach()
        yield from ((name, term.detach()) for name, term in terms.present())
        if self.discriminator is None or output is None:
            return
        self.discriminator.requires_grad_(True)
        with self._autocast():
            loss = self.discriminator_objective(pairs.driving, output.detach())
        self.scalers[1].scale(loss / parts).backward()
        yield "discriminator", loss.detach()

    def _norms(self) -> list[Tensor]:
        """Of the gradients of each optimiser, which are then clipped where the config says so."""
        norms = []
        for optimiser, scaler in zip(self.optimisers, self.scalers, strict=True):
            scaler.unscale_(optimiser)
            parameters = [each for group in optimiser.param_groups for each in group["params"]]
            norm = nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
            if self.config.optimiser.clip is not None and optimiser is self.optimisers[0]:
                nn.utils.clip_grads_with_norm_(parameters, self.config.optimiser.clip, norm)
            norms.append(norm)
        return norms

    def _update(self, step: int) -> None:
        for optimiser, scaler in zip(self.optimisers, self.scalers, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = self.config.optimiser.rate(step, self.steps, group["name"])
            scaler.step(optimiser)
            scaler.update()
            optimiser.zero_grad(set_to_none=True)
        self.average.update(plain_weights(self.model, self.average.model.state_dict().keys()))

    def _randomness(self, step: int, pairs: int, part: int) -> StepRandomness:
        """Of this process's pairs in a part. A pair gets the same whatever the number of processes."""
        config, world = self.config, self.world
        first, last = config.teacher
        teacher = first + (last - first) * step / self.steps
        whole = pairs * world.size * config.accumulate
        randomness = StepRandomness.of_step(
            config.seed,
            step,
            whole,
            teacher,
            world.device,
            self.dtype,
            config.tail_dropout,
            config.unmoved,
        )
        start = (part * world.size + world.rank) * pairs
        return randomness[start : start + pairs]

    def _adam(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.Adam(groups, lr=self.config.optimiser.lr, betas=self.config.optimiser.betas)

    def _autocast(self) -> AbstractContextManager[None]:
        dtype = find_dtype(self.config.precision)
        return torch.autocast(self.world.device.type, dtype, enabled=dtype != torch.float32)

    def _shared(self, module: nn.Module) -> nn.Module:
        """The module, with gradients that are means over the processes."""
        # buffers need not be broadcast: norms are synchronised, so they are the same in all processes
        return DistributedDataParallel(module, broadcast_buffers=False) if self.world.size > 1 else module

    @contextmanager
    def _reduced(self, *, last: bool) -> Iterator[None]:
        """Gradients are reduced over the processes once a step, in its last part."""
        modules = [self.objective, *([] if self.discriminator is None else [self.discriminator_objective])]
        with ExitStack() as stack:
            for module in modules:
                if isinstance(module, DistributedDataParallel) and not last:
                    stack.enter_context(module.no_sync())
            yield


def _keep_channels_last(model: nn.Module) -> None:
    """Put weights of 2D convolutions, and so their outputs, in channels-last order.

    A training step of H takes a quarter less time on a CPU.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


def _fix_norms(network: nn.Module) -> None:
    """Batch norms use the statistics gathered so far, and gather no more."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def _is_trained(network: nn.Module) -> bool:
    return any(each.requires_grad for each in network.parameters())


def _groups(model: FaceVid2Vid, config: TrainConfig) -> list[dict[str, Any]]:
    """A model's parameters in groups of one learning rate; a group has the name of one of its parameters."""
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            pace = config.optimiser.pace(name)
            groups.setdefault(pace, {"params": [], "name": name})["params"].append(parameter)
    return list(groups.values())
