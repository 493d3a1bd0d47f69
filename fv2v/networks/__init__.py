# SPDX-License-Identifier: Apache-2.0
"""The model on one page: face-vid2vid's networks, and how they are connected.

    source s ──┬─ F ─ features f_s ────────────────┬──────────────┐
               ├─ L ─ canonical x_c ─┐             │              │
               └─ H, Δ ─ (R_s,t_s,δ_s) ─ x_s ─┐    │              │
                                     │        ├─ M ─ mask, o ─ G (warp f_s) ─ y
    driving d ─── H, Δ ─ (R_d,t_d,δ_d) ─ x_d ─┘

Everything left of M and G that comes from `s` is a `Source`, computed once; `d` only passes H and Δ. `place`
(geometry/transfer.py) turns motion into x_d; M weighs the keypoints' flows; G reads the features where the
weighted flow points.

Releases differ in parts of it: in LivePortrait H estimates x_c, in place of L, and a network moves x_d once
more so that the head fits its picture (`stitch`); in SadTalker H reads windows of coefficients, no picture;
in PerformRecast F sees a larger picture than H does. In First Order Motion, and wherever `ModelConfig.direct`
says so, there is no H, and L reads x_s and x_d where pictures have them. Flat models, of volumes of depth 1,
see keypoints at z = 0 (geometry/plane.py).

Each module is written once, for all presets and for training: F in appearance.py, of convolutions or on the
transformer of vision_transformer.py, L in canonical.py, H with Δ in head.py on a trunk of trunks.py, M in
dense_motion.py on an hourglass, G in generator.py with one of two decoders (decoders.py, spade.py), which a
config may give finer features of F (detail.py); retargeting.py is LivePortrait's; D (discriminator.py) is
used in training alone. The blocks that they share are in blocks.py.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from fv2v.config import ModelConfig
from fv2v.geometry import Motion, Placement, Source, Views, direct_motion, keypoints_of, place
from fv2v.geometry.plane import embedded, projected
from fv2v.networks.appearance import AppearanceExtractor, TransformerExtractor, appearance_extractor
from fv2v.networks.canonical import Canonical, CanonicalKeypoints
from fv2v.networks.dense_motion import DenseMotion, MotionField
from fv2v.networks.detail import Surface
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
    "Surface",
    "TransformerExtractor",
]


class FaceVid2Vid(nn.Module):
    """F, L, H with Δ, M and G of one preset. Pictures are (B, 3, H, W) in [0, 1] at the preset's size."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.appearance = appearance_extractor(config)
        self.canonical = CanonicalKeypoints(config, config.canonical) if config.canonical else None
        self.head = None if config.direct else HeadEstimator(config)
        self.dense_motion = DenseMotion(config)
        self.generator = Generator(config)
        self.retargeting = Retargeting(config.keypoints, config.retargeting) if config.retargeting else None

    def encode(self, image: Tensor, seen: Tensor | None = None) -> Source:
        """F, L, H and Δ: all that is needed of a portrait, a picture of `config.portrait_size`.

        `seen`, where H and Δ look at something else: the portrait's own coefficients; or the same picture at
        `config.image_size`, where that is smaller (left out, F's is reduced to it by means).
        """
        return self.source_of(image, *self.look(image, seen))

    def source_of(self, image: Tensor, motion: Motion, canonical: Canonical) -> Source:
        """F: what is left to compute of a portrait after `look`."""
        features, detail = self.appearance(image)
        return Source(
            features=features,
            compressed=self.dense_motion.compress(features, image),
            canonical=canonical.keypoints,
            jacobians=canonical.jacobians,
            motion=motion,
            keypoints=keypoints_of(canonical.keypoints, motion, self.config.geometry),
            detail=detail,
        )

    def look(self, image: Tensor, seen: Tensor | None = None) -> tuple[Motion, Canonical]:
        """H, Δ and L: all that is needed to know where a picture's keypoints are. Arguments as `encode`."""
        if seen is None:
            larger = self.config.portrait_size // self.config.image_size
            seen = image if larger == 1 else avg_pool2d(image, larger)
        motion, canonical = self.estimate(seen)
        if canonical is not None:
            return motion, Canonical(canonical, None)
        assert self.canonical is not None
        return motion, self.canonical(image)

    def extract(self, driving: Tensor) -> Motion:
        """H and Δ: all that is needed of driving frames, or of windows of coefficients."""
        return self.estimate(driving).motion

    def estimate(self, driving: Tensor) -> HeadEstimate:
        """H and Δ, with canonical keypoints where H has them; L of a model without H."""
        if self.head is not None:
            return self.head(driving)
        assert self.canonical is not None
        motion = direct_motion(*self.canonical(driving))
        return HeadEstimate(motion, torch.zeros_like(motion.expression))

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
        """x_d moved so that the head fits the source's picture, where the preset has the network for it."""
        if self.retargeting is None:
            return placement
        kp_source = source.keypoints.expand_as(placement.kp_driving)
        return placement._replace(kp_driving=self.retargeting.stitch(kp_source, placement.kp_driving))

    def render(self, source: Source, placement: Placement) -> Tensor:
        """M and G: the source with its keypoints placed, (B, 3, n, n). One source serves B placements."""
        read = source.features, source.compressed, source.keypoints
        return self.synthesize(*read, *placement, detail=source.detail)

    def render_with_surface(self, source: Source, placement: Placement) -> tuple[Tensor, Surface]:
        """`render`, and how what is seen has moved. ValueError for a config without detail."""
        kp_source, placement = self.in_volume(source.keypoints, placement)
        field = self.dense_motion(source.compressed, kp_source, *placement)
        picture, flow = self.generator.with_flow(
            source.features, field, kp_source, *placement, detail=source.detail
        )
        if flow is None:
            raise ValueError(f"expected a config with generator.detail_channels, got {self.config.name!r}")
        return picture, Surface(flow, field.occlusion)

    def in_volume(self, kp_source: Tensor, placement: Placement) -> tuple[Tensor, Placement]:
        """Keypoints and affines as M and G take them: x_s for each x_d, flat where their volumes are."""
        kp_driving, affine = placement
        kp_source = kp_source.expand_as(kp_driving)
        if self.config.volume_depth > 1:
            return kp_source, placement
        affine = None if affine is None else embedded(affine[..., :2, :2])
        return projected(kp_source), Placement(projected(kp_driving), affine)

    def synthesize(
        self,
        features: Tensor,
        compressed: Tensor,
        kp_source: Tensor,
        kp_driving: Tensor,
        affine: Tensor | None = None,
        detail: Sequence[Tensor] = (),
    ) -> Tensor:
        """M and G on the fields of `Source` and `Placement` that they read: `render` of tensors alone."""
        kp_source, (kp_driving, affine) = self.in_volume(kp_source, Placement(kp_driving, affine))
        field = self.dense_motion(compressed, kp_source, kp_driving, affine)
        return self.generator(features, field, kp_source, kp_driving, affine, detail)

    def forward(self, source: Tensor, driving: Tensor, seen: Tensor | None = None) -> Tensor:
        """The source in the driving frame's pose and expression, absolutely, as in training.

        Arguments as `encode` and `extract` take them.
        """
        encoded = self.encode(source, seen)
        return self.render(encoded, self.place(encoded, self.extract(driving), stitch=False))
