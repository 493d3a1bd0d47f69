# SPDX-License-Identifier: Apache-2.0
"""What D looks like."""

from dataclasses import dataclass

from fv2v.config.values import check_numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminatorConfig:
    """D, which only training has: no part of a ModelConfig, and of no checkpoint's config."""

    widths: tuple[int, ...] = (64, 128, 256, 512)
    scales: int = 1  # pictures it judges, each half as large as the last; the paper has 1 at 256 px, 2 at 512

    def __post_init__(self) -> None:
        check_numbers(self)
        if not self.widths or self.scales < 1:
            raise ValueError(f"DiscriminatorConfig: expected a width at least and scales >= 1, got {self}")

    @property
    def smallest(self) -> int:
        """Pixels on a side of the smallest picture it can judge: 2×2 patches are left of the last scale."""
        side = 5
        for _ in self.widths[1:]:
            side = 2 * side + 3
        return side << (self.scales - 1)
