# SPDX-License-Identifier: Apache-2.0
"""Tensors' names, a release's and ours: one table serves both directions. Parts that releases share are here.

A table pairs places in a release's module tree with places in ours. A key belongs to a pair if it is that
place or lies below it; what follows the place stays as it is. No place in a table lies below another of the
same side, so one pair at most fits a key, either way.
"""

import re
from collections.abc import Mapping
from functools import cache

from torch import Tensor

Renames = list[tuple[str, str]]  # (the release's place, ours); {i} and {j} are numbers
Networks = dict[str, dict[str, Tensor]]  # state dicts under a release's names

APPEARANCE: Renames = [  # F
    ("first", "appearance.first"),
    ("down_blocks.{i}", "appearance.down.{i}"),
    ("second", "appearance.lift"),
    ("resblocks_3d.3dr{i}", "appearance.residual.{i}"),
]
WARPING: Renames = [  # M, and G before its decoder
    ("dense_motion_network.compress", "dense_motion.compressor"),
    ("dense_motion_network.norm", "dense_motion.norm"),
    ("dense_motion_network.hourglass.encoder.down_blocks.{i}", "dense_motion.hourglass.down.{i}"),
    ("dense_motion_network.hourglass.decoder.up_blocks.{i}", "dense_motion.hourglass.up.{i}"),
    ("dense_motion_network.hourglass.decoder.conv", "dense_motion.hourglass.conv"),
    ("dense_motion_network.hourglass.decoder.norm", "dense_motion.hourglass.norm"),
    ("dense_motion_network.mask", "dense_motion.mask"),
    ("dense_motion_network.occlusion", "dense_motion.occlusion"),
    ("third", "generator.project"),
    ("fourth", "generator.mix"),
]
CANONICAL: Renames = [  # L
    ("down", "canonical.reduce"),
    ("predictor.down_blocks.down{i}", "canonical.down.{i}"),
    ("predictor.conv", "canonical.lift"),
    ("predictor.up_blocks.up{i}", "canonical.up.{i}"),
    ("kp", "canonical.heatmap"),
    ("jacobian", "canonical.jacobian"),
]
_SPECTRAL = {"weight_orig": "weight", "weight_u": "weight_u", "weight_v": "weight_v", "bias": "bias"}
_SPADE = {"mlp_shared.0": "shared", "mlp_gamma": "gamma", "mlp_beta": "beta"}


def spade_decoder(prefix: str, final: str) -> Renames:
    """The SPADE decoder below `prefix`, whose last convolution is called `final`."""
    blocks = {"G_middle_{i}": "middle.{i}", "up_{i}": "up.{i}"}
    parts = [
        *((f"conv_{n}.{theirs}", f"conv_{n}.{ours}") for n in "01s" for theirs, ours in _SPECTRAL.items()),
        *((f"norm_{n}.{theirs}", f"spade_{n}.{ours}") for n in "01s" for theirs, ours in _SPADE.items()),
    ]
    return [
        (f"{prefix}fc", "generator.decoder.lift"),
        *(
            (f"{prefix}{block}.{part}", f"generator.decoder.{our_block}.{our_part}")
            for block, our_block in blocks.items()
            for part, our_part in parts
        ),
        (f"{prefix}{final}", "generator.decoder.final"),
    ]


def heads(prefix: str = "", *, yaw: str = "fc_yaw", roll: str = "fc_roll") -> Renames:
    """The linear heads of H and Δ below `prefix`."""
    return [
        (f"{prefix}fc_pitch", "head.pitch.bins"),
        (f"{prefix}{yaw}", "head.yaw.bins"),
        (f"{prefix}{roll}", "head.roll.bins"),
        (f"{prefix}fc_t", "head.translation"),
        (f"{prefix}fc_exp", "head.expression"),
    ]


def motion_extractor(prefix: str = "") -> Renames:
    """H, Δ and x_c on ConvNeXt V2 below `prefix`."""
    at = f"{prefix}downsample_layers"
    return [
        (f"{at}.0.0", "head.trunk.reduce.0"),
        (f"{at}.0.1", "head.trunk.norms.0"),
        # from the second on, the norm goes first
        *((f"{at}.{i}.0", f"head.trunk.norms.{i}") for i in (1, 2, 3)),
        *((f"{at}.{i}.1", f"head.trunk.reduce.{i}") for i in (1, 2, 3)),
        *(
            (f"{prefix}stages.{{i}}.{{j}}.{theirs}", f"head.trunk.stages.{{i}}.{{j}}.{ours}")
            for theirs, ours in (
                ("dwconv", "depthwise"),
                ("norm", "norm"),
                ("pwconv1", "widen"),
                ("grn", "response"),
                ("pwconv2", "narrow"),
            )
        ),
        (f"{prefix}norm", "head.trunk.norm"),
        *heads(prefix),
        (f"{prefix}fc_scale", "head.scale"),
        (f"{prefix}fc_kp", "head.canonical"),
    ]


def to_ours(networks: Networks, tables: Mapping[str, Renames]) -> dict[str, Tensor]:
    """The release's tensors under our names; one not in the tables keeps its own, after its network's."""
    return {
        _renamed(key, table) or f"{network}:{key}": tensor
        for network, table in tables.items()
        for key, tensor in networks[network].items()
    }


def to_release(weights: Mapping[str, Tensor], tables: Mapping[str, Renames]) -> Networks:
    """Our tensors under the release's names. ValueError for one that the release has no place for."""
    backwards = {network: [(ours, theirs) for theirs, ours in table] for network, table in tables.items()}
    networks: Networks = {network: {} for network in tables}
    for key, tensor in weights.items():
        names = ((network, _renamed(key, table)) for network, table in backwards.items())
        place = next(((network, name) for network, name in names if name), None)
        if place is None:
            raise ValueError(f"the release has no place for {key}")
        networks[place[0]][place[1]] = tensor
    return networks


def _renamed(key: str, table: Renames) -> str | None:
    for before, after in table:
        if found := _pattern(before).match(key):
            return after.format(**found.groupdict()) + key[found.end() :]
    return None


@cache
def _pattern(place: str) -> re.Pattern[str]:
    """Matches the start of a key at `place` or below it."""
    return re.compile(re.sub(r"\\{(\w)\\}", r"(?P<\1>\\d+)", re.escape(place)) + r"(?=\.|$)")
