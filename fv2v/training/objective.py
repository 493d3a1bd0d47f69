# SPDX-License-Identifier: Apache-2.0
"""What training minimises: one forward pass of a batch, and every loss of it.

The source is rendered with its keypoints where the driving frame has them, absolutely, as
`FaceVid2Vid.forward` does; where no loss compares pictures, nothing is rendered. H runs three times, as in
public code: on the source, on the driving frame and, for equivariance, on the warped driving frame. Each call
updates the running statistics of its batch norms.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fv2v.data.pairs import Pairs, Truth
from fv2v.devices import no_autocast
from fv2v.geometry import Motion, Placement, Source, direct_motion, jacobians_of, keypoints_of, place
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
    keypoint_error,
    keypoint_prior,
    moved_source,
    reconstruction,
    supervised,
)
from fv2v.networks import Canonical, Discriminator, FaceVid2Vid, HeadEstimator
from fv2v.training.randomness import StepRandomness


class Terms(NamedTuple):
    """The terms of `LossConfig`, by its names: scalars before their weights; None where left out."""

    perceptual: Tensor | None = None
    gan: Tensor | None = None
    feature_matching: Tensor | None = None
    equivariance: Tensor | None = None
    equivariance_jacobians: Tensor | None = None
    keypoint_prior: Tensor | None = None
    head_pose: Tensor | None = None
    deformation_prior: Tensor | None = None
    reconstruction: Tensor | None = None
    moved_source: Tensor | None = None
    true_canonical: Tensor | None = None
    true_rotation: Tensor | None = None
    true_translation: Tensor | None = None
    true_expression: Tensor | None = None
    true_keypoints: Tensor | None = None

    def present(self) -> list[tuple[str, Tensor]]:
        return [(name, term) for name, term in self._asdict().items() if term is not None]

    def total(self, weights: LossConfig) -> Tensor:
        """Σ λ L."""
        return torch.stack([getattr(weights, name) * term for name, term in self.present()]).sum()


@dataclass(frozen=True, slots=True)
class LossNetworks:
    """The networks that losses use beside the model. This objective does not train them."""

    discriminator: Discriminator | None = None
    perceptual: PerceptualLoss | None = None
    pose: HeadEstimator | None = None  # its rotations count as true where the data has no truth


class Outcome(NamedTuple):
    """The losses of a batch, and the pictures that were made for them."""

    terms: Terms
    output: Tensor | None  # (B, 3, n, n)  y; None where no loss compares pictures


class Estimates(NamedTuple):
    """What H, Δ and L estimate in a picture."""

    motion: Motion
    canonical: Canonical


class Objective(nn.Module):
    """A model and its losses as one module, for DistributedDataParallel to wrap.

    The networks that losses use are kept out of its parameters.
    """

    def __init__(
        self,
        model: FaceVid2Vid,
        losses: LossConfig,
        networks: LossNetworks,
        size: int,
        expression_weights: tuple[float, ...] = (),
        focus: tuple[float, ...] = (),
        landmarks: tuple[int, ...] = (),
    ) -> None:
        """The objective of a run.

        Args:
            model: to be trained.
            losses: the weights of the terms.
            networks: those that the losses need.
            size: side of the networks' input pictures, in pixels.
            expression_weights: of each keypoint, as `supervised` takes them; (): all alike.
            focus: weights of each landmark of the data, as `focus_on` takes them; (): all pixels count alike.
            landmarks: numbers of the data's landmarks that are the keypoints' truth; (): all, in order.
        """
        super().__init__()
        self.model, self.losses, self.networks, self.size = model, losses, networks, size
        self.expression_weights, self.focus, self.landmarks = expression_weights, focus, landmarks

    def forward(self, pairs: Pairs, randomness: StepRandomness) -> Outcome:
        """`pairs` as `Pairs.scaled` returns them, their pictures as large as the output."""
        model = self.model
        voxels = self.size // model.config.volume_stride
        portrait, driving = to_images(pairs.source, self.size), to_images(pairs.driving, self.size)
        truth = None if pairs.truth is None else pairs.truth.on_lattice(voxels)
        if truth is not None and self.landmarks:
            truth = truth.of_landmarks(self.landmarks)

        own = Estimates(*model.look(portrait))
        motion, canonical = model.estimate(driving)
        output, terms = None, Terms()
        if self.losses.of_pictures:
            source, moved = model.source_of(portrait, *own), motion
            if truth is not None and randomness.teacher_forced is not None:
                known = as_read(truth, own.motion, motion) if model.config.direct else truth
                source, moved = with_true_keypoints(source, motion, known, randomness.teacher_forced)
            placement = place_absolutely(source, moved, model)
            if randomness.dropped is not None:
                placement = without_last(placement, source.keypoints, randomness.dropped)
            if self.losses.moved_source:
                output, surface = model.render_with_surface(source, placement)
                focus = self._focus(pairs.truth, output.shape[-1])
                terms = terms._replace(moved_source=moved_source(pairs.source, pairs.driving, surface, focus))
            else:
                output = model.render(source, placement)
            terms = self._of_picture(terms, output, pairs)
        terms = self._of_motion(terms, own, motion, driving, truth)
        terms = self._of_warp(terms, own, motion, driving, randomness.warp, voxels)
        if truth is not None:
            # L reads them in the portrait alone; where H has them in L's place, in every picture
            canonical = own.canonical.keypoints if canonical is None else canonical
            terms = self._of_truth(terms, own, motion, canonical, truth)
            terms = self._of_keypoints(terms, own, motion, truth)
        return Outcome(terms, output)

    def _of_picture(self, terms: Terms, output: Tensor, pairs: Pairs) -> Terms:
        weights, networks, target = self.losses, self.networks, pairs.driving
        if networks.perceptual is not None and weights.perceptual:
            terms = terms._replace(perceptual=networks.perceptual(output, target))
        if weights.reconstruction:
            focus = self._focus(pairs.truth, output.shape[-1])
            terms = terms._replace(reconstruction=reconstruction(output, target, focus=focus))
        if networks.discriminator is None:
            return terms
        fake = networks.discriminator(output)
        if weights.gan:
            terms = terms._replace(gan=generator_loss(fake))
        if weights.feature_matching:
            with torch.no_grad():
                real = networks.discriminator(target)
            terms = terms._replace(feature_matching=feature_matching(real, fake))
        return terms

    def _focus(self, truth: Truth | None, size: int) -> Tensor | None:
        if truth is None or not self.focus:
            return None
        points = keypoints_of(truth.canonical, truth.driving)[..., :2]
        return focus_on(points, points.new_tensor(self.focus), size)

    def _of_motion(
        self, terms: Terms, own: Estimates, motion: Motion, driving: Tensor, truth: Truth | None
    ) -> Terms:
        weights = self.losses
        if weights.keypoint_prior:
            kp_driving = keypoints_of(own.canonical.keypoints, motion, self.model.config.geometry)
            terms = terms._replace(keypoint_prior=keypoint_prior(kp_driving))
        if self.model.head is None:  # no pose, and no δ that could be small
            return terms
        if weights.deformation_prior:
            terms = terms._replace(deformation_prior=deformation_prior(motion.expression))
        rotation = self._true_rotation(driving, truth) if weights.head_pose else None
        if rotation is not None:
            order = self.model.config.geometry.euler_order
            terms = terms._replace(head_pose=head_pose(motion.rotation, rotation, order))
        return terms

    @torch.no_grad()
    def _true_rotation(self, driving: Tensor, truth: Truth | None) -> Tensor | None:
        """R̄_d (B, 3, 3): from the data, or else from the pose network; None without both."""
        if truth is not None:
            return truth.driving.rotation
        return None if self.networks.pose is None else self.networks.pose(driving).motion.rotation

    def _of_warp(
        self, terms: Terms, own: Estimates, motion: Motion, driving: Tensor, warp: RandomWarp, voxels: int
    ) -> Terms:
        weights, jacobians = self.losses, own.canonical.jacobians
        by_jacobians = weights.equivariance_jacobians and self.model.config.jacobian
        if not (weights.equivariance or by_jacobians):
            return terms
        warped_motion, warped = self.model.look(warp.image(driving, voxels))
        geometry = self.model.config.geometry
        kp_warped = keypoints_of(warped.keypoints, warped_motion, geometry)
        if weights.equivariance:
            kp_driving = keypoints_of(own.canonical.keypoints, motion, geometry)
            terms = terms._replace(equivariance=equivariance(kp_driving, kp_warped, warp))
        if by_jacobians:
            with no_autocast(kp_warped):
                jac_driving = jacobians_of(jacobians, motion)
                jac_warped = jacobians_of(warped.jacobians, warped_motion)
            assert jac_driving is not None
            assert jac_warped is not None
            error = equivariance_jacobians(jac_driving, jac_warped, warp, kp_warped)
            terms = terms._replace(equivariance_jacobians=error)
        return terms

    def _of_truth(
        self, terms: Terms, own: Estimates, motion: Motion, canonical: Tensor, truth: Truth
    ) -> Terms:
        """Errors against the truth: means over source and driving frame."""
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

    def _of_keypoints(self, terms: Terms, own: Estimates, motion: Motion, truth: Truth) -> Terms:
        """Errors of keypoints where pictures have them, with the source's canonical ones: means as above."""
        if not self.losses.true_keypoints:
            return terms
        detector, canonical = self.model.canonical, own.canonical.keypoints
        flat = detector is not None and detector.depth == 1
        errors = [
            keypoint_error(
                keypoints_of(canonical, estimate, self.model.config.geometry),
                keypoints_of(truth.canonical, known),
                flat=flat,
            )
            for estimate, known in ((own.motion, truth.source), (motion, truth.driving))
        ]
        return terms._replace(true_keypoints=torch.stack(errors).mean())


class DiscriminatorObjective(nn.Module):
    """A discriminator and its loss as one module, for DistributedDataParallel to wrap."""

    def __init__(self, discriminator: Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Pictures (B, 3, n, n); the fake ones detached."""
        return discriminator_loss(self.discriminator(real), self.discriminator(fake))


def place_absolutely(source: Source, motion: Motion, model: FaceVid2Vid) -> Placement:
    """The source's keypoints where the driving frame has them: `place` without an anchor.

    LivePortrait's rule keeps part of the source's own expression, at inference; here the driver's counts.
    """
    geometry = model.config.geometry
    if TRANSFERS[geometry.transfer].keeps_own_expression:
        return Placement(keypoints_of(source.canonical, motion, geometry), None)
    return place(source, motion, geometry=geometry)


def without_last(placement: Placement, kp_source: Tensor, dropped: Tensor) -> Placement:
    """The last keypoints stay where the source has them, unturned: shares `dropped` (B,), rounded down."""
    K = kp_source.shape[1]
    moves = torch.arange(K, device=dropped.device) < K - (dropped * K).floor().unsqueeze(1)  # (B, K)
    kp_driving = placement.kp_driving.where(moves.unsqueeze(-1), kp_source)
    affine = placement.affine
    if affine is not None:
        each = affine if affine.dim() == 4 else affine.unsqueeze(1)
        identity = torch.eye(3, dtype=affine.dtype, device=affine.device)
        affine = each.where(moves[..., None, None], identity)
    return Placement(kp_driving, affine)


def as_read(truth: Truth, source: Motion, driving: Motion) -> Truth:
    """`truth` as models without a pose read it: keypoints in each picture, with the estimates' Jacobians."""
    motions = (
        direct_motion(keypoints_of(truth.canonical, true), estimate.jacobians)
        for true, estimate in ((truth.source, source), (truth.driving, driving))
    )
    return Truth(torch.zeros_like(truth.canonical), *motions)


def with_true_keypoints(
    source: Source, motion: Motion, truth: Truth, chosen: Tensor
) -> tuple[Source, Motion]:
    """`source` and the driving `motion`, true in place of estimated in the pairs that are `chosen` (B,)."""
    used = truth.where(chosen, Truth(source.canonical, source.motion, motion))
    keypoints = keypoints_of(used.canonical, used.source)
    moved = replace(source, canonical=used.canonical, motion=used.source, keypoints=keypoints)
    return moved, used.driving
