# SPDX-License-Identifier: Apache-2.0
"""Which model a command runs. Whatever is cheap to check is checked before weights are loaded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fv2v.checkpoints import NO_WEIGHTS, Weights, find, shipped
from fv2v.config import ModelConfig
from fv2v.devices import find_device, find_dtype
from fv2v.presets import PRESETS
from fv2v.presets import preset as find_preset
from fv2v.reenactor import Reenactor

COEFFICIENT_RATE = 25  # rows a second of files of coefficients, as SadTalker makes them


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model that a command runs, as its caller names it: first `check`, then `load`.

    Args:
        preset, weights, device, dtype: as `Reenactor` takes them.
        reenactor: one that is loaded already, in place of those four.
        driven_by: what the command drives the model by, "pictures" or "coefficients", as
            `ModelConfig.driven_by`; None: by motion, which every preset takes.
        requirements: functions that raise a ValueError where a preset does not fit the command's other
            arguments.
    """

    preset: str | ModelConfig | None
    weights: Weights | None
    device: str | None
    dtype: str
    reenactor: Reenactor | None = None
    driven_by: str | None = "pictures"
    requirements: Sequence[Callable[[ModelConfig], object]] = ()

    def check(self) -> None:
        """Refuse what can be refused without loading weights.

        Raises:
            FileNotFoundError: there is no such file of weights.
            ValueError: arguments that do not fit each other, or that nothing can be done with.
        """
        if self.reenactor is not None:
            if self.weights is not None or self.preset is not None:
                raise ValueError("expected a reenactor, or a preset and weights, got both")
            self._check_config(self.reenactor.config)
            return
        config = find_preset(self.preset) if isinstance(self.preset, str) else self.preset
        if config is not None:
            self._check_config(config)
        if self.weights is None and self.driven_by == "coefficients":
            raise ValueError(NO_WEIGHTS)
        if self.weights is None:
            shipped(config)
        elif self.weights != "random":
            find(self.weights, config)
        find_dtype(self.dtype)
        find_device(self.device)

    def load(self, *, optimize: bool = True) -> Reenactor:
        """The model; its preset is checked again, as it may be known from the weights' file alone.

        Raises:
            ValueError: as `check`, and for files that cannot be used.
        """
        reenactor = self.reenactor or Reenactor(
            self.preset, weights=self.weights, device=self.device, dtype=self.dtype, optimize=optimize
        )
        self._check_config(reenactor.config)
        return reenactor

    def _check_config(self, config: ModelConfig) -> None:
        if self.driven_by == "coefficients" and config.driven_by == "pictures":
            able = ", ".join(name for name, each in PRESETS.items() if each.driven_by == "coefficients")
            raise ValueError(
                f"{config.name!r} is driven by pictures: expected fv2v reenact, or one of {able}"
            )
        if self.driven_by == "pictures" and config.driven_by == "coefficients":
            raise ValueError(
                f"{config.name!r} is driven by 3DMM coefficients, no pictures: expected fv2v talk"
            )
        for require in self.requirements:
            require(config)
