"""The pipeline on one page: face-vid2vid's networks, joined.

    source s ──┬─ F ─ features f_s ────────────────┬──────────────┐
               ├─ L ─ canonical x_c ─┐             │              │
               └─ H, Δ ─ (R_s,t_s,δ_s) ─ x_s ─┐    │              │
                                     │        ├─ M ─ mask, o ─ G (warp f_s) ─ y
    driving d ─── H, Δ ─ (R_d,t_d,δ_d) ─ x_d ─┘

Everything left of M and G that comes from `s` is a `Source`, computed once; `d` only passes H and Δ. `place`
(geometry.py) turns motion into x_d; M says how much each keypoint's flow counts; G reads the features there.

Releases vary parts of it: one head estimator says x_c in place of L; another reads no driving picture but
windows of coefficients; one moves x_d once more, so that the head meets its picture (`stitch`).

33 kinds of modules serve every preset and its training, none twice: 9 blocks (blocks.py); F; L and the
anti-aliasing before it; H with Δ, its angles, and three trunks with what they are made of (trunks.py, 6); the
hourglass and M; G, its two decoders, and SPADE's block, modulation and spectral norm (spade.py); retargeting;
all of it joined; and D, which only training has, at all scales, at one, and its block (discriminator.py).
"""

from torch import Tensor, nn

from fv2v.config import ModelConfig
from fv2v.geometry import Motion, Placement, Source, Views, keypoints_of, place
from fv2v.networks.appearance import AppearanceExtractor
from fv2v.networks.canonical import Canonical, CanonicalKeypoints
from fv2v.networks.dense_motion import DenseMotion, MotionField
from fv2v.networks.discriminator import Discriminator, PatchScores
from fv2v.networks.generator import Generator
from fv2v.networks.head import HeadEstimate, HeadEstimator
from fv2v.networks.retargeting import Retargeting

__all__ = [
    "AppearanceExtractor",
    "Canonical",
    "CanonicalKeypoints",
    "DenseMotion",
    "Discriminator",
    "FaceVid2Vid",
    "Generator",
    "HeadEstimate",
    "HeadEstimator",
    "MotionField",
    "PatchScores",
    "Retargeting",
]


class FaceVid2Vid(nn.Module):
    """F, L, H with Δ, M and G of one preset. Pictures are (B, 3, H, W) in [0, 1] at the preset's size."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.appearance = AppearanceExtractor(config)
        self.canonical = CanonicalKeypoints(config, config.canonical) if config.canonical else None
        self.head = HeadEstimator(config)
        self.dense_motion = DenseMotion(config)
        self.generator = Generator(config)
        self.retargeting = Retargeting(config.keypoints, config.retargeting) if config.retargeting else None

    def encode(self, image: Tensor, window: Tensor | None = None) -> Source:
        """F, L, H and Δ: all that is needed of a portrait.

        `window` is what H and Δ see of it where that is no picture: the portrait's own coefficients.
        """
        return self.source_of(image, *self.look(image, window))

    def source_of(self, image: Tensor, motion: Motion, canonical: Canonical) -> Source:
        """F: what is left to compute of a portrait that H, Δ and L have seen."""
        features = self.appearance(image)
        return Source(
            features=features,
            compressed=self.dense_motion.compress(features),
            canonical=canonical.keypoints,
            jacobians=canonical.jacobians,
            motion=motion,
            keypoints=keypoints_of(canonical.keypoints, motion),
        )

    def look(self, image: Tensor, window: Tensor | None = None) -> tuple[Motion, Canonical]:
        """H, Δ and L: all that is needed to know where a picture's keypoints are."""
        motion, said = self.head(image if window is None else window)
        return motion, self.canonical(image) if self.canonical else Canonical(said, None)

    def extract(self, seen: Tensor) -> Motion:
        """H and Δ: all that is needed of a driving frame."""
        return self.head(seen).motion

    def place(
        self,
        source: Source,
        motion: Motion,
        anchor: Motion | None = None,
        view: Views = None,
        *,
        movement: Tensor | float = 1.0,
        stitch: bool = True,
    ) -> Placement:
        """Where the source's keypoints go: `geometry.place` by the preset's rule, then `stitch` if wanted."""
        placement = place(source, motion, anchor, view, geometry=self.config.geometry, movement=movement)
        return self.stitch(source, placement) if stitch else placement

    def stitch(self, source: Source, placement: Placement) -> Placement:
        """x_d moved so that the head meets the source's picture, where the release can; else as it is."""
        if self.retargeting is None:
            return placement
        kp_source = source.keypoints.expand_as(placement.kp_driving)
        return placement._replace(kp_driving=self.retargeting.stitch(kp_source, placement.kp_driving))

    def render(self, source: Source, placement: Placement) -> Tensor:
        """M and G: the source with its keypoints placed, (B, 3, n, n). One source serves B placements."""
        kp_driving, affine = placement
        kp_source = source.keypoints.expand_as(kp_driving)
        field = self.dense_motion(source.compressed, kp_source, kp_driving, affine)
        return self.generator(source.features, field, kp_source, kp_driving, affine)

    def forward(self, source: Tensor, driving: Tensor, window: Tensor | None = None) -> Tensor:
        """The source in the driving frame's pose and expression, absolute: what training shows.

        Arguments as `encode` and `extract` take them.
        """
        encoded = self.encode(source, window)
        placement = place(encoded, self.extract(driving), geometry=self.config.geometry)
        return self.render(encoded, placement)
