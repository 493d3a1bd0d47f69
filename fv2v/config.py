"""What a model of the face-vid2vid family looks like: frozen dataclasses, and the presets.

Sizes that follow from others are properties, so no two fields can disagree. Presets are `replace(...)` of
one another.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

TRANSFERS = ("pose", "keypoint")
EULER_ORDERS = ("xyz", "zyx")


def _require(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise ValueError(f"ModelConfig: expected {expected}, got {got!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometryConfig:
    """How rotations are read and how motion goes from one face to another (geometry.py, "Transfer")."""

    transfer: str = "pose"
    relative: bool = True  # what `relative=None` means: change against the anchor, or the driver's own pose
    euler_order: str = "xyz"  # "xyz": R = Rx(pitch) Ry(yaw) Rz(roll), acting on columns
    pi: float = math.pi  # half a turn in radians; a release was trained with 3.14

    def __post_init__(self) -> None:
        _require(self.transfer in TRANSFERS, f"transfer one of {TRANSFERS}", self.transfer)
        _require(self.euler_order in EULER_ORDERS, f"euler_order one of {EULER_ORDERS}", self.euler_order)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppearanceConfig:
    """F. The picture is halved once for every width after the first."""

    widths: tuple[int, ...] = (64, 128, 256)
    residual_blocks: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalConfig:
    """L. One halving a width, in 2D on the way in; one doubling a width, in 3D, on the way out."""

    stride: int = 4  # the picture is first reduced so many times, anti-aliased
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    out_width: int = 32
    kernel: int = 7  # of the heatmap and Jacobian heads; the paper's 7, public code has 3
    temperature: float = 0.1
    jacobian: bool = True

    def __post_init__(self) -> None:
        _require(self.stride >= 2, "canonical.stride >= 2", self.stride)
        _require(self.kernel % 2 == 1, "an odd canonical.kernel", self.kernel)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfig:
    """H and Δ, on one ResNet-50-like trunk. Bin i of an angle means `degrees_per_bin * i - degree_offset`."""

    stem_width: int = 64
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    blocks: tuple[int, ...] = (3, 3, 5, 2)  # plain bottlenecks of each stage, after its strided one
    bins: int = 66
    degrees_per_bin: float = 3.0
    degree_offset: float = 99.0

    def __post_init__(self) -> None:
        _require(len(self.widths) == len(self.blocks), "as many head.widths as head.blocks", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseMotionConfig:
    """M. Depth is never pooled; height and width are halved once a width, and doubled back."""

    compressed_channels: int = 4  # C', what each of the K+1 candidates carries
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    out_width: int = 32
    kernel: int = 7  # of the mask and occlusion heads
    variance: float = 0.01  # of the Gaussians around keypoints


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorConfig:
    """G. The picture is doubled once for every width after the first."""

    widths: tuple[int, ...] = (256, 128, 64)
    residual_blocks: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A member of the family. The defaults are the paper's at 256 px (Wang, Mallya, Liu 2021)."""

    name: str
    image_size: int = 256
    keypoints: int = 20  # K
    volume_channels: int = 32  # C of the feature volume
    volume_depth: int = 16  # D of it
    align_corners: bool = True  # how volumes are read: True corner lattice, False face lattice (geometry.py)
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    canonical: CanonicalConfig = field(default_factory=CanonicalConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    dense_motion: DenseMotionConfig = field(default_factory=DenseMotionConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)

    def __post_init__(self) -> None:
        _require(self.keypoints >= 1, "keypoints >= 1", self.keypoints)
        smallest = self.canonical.stride << len(self.canonical.widths)
        _require(self.image_size % smallest == 0, f"image_size a multiple of {smallest} (L)", self.image_size)
        smallest = self.volume_stride << len(self.dense_motion.widths)
        _require(self.image_size % smallest == 0, f"image_size a multiple of {smallest} (M)", self.image_size)

    @property
    def volume_stride(self) -> int:
        """Pixels of the picture to a voxel of the volume, in height and in width."""
        return 1 << (len(self.appearance.widths) - 1)

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
        return _from_dict(cls, values)


FACE_VID2VID_256 = ModelConfig(name="face-vid2vid-256")

# zhanglonghao1992's release. Its weights learned a flow without rotation, volumes read on the face lattice
# although flows live on the corner lattice, and π = 3.14: kept, they mean nothing without. Its documented
# command transfers relative motion.
VOX_256 = ModelConfig(
    name="vox-256",
    keypoints=15,
    align_corners=False,
    geometry=GeometryConfig(transfer="keypoint", pi=3.14),
    canonical=CanonicalConfig(kernel=3, jacobian=False),
)
VOX_256_JACOBIAN = replace(
    VOX_256, name="vox-256-jacobian", canonical=replace(VOX_256.canonical, jacobian=True)
)

PRESETS: dict[str, ModelConfig] = {
    config.name: config for config in (FACE_VID2VID_256, VOX_256, VOX_256_JACOBIAN)
}


def preset(name: str) -> ModelConfig:
    """The preset of that name; a ValueError lists the names there are."""
    if name not in PRESETS:
        raise ValueError(f"expected a preset, one of {', '.join(PRESETS)}; got {name!r}")
    return PRESETS[name]


def _from_dict(cls: Any, values: Mapping[str, Any]) -> Any:
    wanted = {f.name for f in fields(cls)}
    if not isinstance(values, Mapping) or values.keys() != wanted:
        got = sorted(values) if isinstance(values, Mapping) else repr(values)
        raise ValueError(f"{cls.__name__}: expected the fields {sorted(wanted)}, got {got}")
    parts = {
        "geometry": GeometryConfig,
        "appearance": AppearanceConfig,
        "canonical": CanonicalConfig,
        "head": HeadConfig,
        "dense_motion": DenseMotionConfig,
        "generator": GeneratorConfig,
    }
    return cls(
        **{
            name: _from_dict(parts[name], value)
            if name in parts
            else (tuple(value) if isinstance(value, list) else value)
            for name, value in values.items()
        }
    )
