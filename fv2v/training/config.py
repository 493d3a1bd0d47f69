# SPDX-License-Identifier: Apache-2.0
"""The configuration of a training run: frozen dataclasses. Their defaults are the paper's (Sec. 4)."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fv2v.config import DiscriminatorConfig, ModelConfig
from fv2v.data.augment import AugmentConfig
from fv2v.io.limits import shown
from fv2v.io.paths import PathLike
from fv2v.losses import LossConfig
from fv2v.training.toml import build, merged, read_table, with_assignments

SCHEDULES = ("constant", "cosine", "milestones")
PRECISIONS = ("float32", "float16", "bfloat16")
EXAMPLES = Path(__file__).parent / "configs"


def _require(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise ValueError(f"TrainConfig: expected {expected}, got {got!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserConfig:
    """Adam, for the model and for the discriminator alike."""

    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    schedule: str = "constant"  # or "cosine", down to 0 at the end; or "milestones"
    milestones: tuple[int, ...] = ()  # steps at which the rate is divided by `divisor`
    divisor: float = 10.0
    warmup: int = 0  # steps over which the rate rises linearly
    clip: float | None = None  # the norm to which the model's gradient is clipped
    # by the first parts of parameters' names, such as "dense_motion" or "generator.decoder": a factor of the
    # rate, and the share of all steps for which the parameters are frozen at the beginning
    rates: Mapping[str, float] = field(default_factory=dict)
    frozen: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(self.lr > 0, "optimiser.lr > 0", self.lr)
        _require(all(0 <= beta < 1 for beta in self.betas), "optimiser.betas in [0, 1)", self.betas)
        _require(self.schedule in SCHEDULES, f"optimiser.schedule one of {SCHEDULES}", self.schedule)
        fits = bool(self.milestones) == (self.schedule == "milestones")
        _require(fits, "optimiser.milestones beside the schedule 'milestones', and no other", self.milestones)
        _require(self.divisor >= 1, "optimiser.divisor >= 1", self.divisor)
        _require(self.warmup >= 0, "optimiser.warmup >= 0", self.warmup)
        _require(self.clip is None or self.clip > 0, "optimiser.clip > 0, or none", self.clip)
        _require(all(rate >= 0 for rate in self.rates.values()), "optimiser.rates >= 0", self.rates)
        shares = all(0 <= share <= 1 for share in self.frozen.values())
        _require(shares, "optimiser.frozen from 0 to 1", self.frozen)

    def rate(self, step: int, steps: int, name: str = "") -> float:
        """The learning rate of the parameter `name` at `step`, from 0 on, of a run of `steps`.

        It depends on the step alone, so a resumed run has no state of it to restore.
        """
        factor = 1.0
        if self.warmup:
            factor = min(1.0, (step + 1) / self.warmup)
        if self.schedule == "cosine":
            factor *= (1 + math.cos(math.pi * step / steps)) / 2
        factor /= self.divisor ** bisect_right(self.milestones, step)
        pace, share = self.pace(name)
        return self.lr * factor * pace if step >= share * steps else 0.0

    def pace(self, name: str) -> tuple[float, float]:
        """The values of `rates` and of `frozen` for the parameter `name`."""
        return _of(self.rates, name, 1.0), _of(self.frozen, name, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A run. The defaults of all values but the two folders are the paper's at 256 px.

    The paper does not state batch, precision and the average of the weights; those are chosen.
    """

    data: Path  # a folder of videos or of drawn heads, as `open_data` takes it
    output: Path  # the run's folder: checkpoints, the trained model, this config, TensorBoard's files, a log
    model: ModelConfig | None = None  # None: that of `weights`, or else the paper's
    weights: Path | None = None  # to start from, a file or folder as `--weights` takes it; None: random ones
    # first parts of parameters' names that are initialised anew, not taken from `weights`
    fresh: tuple[str, ...] = ()
    head: Path | None = None  # weights from which H and Δ are taken, whatever the others are
    # whether batch norms use the statistics of `weights` in training too, as in inference: those of a small
    # batch are noisy
    fixed_norms: bool = False
    # the share of all steps after which the batch norms of F, M and G keep to the statistics gathered by then
    norms_until: float = 1.0
    prior: bool = False  # whether random weights are changed by initialization.py
    spectral_norm: bool | None = None  # on G's convolutions; None: where there are no `weights`
    seed: int = 0

    size: int | None = None  # side of the networks' input, in pixels; None: the model's image_size
    epochs: int = 100  # each draws every item of the data once
    steps: int | None = None  # in place of epochs
    batch: int = 4  # pairs that one process takes at a time
    accumulate: int = 1  # batches whose gradients add up in a step; batch norms see each batch alone
    precision: str = "float32"  # of convolutions, under autocast; weights and coordinates stay float32
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    average: float = 0.999  # decay of the moving average of the weights

    losses: LossConfig = field(default_factory=LossConfig)
    # the perceptual loss's VGG-19: a file; "torchvision", where that keeps it; or "download": fetched there
    vgg: str | None = "torchvision"
    # weights whose H takes VGG-19's place in the perceptual loss, as losses/head_features.py has it
    features: Path | None = None
    # where the data has no truth, H of these weights estimates the rotations for head_pose; None: there is no
    # such term without a truth
    pose: Path | None = None
    # numbers of the landmarks of drawn heads (data/synthetic/landmarks.py) that are the keypoints' truth, one
    # a keypoint; (): all, in order
    landmarks: tuple[int, ...] = ()
    expression_weights: tuple[float, ...] = ()  # of each keypoint in true_expression; (): all alike
    focus: tuple[float, ...] = ()  # additional weight of pixels near each landmark in reconstruction
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    # teacher forcing: the share of pairs that are rendered with true keypoints in place of estimated ones, at
    # the first step and at the last
    teacher: tuple[float, float] = (0.0, 0.0)
    # the largest share of keypoints, the last ones, that do not move when a pair is rendered, so that the
    # first learn to matter most (Sec. 5; up to 0.75); a pair's own share is drawn
    tail_dropout: float = 0.0
    unmoved: float = 0.0  # the share of pairs whose source is also their driving frame
    augment: AugmentConfig | None = None
    workers: int = 2  # processes that read pairs

    # a folder of clips that are not trained on, as `fv2v evaluate` takes it, by which the model is scored on
    # the way; None: drawn heads where the data are drawn heads, else no scores
    held_out: Path | None = None
    log_every: int = 50  # steps between numbers in TensorBoard and in the log
    sheet_every: int = 1000  # between pictures there
    scores_every: int = 1000  # between scores of what is held out
    save_every: int = 1000  # between checkpoints
    keep: int = 3  # how many checkpoints stay

    def __post_init__(self) -> None:
        counts = "epochs batch accumulate log_every sheet_every scores_every save_every keep"
        for name in counts.split():
            _require(getattr(self, name) >= 1, f"{name} >= 1", getattr(self, name))
        _require(self.steps is None or self.steps >= 1, "steps >= 1, or none", self.steps)
        _require(self.workers >= 0, "workers >= 0", self.workers)
        _require(self.precision in PRECISIONS, f"precision one of {PRECISIONS}", self.precision)
        _require(0 <= self.average < 1, "average in [0, 1)", self.average)
        _require(0 < self.norms_until <= 1, "norms_until above 0, to 1", self.norms_until)
        _require(all(0 <= share <= 1 for share in self.teacher), "teacher from 0 to 1", self.teacher)
        _require(0 <= self.tail_dropout <= 0.75, "tail_dropout from 0 to 0.75", self.tail_dropout)
        _require(0 <= self.unmoved <= 1, "unmoved from 0 to 1", self.unmoved)
        learns = self.losses.of_pictures or self.losses.of_motion
        _require(learns, "a loss that counts", self.losses)
        known = self.weights is not None or not self.fixed_norms
        _require(known, "fixed_norms of weights, which have their statistics", self.weights)
        begins = self.weights is None or bool(self.fresh)
        _require(begins or not self.prior, "prior where something starts anew", self.weights)
        _require(not self.fresh or self.weights is not None, "fresh beside weights alone", self.fresh)


def read_config(name: PathLike, assignments: Sequence[str] = ()) -> TrainConfig:
    """The run that a TOML file describes, or one of the examples in training/configs, such as `paper-256`.

    A file with `base = "NAME"` has the values of another one, which has no base, in place of those it lacks.

    Args:
        name: a file, or the name of an example.
        assignments: `name=value`, which replace values of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no TOML; an unknown name, a wrong type; a value out of range.
    """
    path = _find(name)
    table = read_table(path)
    if "base" in table:
        table = _based(table, path)
    table = with_assignments(table, assignments)
    whole = f"{path} with {' '.join(assignments)}" if assignments else f"{path}"  # either may be to blame
    try:
        return build(TrainConfig, table)
    except RecursionError:
        raise ValueError(f"{path}: tables nested too deep") from None
    except ValueError as error:
        raise ValueError(f"{whole}: {shown(error)}") from error


def _find(name: PathLike) -> Path:
    examples = {path.stem: path for path in sorted(EXAMPLES.glob("*.toml"))}
    path = examples.get(str(name), Path(name))
    if not path.exists():
        raise FileNotFoundError(f"{name}: no such file, and none of the examples {', '.join(examples)}")
    return path


def _based(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """`table` on the values of its base, an example or a file that lies beside it."""
    name = table.pop("base")
    if not isinstance(name, str):
        raise ValueError(f"{path}: base: expected an example's name or a file's, got {name!r}")
    beside = path.parent / name
    below = read_table(_find(beside if beside.is_file() else name))
    if "base" in below:
        raise ValueError(f"{path}: base: expected a file without a base of its own, got {name!r}")
    return merged(below, table)


def _of(values: Mapping[str, float], name: str, default: float) -> float:
    """The value of the longest first part of `name` that `values` has."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        if (value := values.get(".".join(parts[:end]))) is not None:
            return value
    return default
