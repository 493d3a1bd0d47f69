# SPDX-License-Identifier: Apache-2.0
"""The presets as tables."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from rich.table import Table

from fv2v.config import ModelConfig
from fv2v.engine.flops import recorded
from fv2v.geometry.transfer import TRANSFERS
from fv2v.networks import FaceVid2Vid
from fv2v.presets import PRESETS

NETWORKS = {
    "appearance": "F appearance",
    "canonical": "L keypoints",
    "head": "H, Δ head",
    "dense_motion": "M motion",
    "generator": "G generator",
    "retargeting": "retargeting",
}
ONCE = ("appearance", "canonical")  # a portrait; the others run for every frame
SCALES = {0: "", 1: ", s", 3: ", s xyz"}  # by how many there are
LATTICES = {True: "corner", False: "face"}  # by align_corners
TRUNKS = {"resnet": "ResNet", "convnext": "ConvNeXt V2", "coefficients": "3DMM"}


def tables() -> tuple[Table, Table]:
    """One row a preset: sizes and conventions; parameters and GFLOP of each network."""
    conventions = _table("Presets", [_conventions(config) for config in PRESETS.values()])
    conventions.caption = (
        "px in, out; volumes C D H W; on which lattice they are read; R is a product of Rx(pitch), Ry(yaw), "
        "Rz(roll); 3DMM: driven by coefficients in place of pictures; mask: those below count as 0"
    )
    networks = _table("Networks", [_networks(config) for config in PRESETS.values()])
    networks.caption = (
        "millions of parameters, GFLOP (2 for a multiplication and its addition) of convolutions"
    )
    return conventions, networks


def preset_tables(config: ModelConfig) -> tuple[Table, Table, Table]:
    """One preset: its two rows of `tables` as columns; and its config, under the names in training's TOML."""
    conventions = Table(title=config.name, title_justify="left", show_header=False)
    for name, value in _conventions(config).items():
        conventions.add_row(name, value)
    networks = Table("network", "parameters", "GFLOP", "runs", title="Networks", title_justify="left")
    counts, work = parameters(config), gflop(config)
    for name, label in NETWORKS.items():
        if counts[name]:
            runs = "once a portrait" if name in _once(config) else "every frame"
            networks.add_row(label, f"{counts[name] / 1e6:.2f} M", f"{work[name]:.2f}", runs)
    fields = Table(title="Config: --set model.NAME=VALUE", title_justify="left", show_header=False)
    for name, value in _flat(config.as_dict()):
        fields.add_row(name, str(list(value) if isinstance(value, tuple) else value))
    return conventions, networks, fields


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested tables, under names joined by dots."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _table(title: str, rows: list[dict[str, str]]) -> Table:
    result = Table(title=title, title_justify="left", caption_justify="left")
    for name in rows[0]:
        result.add_column(name, no_wrap=name == "preset")
    for row in rows:
        result.add_row(*row.values())
    return result


def _conventions(config: ModelConfig) -> dict[str, str]:
    side = config.image_size // config.volume_stride
    geometry, decoder = config.geometry, config.generator.decoder
    turn = " π=3.14" if geometry.pi == 3.14 else ""
    return {
        "preset": config.name,
        "K": str(config.keypoints),
        "px": f"{config.image_size}, {config.output_size}",
        "volume": f"{config.volume_channels} {config.volume_depth} {side} {side}",
        "lattice": LATTICES[config.align_corners],
        "flow": _flow(config),
        "transfer": f"{geometry.transfer}, {'relative' if geometry.relative else 'absolute'}",
        "R": "-" if config.direct else "·".join(f"R{axis}" for axis in geometry.euler_order) + turn,
        "t, s": "-" if config.direct else geometry.translation + SCALES[config.head.scales],
        "head, bin 0": _head(config),
        "mask": f"{config.dense_motion.mask_threshold:g}",
        "F": "ViT" if config.appearance.transformer else f"conv {config.appearance.kernel}",
        "G": decoder + (", shuffle" if config.generator.pixel_shuffle > 1 else ""),
    }


def _networks(config: ModelConfig) -> dict[str, str]:
    counts, work = parameters(config), gflop(config)
    cells = {
        label: f"{counts[name] / 1e6:.1f} M, {work[name]:.1f}" if counts[name] else "-"
        for name, label in NETWORKS.items()
    }
    frame = sum(amount for name, amount in work.items() if name not in _once(config))
    return {
        "preset": config.name,
        **cells,
        "all": f"{sum(counts.values()) / 1e6:.1f} M",
        "a frame": f"{frame:.0f} GFLOP",
    }


def _once(config: ModelConfig) -> tuple[str, ...]:
    """The networks of a portrait: without H, L looks at every frame."""
    return ONCE[:1] if config.direct else ONCE


def parameters(config: ModelConfig) -> dict[str, int]:
    """Trainable numbers of each network; 0 where the preset has no such network."""
    with torch.device("meta"):
        model = FaceVid2Vid(config)
    networks = {name: getattr(model, name) for name in NETWORKS}
    return {
        name: sum(p.numel() for p in network.parameters()) if network else 0
        for name, network in networks.items()
    }


def gflop(config: ModelConfig) -> dict[str, float]:
    """10⁹ operations of each network's convolutions and linear layers, for one picture or frame."""
    with torch.device("meta"):
        model = FaceVid2Vid(config).eval()
        image = torch.empty(1, 3, config.portrait_size, config.portrait_size)
        head = config.head
        window = torch.empty(1, head.inputs, head.window) if config.driven_by == "coefficients" else None
        with recorded(model) as calls, torch.inference_mode():
            source = model.encode(image, window)
            model.render(source, model.place(source, source.motion))
    work: dict[str, float] = dict.fromkeys(NETWORKS, 0.0)
    for call in calls:
        work[call.name.partition(".")[0]] += call.gflop
    return work


def _head(config: ModelConfig) -> str:
    if config.direct:
        return "none: L"
    return f"{TRUNKS[config.head.trunk]}, -{config.head.degree_offset:g}°"


def _flow(config: ModelConfig) -> str:
    if TRANSFERS[config.geometry.transfer].rotates_flow:
        return "R_s R_d⁻¹"
    return "J_s J_d⁻¹" if config.jacobian else "translation"
