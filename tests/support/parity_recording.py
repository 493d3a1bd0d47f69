# SPDX-License-Identifier: Apache-2.0
"""How a model's tensors are recorded under the names of the releases' records."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import parity
import torch
from release_weights import DATA
from torch import Tensor, nn

from fv2v.geometry import Motion, Placement, Source
from fv2v.networks import FaceVid2Vid, TransformerExtractor
from fv2v_kernels import compose_flow, compose_warp, keypoint_flow

FRAMES = ("source", "driving0", "driving1")

Recording = dict[str, Tensor]


def recorded_pictures() -> dict[str, Tensor]:
    """What the releases were shown, (1, 3, 256, 256) in [0, 1]."""
    with np.load(DATA / "inputs.npz") as inputs:
        return {
            frame: torch.from_numpy(inputs[frame]).permute(2, 0, 1)[None] / np.float32(255)
            for frame in FRAMES
        }


def recorded_coefficients() -> dict[str, Tensor]:
    """What SadTalker's mapping network was given, (1, 70, 27)."""
    return {frame: torch.from_numpy(parity.coeffs(f"sad/{frame}", 70, 27)) for frame in ("source", "driving")}


def recorded_inputs(model: FaceVid2Vid) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """What `FaceVid2Vid.encode` takes of the portrait, and what drives, by the names of the records.

    On the model's device.
    """
    device, config = next(model.parameters()).device, model.config
    pictures = {name: picture.to(device) for name, picture in recorded_pictures().items()}
    if config.driven_by == "pictures":
        larger = config.portrait_size // config.image_size  # a larger portrait has every pixel so many times
        return (pictures["source"].repeat_interleave(larger, 2).repeat_interleave(larger, 3),), pictures
    coefficients = {name: each.to(device) for name, each in recorded_coefficients().items()}
    return (pictures["source"], coefficients["source"]), coefficients


def record_encoding(model: FaceVid2Vid) -> tuple[Recording, Source, dict[str, Motion]]:
    """F, L, H and Δ."""
    recording: Recording = {}
    portrait, frames = recorded_inputs(model)
    motions = {}
    for name, frame in frames.items():
        with hooked(model, recording, f".{name}."):
            motions[name] = model.extract(frame)
        recording[f"rot.{name}"] = motions[name].rotation
    with hooked(model, recording, ".encode."):
        source = model.encode(*portrait)
    if isinstance(model.appearance, TransformerExtractor):
        recording["dino.patches"] = recording["dino.patches"].movedim(1, -1)
        recording["dino.tokens"] = recording["dino.tokens"][:, 1:]  # without the class token
    return recording, source, motions


def record_rendering(model: FaceVid2Vid, source: Source, scenario: str, placed: Placement) -> Recording:
    """M and G, and what the operators never store, from the operators."""
    recording: Recording = {}
    with hooked(model, recording, f"{scenario}."):
        recording[f"{scenario}.prediction"] = model.render(source, placed)
    points = (source.keypoints, *placed)
    logits = recording[f"{scenario}.dm.mask_logits"]
    candidates = recording[f"{scenario}.dm.hourglass_in"].unflatten(1, (model.config.flows, -1))
    size = tuple(logits.shape[2:])
    _, deformation, _ = compose_warp(
        source.features,
        logits,
        *points,
        align_corners=model.config.align_corners,
        mask_threshold=model.config.dense_motion.mask_threshold,
        return_flow=True,
    )
    # SadTalker's mask was recorded before its threshold
    _, mask = compose_flow(logits, *points, return_mask=True)
    return recording | {
        f"{scenario}.feature_3d": source.features,
        f"{scenario}.occlusion_map": recording[f"{scenario}.dm.occlusion_map"],
        f"{scenario}.warped": recording[f"{scenario}.warped_flat"].unflatten(1, (-1, size[0])),
        f"{scenario}.dm.compressed_prerelu": model.dense_motion.norm(
            model.dense_motion.compressor(source.features)
        ),
        f"{scenario}.dm.sparse_motion": keypoint_flow(*points, size=size),
        f"{scenario}.dm.heatmap": candidates[:, :, :1],
        f"{scenario}.dm.deformed_feature": candidates[:, :, 1:],
        f"{scenario}.dm.mask": mask,
        f"{scenario}.dm.deformation": deformation,
        f"{scenario}.deformation": deformation,
    }


def head_outputs(model: FaceVid2Vid, scope: str) -> dict[str, nn.Module]:
    """H's and Δ's linear heads, before anything is made of them; and the angles."""
    head, network = model.head, "he" if model.canonical else "me"
    if head is None:
        return {}
    heads = {"t": head.translation, "exp": head.expression, "scale": head.scale, "kp": head.canonical}
    outputs = {f"{network}{scope}{name}": module for name, module in heads.items() if module is not None}
    for angle in ("pitch", "yaw", "roll"):
        outputs[f"{network}{scope}{angle}"] = getattr(head, angle).bins
        outputs[f"deg{scope}{angle}"] = getattr(head, angle)
    return outputs


def appearance_outputs(model: FaceVid2Vid) -> dict[str, nn.Module]:
    """F's parts where it is a transformer."""
    if not isinstance(F := model.appearance, TransformerExtractor):
        return {}
    return {
        "dino.patches": F.transformer.patches,
        "dino.block0": F.transformer.blocks[0],
        "dino.tokens": F.transformer.norm,
        "appearance.t_conv": F.enlarge,
        "appearance.conv": F.lift,
    }


@contextmanager
def hooked(model: FaceVid2Vid, recording: Recording, scope: str) -> Iterator[None]:
    """Record what the networks' parts take and give under the names of the records."""
    M, G = model.dense_motion, model.generator
    outputs: dict[str, nn.Module] = {
        f"{scope}dm.hourglass_out": M.hourglass,
        f"{scope}dm.mask_logits": M.mask,
        f"{scope}third": G.project,
        f"{scope}fourth": G.mix,
        **head_outputs(model, scope),
        **appearance_outputs(model),
    }
    inputs = {
        f"{scope}dm.hourglass_in": M.hourglass,
        f"{scope}warped_flat": G.project,
        f"{scope}decoder_in": G.decoder,
    }
    if isinstance(model.appearance, TransformerExtractor):
        inputs["dino.embedded"] = model.appearance.transformer.blocks

    def keep(name: str, tensor: Tensor) -> None:
        recording[name] = tensor

    handles = [
        module.register_forward_hook(lambda _, __, out, name=name: keep(name, out))
        for name, module in outputs.items()
    ]
    handles += [
        module.register_forward_pre_hook(lambda _, args, name=name: keep(name, args[0]))
        for name, module in inputs.items()
    ]
    handles.append(
        M.register_forward_hook(lambda _, __, field: keep(f"{scope}dm.occlusion_map", field.occlusion))
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
