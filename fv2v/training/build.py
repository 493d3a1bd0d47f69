# SPDX-License-Identifier: Apache-2.0
"""What training starts with: a model of new or stored weights, and the networks that its losses use."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from fv2v import checkpoints
from fv2v.config import ModelConfig
from fv2v.geometry.transfer import TRANSFERS
from fv2v.geometry.view import check_has_pose
from fv2v.losses import HeadFeatures, PerceptualLoss, Vgg19Features
from fv2v.networks import Discriminator, FaceVid2Vid, HeadEstimator
from fv2v.presets import FACE_VID2VID_256
from fv2v.training.config import TrainConfig
from fv2v.training.initialization import begin_with_prior
from fv2v.training.objective import LossNetworks

TRUE = ("true_canonical", "true_rotation", "true_translation", "true_expression")  # losses against a truth
WITHOUT_VGG = "or, without one, --set losses.perceptual=0 --set losses.reconstruction=10"


def starting_model(config: TrainConfig) -> FaceVid2Vid:
    """The model before the first step, on the CPU, in float32.

    Weights are those of `config.weights` but for what is `fresh`, which is initialised by the seed, and so is
    everything where there are none. H and Δ are those of `config.head` where it is given.

    Raises:
        FileNotFoundError: there are no such weights.
        ValueError: weights that do not fit, or a model that is not driven by pictures.
    """
    if config.weights is not None and not config.fresh:
        model = checkpoints.load(config.weights, config.model)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = FaceVid2Vid(config.model or FACE_VID2VID_256)
            if config.prior:
                begin_with_prior(model)
        if config.weights is not None:
            _take(model, checkpoints.load(config.weights), config.fresh)
            if config.fixed_norms:
                _check_statistics(model, config.fresh)
    if config.head is not None:
        _take_head(model, config.head)
    if model.config.portrait_size != model.config.image_size:
        raise ValueError(
            f"{model.config.name!r} sees portraits at {model.config.portrait_size} px and drivers at "
            f"{model.config.image_size}: expected a model that sees both alike, as training shows them"
        )
    if model.config.driven_by == "coefficients":
        raise ValueError(
            f"{model.config.name!r} is driven by 3DMM coefficients: expected a model that pictures drive"
        )
    if model.config.direct and (wants := [name for name in TRUE if getattr(config.losses, name)]):
        check_has_pose(model.config, f"what true motion is compared with ({', '.join(wants)})")
    if config.losses.moved_source and not model.config.generator.detail_channels:
        raise ValueError(
            f"losses.moved_source: expected 0, as {model.config.name!r} has no detail that moves "
            "(generator.detail_channels)"
        )
    _freeze_what_no_loss_reaches(model, config)
    for field in ("rates", "frozen"):
        check_names(model, list(getattr(config.optimiser, field)), f"optimiser.{field}")
    return model.float()


def loss_networks(config: TrainConfig, *, knows_truth: bool, device: torch.device) -> LossNetworks:
    """The networks that the losses of a config need; `knows_truth`: the data has true motion.

    Raises:
        FileNotFoundError: a file of weights is absent.
        ValueError: weights that cannot be used, or a perceptual loss without weights of VGG-19.
    """
    losses = config.losses
    discriminator = perceptual = pose = None
    if losses.gan or losses.feature_matching:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            discriminator = Discriminator(config.discriminator).to(device)
    if losses.perceptual and config.features is not None:
        features = HeadFeatures(_head(config.features, "features"))
        perceptual = PerceptualLoss(features, features.weights, scales=1).to(device)
    elif losses.perceptual:
        perceptual = PerceptualLoss(_vgg(config.vgg)).to(device)
    if losses.head_pose and config.pose is not None and not knows_truth:
        pose = _head(config.pose, "pose").to(device)
    return LossNetworks(discriminator, perceptual, pose)


def check_names(model: FaceVid2Vid, names: Sequence[str], field: str) -> None:
    """ValueError if one of them is not the first part of a parameter's name."""
    known = [name for name, _ in model.named_parameters()]
    for name in names:
        if not any(f"{each}.".startswith(f"{name}.") for each in known):
            networks = dict.fromkeys(each.partition(".")[0] for each in known)
            raise ValueError(
                f"{field}: expected the first part of a parameter's name, as {', '.join(networks)} or "
                f"{known[0].rpartition('.')[0]}; got {name!r}"
            )


def check_size(config: ModelConfig, size: int) -> None:
    """ValueError where the networks cannot take pictures of so many pixels on a side."""
    steps = [config.volume_stride << len(config.dense_motion.widths)]
    if config.canonical:
        steps.append(config.canonical.stride << len(config.canonical.widths))
    for step in steps:
        if size < 1 or size % step:
            raise ValueError(f"size: {config.name!r} takes multiples of {step} pixels, got {size}")


def _freeze_what_no_loss_reaches(model: FaceVid2Vid, config: TrainConfig) -> None:
    if model.retargeting is not None:
        model.retargeting.requires_grad_(False)
    if not config.losses.of_pictures:
        for network in (model.appearance, model.dense_motion, model.generator):
            network.requires_grad_(False)
    losses = config.losses if model.config.jacobian else replace(config.losses, equivariance_jacobians=0)
    by_truth_alone = config.teacher == (1.0, 1.0) or not losses.of_pictures
    if by_truth_alone and not losses.of_motion:
        for estimator in (model.head, model.canonical):
            if estimator is not None:
                estimator.requires_grad_(False)
    # elsewhere J_s J_d⁻¹ is R_s R_d⁻¹, whatever J_c is
    shown = TRANSFERS[model.config.geometry.transfer].reads_jacobians
    if model.canonical is not None and model.canonical.jacobian is not None:
        model.canonical.jacobian.requires_grad_(shown or bool(config.losses.equivariance_jacobians))


def _vgg(name: str | None) -> Vgg19Features:
    if name is None:
        raise ValueError(
            "losses.perceptual takes a VGG-19: --set vgg=FILE, vgg=torchvision or vgg=download; "
            f"{WITHOUT_VGG}"
        )
    if name not in ("torchvision", "download"):
        return Vgg19Features.load(name)
    try:
        return Vgg19Features.from_torchvision(download=name == "download")
    except ValueError as error:
        raise ValueError(f"{error}, given by --set vgg=FILE; {WITHOUT_VGG}") from error


def _head(weights: Path, field: str) -> HeadEstimator:
    model = checkpoints.load(weights)
    if model.config.driven_by == "coefficients":
        raise ValueError(f"{field}: {weights} reads no pictures, expected the weights of a model that does")
    if model.head is None:
        raise ValueError(f"{field}: {weights} has no H, expected the weights of a model that has")
    return model.head.float().eval().requires_grad_(False)


def _take_head(model: FaceVid2Vid, weights: Path) -> None:
    found = checkpoints.load(weights)
    parts = [(each.head, each.keypoints, each.geometry) for each in (model.config, found.config)]
    if parts[0] != parts[1]:
        raise ValueError(f"head: {found.config.name!r} in {weights} has another H than {model.config.name!r}")
    if model.head is None or found.head is None:
        raise ValueError(f"head: {model.config.name!r} has no H that one could be taken for")
    model.head.load_state_dict(found.head.state_dict())


def _check_statistics(model: FaceVid2Vid, fresh: Sequence[str]) -> None:
    """ValueError where batch norms are fresh: they have no statistics to be fixed at."""
    for name, _ in model.named_buffers():
        if name.endswith("running_mean") and any(f"{name}.".startswith(f"{each}.") for each in fresh):
            raise ValueError(f"fixed_norms: expected no batch norm among `fresh`, which {name} is")


def _take(model: FaceVid2Vid, stored: FaceVid2Vid, fresh: Sequence[str]) -> None:
    """Load the weights of `stored`, which may be of another config, but for what is `fresh`."""
    check_names(model, fresh, "fresh")
    wanted, found = model.state_dict(), stored.state_dict()
    names = [name for name in wanted if not any(f"{name}.".startswith(f"{each}.") for each in fresh)]
    unfit = [name for name in names if name not in found or found[name].shape != wanted[name].shape]
    if unfit:
        raise ValueError(
            f"the weights of {stored.config.name!r} do not fit {model.config.name!r} in {len(unfit)} tensors "
            f"that are not `fresh`, as {unfit[0]}"
        )
    model.load_state_dict(wanted | {name: found[name] for name in names})
