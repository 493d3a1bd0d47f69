"""What learns: a model, its discriminator and its average, and the optimisers that change them."""

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
from fv2v.training.objective import DiscriminatorObjective, Judges, Objective
from fv2v.training.randomness import Chance
from fv2v.training.spectral import add_spectral_norms, plain_weights
from fv2v.training.sync_norm import synchronise_norms

GRADIENTS = ("gradient", "discriminator_gradient")  # norms, as logs call them


class StepResult(NamedTuple):
    """What a step came to, the same in all processes."""

    values: dict[str, float]  # for logs: means of the terms over the batch, their sum "loss", and GRADIENTS
    stopped: bool  # whether some process was asked to stop


class LearnerState(NamedTuple):
    """All that steps change, as tensors and plain containers."""

    model: dict[str, Any]
    average: dict[str, Any]
    average_steps: int
    discriminator: dict[str, Any] | None
    optimisers: list[dict[str, Any]]  # the model's; the discriminator's where there is one
    scalers: list[dict[str, Any]]  # of the same gradients; empty where precision needs none


class NotFinite(ValueError):
    """A loss or a gradient is NaN or infinite. Weights are as the step before left them."""


class Learner:
    """Trains a model: `step` changes everything once. On a CPU the same steps give the same bits."""

    def __init__(
        self,
        model: FaceVid2Vid,
        config: TrainConfig,
        judges: Judges,
        world: World,
        steps: int,
        size: int,
    ) -> None:
        """`model` and `judges` are on the world's device; the model, and the discriminator, learn in place.

        `steps` is the run's length, `size` what the networks see, in pixels.
        """
        self.config, self.world, self.steps, self.size = config, world, steps, size
        self.average = Average(deepcopy(model), config.average)
        if config.spectral_norm and _learns(model.generator):
            add_spectral_norms(model.generator, config.seed)
        if world.device.type == "cpu":
            _keep_channels_last(model)
        if world.size > 1:
            synchronise_norms(model, world.device)
        self.model, self.discriminator = model.train(), judges.discriminator
        for network in model.children():
            if not _learns(network):
                network.eval()  # what does not learn stays as it is, its norms' statistics too
        if config.fixed_norms:
            for module in model.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        self.dtype = model.appearance.lift.weight.dtype
        self.objective = self._shared(
            Objective(model, config.losses, judges, size, config.expression_weights, config.focus)
        )
        self.optimisers = [self._adam(_groups(model, config))]
        if self.discriminator is not None:
            self.judgement = self._shared(DiscriminatorObjective(self.discriminator.train()))
            parameters = list(self.discriminator.parameters())
            self.optimisers.append(self._adam([{"params": parameters, "name": "discriminator"}]))
        half = config.precision == "float16"
        self.scalers = [torch.amp.GradScaler(world.device.type, enabled=half) for _ in self.optimisers]

    def step(self, step: int, parts: Sequence[Pairs], stop: bool = False) -> StepResult:
        """Learn from the parts of a batch that are this process's, as `pair_loader` gives them.

        `step` is its number, from 0 on; `stop`: this process was asked to stop.

        Raises:
            NotFinite: before a weight is changed; it names step and terms.
        """
        sums: dict[str, Tensor] = {}
        for i, pairs in enumerate(parts):
            with self._gathered(last=i == len(parts) - 1):
                for name, term in self._backward(pairs, self._chance(step, len(pairs), i), len(parts)):
                    sums[name] = sums.get(name, 0) + term / len(parts)
        gradients = dict(zip(GRADIENTS, self._norms(), strict=False))
        asked = torch.tensor(float(stop), dtype=self.dtype, device=self.world.device)
        # one wait for the device a step, for everything
        *found, stopped = self.world.mean(torch.stack([*sums.values(), *gradients.values(), asked])).tolist()
        values = dict(zip((*sums, *gradients), found, strict=True))
        # float16 finds its scale by gradients that are infinite: the scaler leaves out such a step
        may_overflow = gradients if self.scalers[0].is_enabled() else ()
        wrong = [name for name, value in values.items() if not isfinite(value) and name not in may_overflow]
        if wrong:
            raise NotFinite(f"step {step + 1}: not a finite number: {', '.join(wrong)}")
        self._update(step)
        return StepResult(values, stopped > 0)

    def state(self) -> LearnerState:
        """All that changes, not copied."""
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
        """Go on from a state of a learner of the same config."""
        self.model.load_state_dict(state.model)
        self.average.model.load_state_dict(state.average)
        self.average.steps = state.average_steps
        if self.discriminator is not None and state.discriminator is not None:
            self.discriminator.load_state_dict(state.discriminator)
        for optimiser, values in zip(self.optimisers, state.optimisers, strict=True):
            optimiser.load_state_dict(values)
        for scaler, values in zip(self.scalers, state.scalers, strict=True):
            scaler.load_state_dict(values)

    def _backward(self, pairs: Pairs, chance: Chance, parts: int) -> Iterator[tuple[str, Tensor]]:
        """Add the gradients of a part of `parts`; the terms, by name."""
        pairs = pairs.to(self.world.device, self.dtype)
        if self.discriminator is not None:
            self.discriminator.requires_grad_(False)
        with self._autocast():
            terms, output = self.objective(pairs, chance)
        loss = terms.total(self.config.losses)
        self.scalers[0].scale(loss / parts).backward()
        yield "loss", loss.detach()
        yield from ((name, term.detach()) for name, term in terms.present())
        if self.discriminator is None or output is None:
            return
        self.discriminator.requires_grad_(True)
        with self._autocast():
            loss = self.judgement(pairs.driving, output.detach())
        self.scalers[1].scale(loss / parts).backward()
        yield "discriminator", loss.detach()

    def _norms(self) -> list[Tensor]:
        """Of the gradients of each optimiser, which are clipped where the config says so."""
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

    def _chance(self, step: int, pairs: int, part: int) -> Chance:
        """Of this process's pairs in a part: what the same pairs would get if there were one process."""
        config, world = self.config, self.world
        first, last = config.teacher
        teacher = first + (last - first) * step / self.steps
        whole = pairs * world.size * config.accumulate
        chance = Chance.of_step(config.seed, step, whole, teacher, world.device, self.dtype)
        start = (part * world.size + world.rank) * pairs
        return chance[start : start + pairs]

    def _adam(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.Adam(groups, lr=self.config.optimiser.lr, betas=self.config.optimiser.betas)

    def _autocast(self) -> AbstractContextManager[None]:
        dtype = find_dtype(self.config.precision)
        return torch.autocast(self.world.device.type, dtype, enabled=dtype != torch.float32)

    def _shared(self, module: nn.Module) -> nn.Module:
        """Whose gradients are means over the processes."""
        # buffers are the same everywhere without being sent about: norms are synchronised
        return DistributedDataParallel(module, broadcast_buffers=False) if self.world.size > 1 else module

    @contextmanager
    def _gathered(self, *, last: bool) -> Iterator[None]:
        """Gradients wait for the last part before they go to other processes."""
        modules = [self.objective, *([] if self.discriminator is None else [self.judgement])]
        with ExitStack() as stack:
            for module in modules:
                if isinstance(module, DistributedDataParallel) and not last:
                    stack.enter_context(module.no_sync())
            yield


def _keep_channels_last(model: nn.Module) -> None:
    """Weights of 2D convolutions, and so what they make: a step of H takes a quarter less on a CPU."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


def _learns(network: nn.Module) -> bool:
    return any(each.requires_grad for each in network.parameters())


def _groups(model: FaceVid2Vid, config: TrainConfig) -> list[dict[str, Any]]:
    """A model's parameters by how fast they learn; each group has the name of one of them."""
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            pace = config.optimiser.pace(name)
            groups.setdefault(pace, {"params": [], "name": name})["params"].append(parameter)
    return list(groups.values())
