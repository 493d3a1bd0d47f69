# SPDX-License-Identifier: Apache-2.0
"""The networks of a model, a frozen dataclass each, and how motion is read and transferred."""

import math
from dataclasses import dataclass

from fv2v.config.values import check_numbers, require

TRANSFER_NAMES = ("pose", "keypoint", "liveportrait", "performrecast")
EULER_ORDERS = ("xyz", "zyx")
TRUNKS = ("resnet", "convnext", "coefficients", "none")
DECODERS = ("residual", "spade")
READS = ("features", "picture")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometryConfig:
    """How rotations are read and how motion goes from one face to another (geometry/transfer.py)."""

    transfer: str = "pose"
    relative: bool = True  # what `relative=None` means: change against the anchor, or the driver's own pose
    euler_order: str = "xyz"  # "xyz": R = Rx(pitch) Ry(yaw) Rz(roll), acting on columns
    pi: float = math.pi  # half a turn in radians; a release was trained with 3.14
    translation: str = "xyz"  # what of the head's t counts; releases were trained and run without the rest

    def __post_init__(self) -> None:
        check_numbers(self)
        require(self.transfer in TRANSFER_NAMES, f"transfer one of {TRANSFER_NAMES}", self.transfer)
        require(self.euler_order in EULER_ORDERS, f"euler_order one of {EULER_ORDERS}", self.euler_order)
        require(self.translation in ("xyz", "xy", "y"), "translation 'xyz', 'xy' or 'y'", self.translation)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig:
    """F as a vision transformer, DINO's ViT-B/16 (Caron et al. 2021). Its tokens become 2×2 voxels each."""

    enlarged: int = 2  # F sees the portrait so many times as large as H does
    patch: int = 16  # pixels on a side of what a token stands for
    width: int = 768
    depth: int = 12  # blocks
    heads: int = 12
    table: int = 14  # patches on a side of the picture that its positions were learnt on

    def __post_init__(self) -> None:
        check_numbers(self)
        require(self.width % self.heads == 0, "transformer.width a multiple of its heads", self)
        require(self.patch % (2 * self.enlarged) == 0, "transformer.patch a multiple of 2 x enlarged", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppearanceConfig:
    """F. The picture is halved once for every width after the first.

    Without `lift`, the 1×1 convolution to the volume's channels, the last width is the volume's C·D.
    """

    kernel: int = 7  # of the first convolution; the SPADE releases have 3
    widths: tuple[int, ...] = (64, 128, 256)
    residual_blocks: int = 6
    transformer: TransformerConfig | None = None  # in place of those convolutions: PerformRecast
    lift: bool = True

    def __post_init__(self) -> None:
        check_numbers(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalConfig:
    """L. One halving a width, in 2D on the way in; one doubling a width, in 3D, on the way out.

    With `hourglass` it is First Order Motion's: flat, the way in beside the way out, and heads that are not
    padded. Its heatmaps are smaller than M's by the kernel, and their corners are ±1 nevertheless.
    """

    stride: int = 4  # the picture is first reduced so many times, anti-aliased
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    out_width: int = 32
    kernel: int = 7  # of the heatmap and Jacobian heads; the paper's 7, public code has 3
    temperature: float = 0.1
    jacobian: bool = True
    shared_jacobian: bool = False  # one set of maps of Jacobians for all keypoints
    depth: int | None = None  # of its own volume; None: as deep as the features'
    hourglass: bool = False

    def __post_init__(self) -> None:
        check_numbers(self)
        require(self.stride >= 2, "canonical.stride >= 2", self.stride)
        require(self.kernel % 2 == 1, "an odd canonical.kernel", self.kernel)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfig:
    """H and Δ, on one trunk. Bin i of an angle means `degrees_per_bin * i - degree_offset`.

    The trunk "resnet" is the paper's, like ResNet-50; "convnext" is LivePortrait's ConvNeXt V2, which has no
    `stem_width`; "coefficients" reads windows of SadTalker's 3DMM coefficients, and no picture. With "none"
    there are no H and Δ, and a head has no pose: L reads keypoints where they are in every picture.
    """

    trunk: str = "resnet"
    inputs: int = 3  # colours; for the trunk "coefficients" how many there are
    stem_width: int = 64
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    blocks: tuple[int, ...] = (3, 3, 5, 2)  # of each stage; plain bottlenecks after its strided one
    scale: bool = False  # a head that says how large the face is, as LivePortrait's
    scale_axes: int = 1  # numbers that it says: 3, one an axis, PerformRecast's
    bins: int = 66
    degrees_per_bin: float = 3.0
    degree_offset: float = 99.0

    def __post_init__(self) -> None:
        check_numbers(self)
        require(self.trunk in TRUNKS, f"head.trunk one of {TRUNKS}", self.trunk)
        require(len(self.widths) == len(self.blocks), "as many head.widths as head.blocks", self)
        single = self.trunk != "coefficients" or len(self.widths) == 1
        require(single, "one head.widths beside the trunk 'coefficients'", self.widths)
        fits = self.scale_axes in ((1, 3) if self.scale else (1,))
        require(fits, "head.scale_axes 1, or 3 with head.scale", self.scale_axes)

    @property
    def scales(self) -> int:
        """How many numbers say how large the face is; 0 where it is 1."""
        return self.scale_axes if self.scale else 0

    @property
    def window(self) -> int:
        """Frames that the trunk "coefficients" sees at once; 0 for the others, which see a picture.

        The first convolution and every block take 6 frames off a window, and its mean is over the last 3.
        """
        return 9 + 6 * self.blocks[0] if self.trunk == "coefficients" else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseMotionConfig:
    """M. Depth is never pooled; height and width are halved once a width, and doubled back."""

    reads: str = "features"  # what is warped for M to look at: compressed, or the reduced "picture" itself
    compressed_channels: int = 4  # C', what each of the K+1 candidates carries; a picture's 3 colours
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    out_width: int = 32
    kernel: int = 7  # of the mask and occlusion heads
    variance: float = 0.01  # of the Gaussians around keypoints
    mask_threshold: float = 0.0  # masks below it count as 0, without renormalising: SadTalker
    joined: bool = True  # a convolution joins what the hourglass puts beside each other last

    def __post_init__(self) -> None:
        check_numbers(self)
        require(self.reads in READS, f"dense_motion.reads one of {READS}", self.reads)
        fits = self.reads == "features" or self.compressed_channels == 3
        require(fits, "3 dense_motion.compressed_channels of a picture", self.compressed_channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorConfig:
    """G. The warped volume is projected to `width`; the picture is doubled once for every width after the
    decoder's first.

    Without `project` the volume's channels are as many already, and go to the decoder as they are.
    """

    width: int = 256
    project: bool = True
    decoder: str = "residual"  # or "spade", which every layer of the projected volume modulates
    widths: tuple[int, ...] = (256, 128, 64)
    residual_blocks: int = 6  # at the decoder's first width
    modulation_width: int = 128  # inside SPADE
    pixel_shuffle: int = 1  # the output head doubles once more by pixel shuffle: 2, LivePortrait
    # of F's features at each size finer than the volume, which join the decoder there (networks/detail.py);
    # 0: none do, as in the paper and in all releases
    detail_channels: int = 0

    def __post_init__(self) -> None:
        check_numbers(self)
        require(self.decoder in DECODERS, f"generator.decoder one of {DECODERS}", self.decoder)
        fits = self.decoder == "spade" or (self.widths[0] == self.width and self.pixel_shuffle == 1)
        require(fits, "a residual decoder that starts at generator.width, without pixel shuffle", self)
        doubles = self.detail_channels == 0 or len(self.widths) > 1
        require(doubles, "two generator.widths or more, for detail to join", self.widths)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetargetingConfig:
    """LivePortrait's three small networks on keypoints: widths between input and output."""

    stitch: tuple[int, ...] = (128, 128, 64)
    lips: tuple[int, ...] = (128, 128, 64)
    eyes: tuple[int, ...] = (256, 256, 128, 128, 64)

    def __post_init__(self) -> None:
        check_numbers(self)
