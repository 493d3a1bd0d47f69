# SPDX-License-Identifier: Apache-2.0
"""The inputs and outputs of an exported frame: shapes, types and meanings."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from fv2v.config import ModelConfig
from fv2v.engine.frame import DETAIL, FrameNetwork, detail_names
from fv2v.geometry import coordinate_dtype

# in the networks' dtype; all others are coordinates
STORED = ("driving", "source_features", "source_compressed")
MOTION = {
    "rotation": "head rotation, a matrix that acts on columns",
    "translation": "head translation",
    "expression": "expression, as added to each keypoint",
    "scale": "head size; 1 where the preset has none",
    "jacobians": "Jacobians of the keypoints",
}
MEANINGS = {
    "driving": "RGB in [0, 1], a square crop around the driver's face, resized as the config says",
    "source_features": "the portrait's feature volume",
    "source_compressed": "what the motion network sees of it",
    "source_canonical": "the portrait's canonical keypoints, (x, y, z)",
    **{f"source_{name}": f"the portrait's own {meaning}" for name, meaning in MOTION.items()},
    "source_jacobians": "their Jacobians",
    "source_keypoints": "the portrait's keypoints as it shows them; its volume is [-1, 1] each way",
    **{
        f"anchor_{name}": f"{meaning}, in the frame that counts as no change"
        for name, meaning in MOTION.items()
    },
    "movement": "factor of the driver's movement",
    "view_degrees": "pitch, yaw and roll of the receiver's view, in degrees",
    "view_translation": "its translation; the volume is 2 wide",
    "view_keeps": "which angles are the driver's; whether rotation and translation come on top of it",
}
IMAGE = {  # by ModelConfig.truncates
    False: "RGB in [0, 1]; for 8 bits times 255 and rounded",
    True: "RGB in [0, 1]; for 8 bits times 255 and truncated, as the release does",
}
WINDOW = (
    "3DMM coefficients of the driver, of the frames around this one, as "
    "fv2v.motion.coefficients.windows has them"
)


def shapes(config: ModelConfig, batch_size: int) -> dict[str, tuple[int, ...]]:
    """By name, for one portrait: the shapes of all inputs that any preset and option has."""
    K, D, H = config.keypoints, config.volume_depth, config.image_size // config.volume_stride
    sizes = config.detail_sizes
    by_pictures = config.driven_by == "pictures"
    driving = (3, *2 * (config.image_size,)) if by_pictures else (config.head.inputs, config.head.window)
    motion = {"rotation": (1, 3, 3), "translation": (1, 3), "expression": (1, K, 3)}
    motion["scale"] = (1, max(config.head.scales, 1))
    motion["jacobians"] = (1, K, 3, 3)  # before it as J_c, too
    return {
        "driving": (batch_size, *driving),
        "source_features": (1, config.volume_channels, D, H, H),
        "source_compressed": (1, config.dense_motion.compressed_channels, D, H, H),
        "source_canonical": (1, K, 3),
        **{f"source_{name}": shape for name, shape in motion.items()},
        "source_keypoints": (1, K, 3),
        **{
            name: (1, config.generator.detail_channels, side, side)
            for name, side in zip(detail_names(len(sizes)), sizes, strict=True)
        },
        **{f"anchor_{name}": shape for name, shape in motion.items()},
        "movement": (1, 1, 1),
        "view_degrees": (batch_size, 3),
        "view_translation": (batch_size, 3),
        "view_keeps": (batch_size, 5),
    }


def examples(network: FrameNetwork, batch_size: int) -> tuple[Tensor, ...]:
    """Zeros for every input of the network, on the device of its weights: tracing needs no other values."""
    weight = next(network.parameters())
    wanted = shapes(network.model.config, batch_size)
    return tuple(
        torch.zeros(wanted[name], dtype=_dtype(name, weight.dtype), device=weight.device)
        for name in network.inputs
    )


def describe(network: FrameNetwork, batch_size: int) -> dict[str, Any]:
    """The metadata of a file, JSON-ready."""
    config = network.model.config
    dtype = next(network.parameters()).dtype
    size = config.output_size
    wanted = shapes(config, batch_size)
    meanings = MEANINGS | ({"driving": WINDOW} if config.driven_by == "coefficients" else {})
    return {
        "preset": config.name,
        "config": config.as_dict(),
        "options": {k: v for k, v in asdict(network.kind).items() if k != "extract"}
        | {"batch_size": batch_size},
        "inputs": {
            name: _described(wanted[name], _dtype(name, dtype), _meaning(name, meanings))
            for name in network.inputs
        },
        "outputs": {"image": _described((batch_size, 3, size, size), dtype, IMAGE[config.truncates])},
    }


def _described(shape: tuple[int, ...], dtype: torch.dtype, meaning: str) -> dict[str, Any]:
    return {"shape": list(shape), "dtype": str(dtype).removeprefix("torch."), "meaning": meaning}


def _dtype(name: str, stored: torch.dtype) -> torch.dtype:
    if name == "view_keeps":
        return torch.bool
    return stored if name in STORED or name.startswith(DETAIL) else coordinate_dtype(stored)


def _meaning(name: str, meanings: dict[str, str]) -> str:
    return "features of the portrait finer than its volume" if name.startswith(DETAIL) else meanings[name]
