# SPDX-License-Identifier: Apache-2.0
"""What a model of the face-vid2vid family looks like: frozen dataclasses.

Sizes that follow from others are properties, so no two fields can disagree.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fv2v.config.discriminator import DiscriminatorConfig as DiscriminatorConfig
from fv2v.config.parts import (
    EULER_ORDERS as EULER_ORDERS,
)
from fv2v.config.parts import (
    AppearanceConfig as AppearanceConfig,
)
from fv2v.config.parts import (
    CanonicalConfig as CanonicalConfig,
)
from fv2v.config.parts import (
    DenseMotionConfig as DenseMotionConfig,
)
from fv2v.config.parts import (
    GeneratorConfig as GeneratorConfig,
)
from fv2v.config.parts import (
    GeometryConfig as GeometryConfig,
)
from fv2v.config.parts import (
    HeadConfig as HeadConfig,
)
from fv2v.config.parts import (
    RetargetingConfig as RetargetingConfig,
)
from fv2v.config.parts import (
    TransformerConfig as TransformerConfig,
)
from fv2v.config.values import check_numbers, config_of, require

RESIZES = ("triangle", "area", "gaussian")  # io/resize.py


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A member of the family. The defaults are the paper's at 256 px (Wang, Mallya, Liu 2021)."""

    name: str
    image_size: int = 256
    keypoints: int = 20  # K
    volume_channels: int = 32  # C of the feature volume
    volume_depth: int = 16  # D of it
    resize: str = "triangle"  # how pictures come to image_size: a release by its own kernel (io/resize.py)
    truncates: bool = False  # what G paints is truncated to levels of 255, not rounded: LivePortrait
    align_corners: bool = True  # volumes are read on the corner lattice, False: face lattice (fv2v/geometry)
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    canonical: CanonicalConfig | None = field(default_factory=CanonicalConfig)  # None: from the head's trunk
    head: HeadConfig = field(default_factory=HeadConfig)
    dense_motion: DenseMotionConfig = field(default_factory=DenseMotionConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    retargeting: RetargetingConfig | None = None  # where a release stitches and retargets

    def __post_init__(self) -> None:
        check_numbers(self)
        require(self.keypoints >= 1, "keypoints >= 1", self.keypoints)
        require(self.resize in RESIZES, f"resize one of {RESIZES}", self.resize)
        if self.canonical:
            smallest = self.canonical.stride << len(self.canonical.widths)
            require(
                self.image_size % smallest == 0, f"image_size a multiple of {smallest} (L)", self.image_size
            )
        smallest = self.volume_stride << len(self.dense_motion.widths)
        require(self.image_size % smallest == 0, f"image_size a multiple of {smallest} (M)", self.image_size)
        self._check_parts()

    def _check_parts(self) -> None:
        """That networks of these kinds go together."""
        flat, channels = self.volume_depth == 1, self.flat_channels
        lifted = self.appearance.lift or self.appearance.widths[-1] == channels
        require(lifted, f"without lift {channels} channels in the last of appearance.widths", self.appearance)
        fits = self.generator.project or self.generator.width == channels
        require(fits, f"without project a generator.width of {channels}", self.generator.width)
        fits = flat or self.dense_motion.reads == "features"
        require(fits, "volume_depth 1 where M reads pictures", self.volume_depth)
        if self.appearance.transformer:
            features = self.dense_motion.reads == "features" and not self.generator.detail_channels
            fits = self.appearance.lift and features
            require(fits, "lift, M that reads features and no detail beside appearance.transformer", self)
        if self.canonical and self.canonical.hourglass:
            require(
                flat and self.direct, "volume_depth 1 and head.trunk 'none' beside L's hourglass", self.head
            )
        if self.direct:
            given = self.canonical, self.geometry.transfer
            fits = self.canonical is not None and self.geometry.transfer == "keypoint"
            require(fits, "L and `keypoint` transfer where head.trunk is 'none'", given)

    @property
    def volume_stride(self) -> int:
        """Pixels of the picture to a voxel of the volume, in height and in width."""
        if transformer := self.appearance.transformer:
            return transformer.patch // (2 * transformer.enlarged)
        return 1 << (len(self.appearance.widths) - 1)

    @property
    def portrait_size(self) -> int:
        """Pixels on a side of the portrait as F sees it."""
        transformer = self.appearance.transformer
        return self.image_size * (transformer.enlarged if transformer else 1)

    @property
    def detail_sizes(self) -> tuple[int, ...]:
        """Pixels on a side of the features that join G beside the volume, finest first; (): none do."""
        count = len(self.appearance.widths) - 1 if self.generator.detail_channels else 0
        return tuple(self.image_size >> halvings for halvings in range(count))

    @property
    def direct(self) -> bool:
        """Whether L reads keypoints in each picture, and heads have no pose."""
        return self.head.trunk == "none"

    @property
    def driven_by(self) -> str:
        """What H and Δ read of a driver: "pictures", or windows of 3DMM "coefficients"."""
        return "coefficients" if self.head.window else "pictures"

    @property
    def output_size(self) -> int:
        """Pixels on a side of what G paints."""
        g = self.generator
        return self.image_size // self.volume_stride * g.pixel_shuffle << (len(g.widths) - 1)

    @property
    def jacobian(self) -> bool:
        """Whether keypoints come with Jacobians."""
        return self.canonical is not None and self.canonical.jacobian

    @property
    def flat_channels(self) -> int:
        """Channels of the volume with its depth folded in; depth runs fastest."""
        return self.volume_channels * self.volume_depth

    @property
    def flows(self) -> int:
        """K+1: one flow a keypoint after the background's."""
        return self.keypoints + 1

    def as_dict(self) -> dict[str, Any]:
        """Nested, JSON-ready; `ModelConfig.from_dict` takes it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """Unknown and missing names are a ValueError: no file of another version loads half-understood."""
        parts = {
            "geometry": GeometryConfig,
            "appearance": AppearanceConfig,
            "transformer": TransformerConfig,
            "canonical": CanonicalConfig,
            "head": HeadConfig,
            "dense_motion": DenseMotionConfig,
            "generator": GeneratorConfig,
            "retargeting": RetargetingConfig,
        }
        found: ModelConfig = config_of(cls, values, parts)
        return found
