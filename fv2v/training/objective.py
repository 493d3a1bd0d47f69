"""What training makes small: one forward pass of a batch, and every loss of it.

Where no loss looks at pictures, none is made. The source is encoded and rendered with its keypoints where the
driving frame has them, absolute, as `FaceVid2Vid.forward` does. H sees the source, the driving frame and, for
equivariance, the warped driving frame in calls of their own, as in public code; batch norms count each in
their running statistics.
"""

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fv2v.data.pairs import Pairs, Truth
from fv2v.devices import no_autocast
from fv2v.geometry import Motion, Placement, Source, keypoints_of, place
from fv2v.geometry.transfer import TRANSFERS
from fv2v.io.tensors import to_images
from fv2v.losses import (
    LossConfig,
    PerceptualLoss,
    RandomWarp,
    SupervisedTerms,
    deformation_prior,
    discriminator_loss,
    equivariance,
    equivariance_jacobians,
    feature_matching,
    focus_on,
    generator_loss,
    head_pose,
    keypoint_prior,
    reconstruction,
    supervised,
)
from fv2v.networks import Canonical, Discriminator, FaceVid2Vid, HeadEstimator
from fv2v.training.randomness import Chance


class Terms(NamedTuple):
    """The terms of `LossConfig`, by its names, each a scalar without its weight; None is left out."""

    perceptual: Tensor | None = None
    gan: Tensor | None = None
    feature_matching: Tensor | None = None
    equivariance: Tensor | None = None
    equivariance_jacobians: Tensor | None = None
    keypoint_prior: Tensor | None = None
    head_pose: Tensor | None = None
    deformation_prior: Tensor | None = None
    reconstruction: Tensor | None = None
    true_canonical: Tensor | None = None
    true_rotation: Tensor | None = None
    true_translation: Tensor | None = None
    true_expression: Tensor | None = None

    def present(self) -> list[tuple[str, Tensor]]:
        return [(name, term) for name, term in self._asdict().items() if term is not None]

    def total(self, weights: LossConfig) -> Tensor:
        """Σ λ L."""
        return torch.stack([getattr(weights, name) * term for name, term in self.present()]).sum()


@dataclass(frozen=True, slots=True)
class Judges:
    """What looks at pictures beside the model, and does not learn from this objective."""

    discriminator: Discriminator | None = None
    perceptual: PerceptualLoss | None = None
    pose: HeadEstimator | None = None  # says what rotation is true where the data does not know


class Outcome(NamedTuple):
    """Of a batch."""

    terms: Terms
    output: Tensor | None  # (B, 3, n, n)  y; None where no loss looks at it


class Looked(NamedTuple):
    """What H, Δ and L say of the source."""

    motion: Motion
    canonical: Canonical


class Objective(nn.Module):
    """A model and its losses as one module, for DistributedDataParallel to wrap. Judges are no part of it."""

    def __init__(
        self,
        model: FaceVid2Vid,
        losses: LossConfig,
        judges: Judges,
        size: int,
        expression_weights: tuple[float, ...] = (),
        focus: tuple[float, ...] = (),
    ) -> None:
        """Of what a config says.

        Args:
            size: pixels on a side of what networks see.
            expression_weights: as `supervised` has them.
            focus: as `focus_on` has them, of true keypoints; (): all pixels are alike.
        """
        super().__init__()
        self.model, self.losses, self.judges, self.size = model, losses, judges, size
        self.expression_weights, self.focus = expression_weights, focus

    def forward(self, pairs: Pairs, chance: Chance) -> Outcome:
        """`pairs` as `Pairs.to` leaves them, as large as the output."""
        model = self.model
        voxels = self.size // model.config.volume_stride
        portrait, driving = to_images(pairs.source, self.size), to_images(pairs.driving, self.size)
        truth = None if pairs.truth is None else pairs.truth.on_lattice(voxels)

        own = Looked(*model.look(portrait))
        motion, said = model.head(driving)
        output, terms = None, Terms()
        if self.losses.of_pictures:
            source, moved = model.source_of(portrait, *own), motion
            if truth is not None and chance.forced is not None:
                source, moved = _forced(source, motion, truth, chance.forced)
            output = model.render(source, placed(source, moved, model))
            terms = self._of_picture(terms, output, pairs)
        terms = self._of_motion(terms, own, motion, driving, truth)
        terms = self._of_warp(terms, own, motion, driving, chance.warp, voxels)
        if truth is not None:
            canonical = own.canonical.keypoints if said is None else said
            terms = self._of_truth(terms, own, motion, canonical, truth)
        return Outcome(terms, output)

    def _of_picture(self, terms: Terms, output: Tensor, pairs: Pairs) -> Terms:
        weights, judges, target = self.losses, self.judges, pairs.driving
        if judges.perceptual is not None and weights.perceptual:
            terms = terms._replace(perceptual=judges.perceptual(output, target))
        if weights.reconstruction:
            focus = self._focus(pairs.truth, output.shape[-1])
            terms = terms._replace(reconstruction=reconstruction(output, target, focus=focus))
        if judges.discriminator is None:
            return terms
        fake = judges.discriminator(output)
        if weights.gan:
            terms = terms._replace(gan=generator_loss(fake))
        if weights.feature_matching:
            with torch.no_grad():
                real = judges.discriminator(target)
            terms = terms._replace(feature_matching=feature_matching(real, fake))
        return terms

    def _focus(self, truth: Truth | None, size: int) -> Tensor | None:
        if truth is None or not self.focus:
            return None
        points = keypoints_of(truth.canonical, truth.driving)[..., :2]
        return focus_on(points, points.new_tensor(self.focus), size)

    def _of_motion(
        self, terms: Terms, own: Looked, motion: Motion, driving: Tensor, truth: Truth | None
    ) -> Terms:
        weights = self.losses
        if weights.keypoint_prior:
            kp_driving = keypoints_of(own.canonical.keypoints, motion)
            terms = terms._replace(keypoint_prior=keypoint_prior(kp_driving))
        if weights.deformation_prior:
            terms = terms._replace(deformation_prior=deformation_prior(motion.expression))
        rotation = self._true_rotation(driving, truth) if weights.head_pose else None
        if rotation is not None:
            order = self.model.config.geometry.euler_order
            terms = terms._replace(head_pose=head_pose(motion.rotation, rotation, order))
        return terms

    @torch.no_grad()
    def _true_rotation(self, driving: Tensor, truth: Truth | None) -> Tensor | None:
        """R̄_d (B, 3, 3), where the data or an estimator knows it."""
        if truth is not None:
            return truth.driving.rotation
        return None if self.judges.pose is None else self.judges.pose(driving).motion.rotation

    def _of_warp(
        self, terms: Terms, own: Looked, motion: Motion, driving: Tensor, warp: RandomWarp, voxels: int
    ) -> Terms:
        weights, jacobians = self.losses, own.canonical.jacobians
        by_jacobians = weights.equivariance_jacobians and jacobians is not None
        if not (weights.equivariance or by_jacobians):
            return terms
        warped_motion, warped = self.model.look(warp.image(driving, voxels))
        kp_warped = keypoints_of(warped.keypoints, warped_motion)
        if weights.equivariance:
            kp_driving = keypoints_of(own.canonical.keypoints, motion)
            terms = terms._replace(equivariance=equivariance(kp_driving, kp_warped, warp))
        if by_jacobians:
            assert jacobians is not None
            assert warped.jacobians is not None
            with no_autocast(jacobians):
                jac_driving = motion.rotation.unsqueeze(1) @ jacobians  # J = R J_c
                jac_warped = warped_motion.rotation.unsqueeze(1) @ warped.jacobians
            error = equivariance_jacobians(jac_driving, jac_warped, warp, kp_warped)
            terms = terms._replace(equivariance_jacobians=error)
        return terms

    def _of_truth(self, terms: Terms, own: Looked, motion: Motion, canonical: Tensor, truth: Truth) -> Terms:
        """Means over source and driving frame."""
        weights = self.losses
        if not (
            weights.true_canonical
            or weights.true_rotation
            or weights.true_translation
            or weights.true_expression
        ):
            return terms
        each = truth.canonical.new_tensor(self.expression_weights) if self.expression_weights else None
        of_source = supervised(own.canonical.keypoints, own.motion, truth.canonical, truth.source, each)
        of_driving = supervised(canonical, motion, truth.canonical, truth.driving, each)
        mean = SupervisedTerms(*((a + b) / 2 for a, b in zip(of_source, of_driving, strict=True)))
        return terms._replace(
            **{
                f"true_{name}": term
                for name, term in mean._asdict().items()
                if getattr(weights, f"true_{name}")
            }
        )


class DiscriminatorObjective(nn.Module):
    """A discriminator and its loss as one module, for DistributedDataParallel to wrap."""

    def __init__(self, discriminator: Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Pictures (B, 3, n, n); the fake ones detached."""
        return discriminator_loss(self.discriminator(real), self.discriminator(fake))


def placed(source: Source, motion: Motion, model: FaceVid2Vid) -> Placement:
    """The source's keypoints where a driving frame has them: `place`, absolute.

    LivePortrait's rule keeps part of the source's own expression, at inference; here the driver's counts.
    """
    geometry = model.config.geometry
    if TRANSFERS[geometry.transfer].keeps_own_expression:
        return Placement(keypoints_of(source.canonical, motion), None)
    return place(source, motion, geometry=geometry)


def _forced(source: Source, motion: Motion, truth: Truth, forced: Tensor) -> tuple[Source, Motion]:
    """`source` and `motion` with true keypoints in place of estimated ones, where `forced` (B,) says so."""
    canonical = torch.where(forced[:, None, None], truth.canonical, source.canonical)
    own = _chosen(forced, truth.source, source.motion)
    shown = replace(source, canonical=canonical, motion=own, keypoints=keypoints_of(canonical, own))
    return shown, _chosen(forced, truth.driving, motion)


def _chosen(forced: Tensor, true: Motion, estimate: Motion) -> Motion:
    parts = ((getattr(true, f.name), getattr(estimate, f.name)) for f in fields(Motion))
    return Motion(*(torch.where(forced.view(-1, *[1] * (b.dim() - 1)), a, b) for a, b in parts))
