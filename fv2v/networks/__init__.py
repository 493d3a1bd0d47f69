"""The pipeline on one page: face-vid2vid's networks, joined.

    source s ──┬─ F ─ features f_s ────────────────┬──────────────┐
               ├─ L ─ canonical x_c ─┐             │              │
               └─ H, Δ ─ (R_s,t_s,δ_s) ─ x_s ─┐    │              │
                                     │        ├─ M ─ mask, o ─ G (warp f_s) ─ y
    driving d ─── H, Δ ─ (R_d,t_d,δ_d) ─ x_d ─┘

Everything left of M and G that comes from `s` is a `Source`, computed once; `d` only passes H and Δ. `place`
(geometry.py) turns motion into x_d; M says how much each keypoint's flow counts; G reads the features there.
"""

from torch import Tensor, nn

from fv2v.config import ModelConfig
from fv2v.geometry import Motion, Placement, Source, keypoints_of, place
from fv2v.networks.appearance import AppearanceExtractor
from fv2v.networks.canonical import Canonical, CanonicalKeypoints
from fv2v.networks.dense_motion import DenseMotion, MotionField
from fv2v.networks.generator import Generator
from fv2v.networks.head import HeadEstimator

__all__ = [
    "AppearanceExtractor",
    "Canonical",
    "CanonicalKeypoints",
    "DenseMotion",
    "FaceVid2Vid",
    "Generator",
    "HeadEstimator",
    "MotionField",
]


class FaceVid2Vid(nn.Module):
    """F, L, H with Δ, M and G of one preset. Pictures are (B, 3, H, W) in [0, 1] at the preset's size."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.appearance = AppearanceExtractor(config)
        self.canonical = CanonicalKeypoints(config)
        self.head = HeadEstimator(config)
        self.dense_motion = DenseMotion(config)
        self.generator = Generator(config)

    def encode(self, image: Tensor) -> Source:
        """F, L, H and Δ: all that is needed of a portrait."""
        features = self.appearance(image)
        canonical = self.canonical(image)
        motion = self.head(image)
        return Source(
            features=features,
            compressed=self.dense_motion.compress(features),
            canonical=canonical.keypoints,
            jacobians=canonical.jacobians,
            motion=motion,
            keypoints=keypoints_of(canonical.keypoints, motion),
        )

    def extract(self, image: Tensor) -> Motion:
        """H and Δ: all that is needed of a driving frame."""
        return self.head(image)

    def render(self, source: Source, placement: Placement) -> Tensor:
        """M and G: the source with its keypoints placed, (B, 3, H, W). One source serves B placements."""
        kp_driving, affine = placement
        kp_source = source.keypoints.expand_as(kp_driving)
        field = self.dense_motion(source.compressed, kp_source, kp_driving, affine)
        return self.generator(source.features, field, kp_source, kp_driving, affine)

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        """The source picture in the driving picture's pose and expression, absolute: what training shows."""
        encoded = self.encode(source)
        placement = place(encoded, self.extract(driving), geometry=self.config.geometry)
        return self.render(encoded, placement)
