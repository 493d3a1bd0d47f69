# SPDX-License-Identifier: Apache-2.0
"""FID: how far apart two sets of pictures are, by the statistics of their features (Heusel et al. 2017).

    d² = |μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁ Σ₂)^½

With Σ = A Aᵀ the last trace is the sum of the singular values of A₁ᵀ A₂: symmetric eigenvalues and singular
values in place of a matrix square root, exact to rounding also where there are fewer pictures than features.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]  # pictures (B, 3, H, W) in [0, 1] -> (B, F)


class FeatureStatistics:
    """Mean and covariance of features, accumulated batch by batch in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(0, dtype=torch.float64)  # (F,)
        self.scatter = torch.zeros(0, 0, dtype=torch.float64)  # (F, F)  sum of (f − mean)(f − mean)ᵀ

    def add(self, features: Tensor) -> None:
        """Add (B, F) features. ValueError for other shapes, NaN or infinite numbers."""
        if features.dim() != 2 or (self.count and features.shape[1] != len(self.mean)):
            wanted = f"(B, {len(self.mean)})" if self.count else "(B, F)"
            raise ValueError(f"FID: expected features {wanted}, got {tuple(features.shape)}")
        if not torch.isfinite(features).all():
            raise ValueError("FID: features hold NaN or infinite numbers")
        more = features.detach().to("cpu", torch.float64)
        mean = more.mean(0)
        if not self.count:
            self.mean, self.scatter = torch.zeros_like(mean), mean.new_zeros(len(mean), len(mean))
        # deviations from the batch's own mean, and those of the means: no difference of large sums
        total, step, centred = self.count + len(more), mean - self.mean, more - mean
        self.scatter += centred.mT @ centred + torch.outer(step, step) * (self.count * len(more) / total)
        self.mean += step * (len(more) / total)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """(F, F), unbiased. ValueError for fewer than two pictures."""
        if self.count < 2:
            raise ValueError(f"FID: expected at least 2 pictures in each set, got {self.count}")
        return self.scatter / (self.count - 1)


def frechet_distance(one: FeatureStatistics, other: FeatureStatistics) -> float:
    """d², the FID: 0 for equal sets.

    Raises:
        ValueError: fewer than two pictures in a set, or features of different lengths.
    """
    first, second = one.covariance, other.covariance
    if first.shape != second.shape:
        raise ValueError(f"FID: expected features of one length, got {len(first)} and {len(second)}")
    common = torch.linalg.svdvals(_root(first).mT @ _root(second)).sum()
    means = (one.mean - other.mean).square().sum()
    return max(0.0, float(means + first.trace() + second.trace() - 2 * common))


class FrechetDistance:
    """FID of a model's pictures against true ones.

    Args:
        network: from pictures (B, 3, H, W) in [0, 1] to features (B, F). Published numbers take the 2048 of
            Inception-v3; numbers by different networks do not compare.
    """

    def __init__(self, network: Network) -> None:
        self.network: Network | None = network
        self.outputs, self.true = FeatureStatistics(), FeatureStatistics()
        self.features: list[tuple[Tensor, Tensor]] = []  # that are in no statistics yet

    def __getstate__(self) -> dict[str, Any]:
        """Without the network, which no other process can be sent."""
        return self.__dict__ | {"network": None}

    @torch.no_grad()
    def add(self, outputs: Tensor, true: Tensor) -> None:
        """Add pictures (B, 3, H, W) in [0, 1] to each set; the numbers of them may differ."""
        assert self.network is not None, "one from another process takes no pictures"
        self.features.append((self.network(outputs), self.network(true)))

    def join(self, other: "FrechetDistance") -> None:
        """Add the pictures that another one was given, and whose features it has still."""
        self.features += other.features
        self._gather()

    def value(self) -> float:
        self._gather()
        return frechet_distance(self.outputs, self.true)

    def _gather(self) -> None:
        for outputs, true in self.features:
            self.outputs.add(outputs)
            self.true.add(true)
        self.features.clear()


def _root(covariance: Tensor) -> Tensor:
    """A (F, F) with A Aᵀ = Σ. Eigenvalues within rounding of 0 count as 0."""
    values, vectors = torch.linalg.eigh(covariance)
    rounding = values.abs().max() * len(values) * torch.finfo(values.dtype).eps
    return vectors * values.where(values > rounding, 0.0).sqrt()
