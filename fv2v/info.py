"""The presets as a table."""

import torch
from rich.table import Table

from fv2v.config import PRESETS, ModelConfig
from fv2v.networks import FaceVid2Vid

NETWORKS = {
    "appearance": "F appearance",
    "canonical": "L canonical keypoints",
    "head": "H, Δ head",
    "dense_motion": "M dense motion",
    "generator": "G generator",
}


def table() -> Table:
    """One column a preset: sizes, conventions, parameters of each network."""
    result = Table("", *PRESETS, title="Presets", title_justify="left")
    columns = [_describe(config) for config in PRESETS.values()]
    for name in columns[0]:
        if name.startswith("F "):
            result.add_section()
        result.add_row(name, *(column[name] for column in columns))
    return result


def _describe(config: ModelConfig) -> dict[str, str]:
    side = config.image_size // config.volume_stride
    geometry = config.geometry
    first, second, third = (f"R{axis}" for axis in geometry.euler_order)
    counts = parameters(config)
    return {
        "keypoints K": str(config.keypoints),
        "picture": f"{config.image_size} x {config.image_size}",
        "volume C x D x H x W": f"{config.volume_channels} x {config.volume_depth} x {side} x {side}",
        "volumes are read on": "corner lattice" if config.align_corners else "face lattice",
        "flow": _flow(config),
        "rotation R": f"{first} {second} {third} (x pitch, y yaw, z roll)",
        "transfer": f"{geometry.transfer}, {'relative' if geometry.relative else 'absolute'} by default",
        **{label: _millions(counts[name]) for name, label in NETWORKS.items()},
        "parameters": _millions(sum(counts.values())),
    }


def parameters(config: ModelConfig) -> dict[str, int]:
    """Trainable numbers of each network."""
    with torch.device("meta"):
        model = FaceVid2Vid(config)
    return {name: sum(p.numel() for p in getattr(model, name).parameters()) for name in NETWORKS}


def _flow(config: ModelConfig) -> str:
    if config.geometry.transfer == "pose":
        return "first order, R_s inverse(R_d)"
    return "first order, J_s inverse(J_d)" if config.jacobian else "translation"


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M"
