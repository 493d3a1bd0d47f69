"""zhanglonghao1992's release, `NNNNNNNN-checkpoint.pth.tar`: which of its tensors is which of ours.

The file is a dict of state dicts. `discriminator`, the optimizers and `epoch` matter to training only and
may be absent.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from fv2v.config import VOX_256, VOX_256_JACOBIAN, ModelConfig

Renames = list[tuple[str, str]]

_GENERATOR: Renames = [  # F, M and G
    (r"dense_motion_network\.compress\.", r"dense_motion.compressor."),
    (r"dense_motion_network\.hourglass\.encoder\.down_blocks\.(\d+)\.", r"dense_motion.hourglass.down.\1."),
    (r"dense_motion_network\.hourglass\.decoder\.up_blocks\.(\d+)\.", r"dense_motion.hourglass.up.\1."),
    (r"dense_motion_network\.hourglass\.decoder\.", r"dense_motion.hourglass."),
    (r"dense_motion_network\.", r"dense_motion."),
    (r"first\.", r"appearance.first."),
    (r"down_blocks\.(\d+)\.", r"appearance.down.\1."),
    (r"second\.", r"appearance.lift."),
    (r"resblocks_3d\.3dr(\d+)\.", r"appearance.residual.\1."),
    (r"third\.", r"generator.project."),
    (r"fourth\.", r"generator.mix."),
    (r"resblocks_2d\.2dr(\d+)\.", r"generator.decoder.residual.\1."),
    (r"up_blocks\.(\d+)\.", r"generator.decoder.up.\1."),
    (r"final\.", r"generator.decoder.final."),
]
_KP_DETECTOR: Renames = [  # L
    (r"down\.", r"canonical.reduce."),
    (r"predictor\.down_blocks\.down(\d+)\.", r"canonical.down.\1."),
    (r"predictor\.conv\.", r"canonical.lift."),
    (r"predictor\.up_blocks\.up(\d+)\.", r"canonical.up.\1."),
    (r"kp\.", r"canonical.heatmap."),
    (r"jacobian\.", r"canonical.jacobian."),
]
_HE_ESTIMATOR: Renames = [  # H and Δ
    (r"conv1\.", r"head.trunk.stem.0."),
    (r"norm1\.", r"head.trunk.stem.1."),
    *(
        (rf"{part}{i + 2}\.", rf"head.trunk.stages.{i}.{part}.")
        for i in range(4)
        for part in ("conv", "norm")
    ),
    *((rf"block{2 * i}\.skip\.", rf"head.trunk.stages.{i}.halve.skip.0.") for i in (1, 2, 3)),
    *((rf"block{2 * i}\.norm4\.", rf"head.trunk.stages.{i}.halve.skip.1.") for i in (1, 2, 3)),
    *((rf"block{2 * i}\.", rf"head.trunk.stages.{i}.halve.") for i in (1, 2, 3)),
    *((rf"block{2 * i + 1}\.b{2 * i + 1}_(\d+)\.", rf"head.trunk.stages.{i}.blocks.\1.") for i in range(4)),
    # The release feeds fc_roll to yaw and fc_yaw to roll; the weights learned it that way.
    (r"fc_roll\.", r"head.yaw.bins."),
    (r"fc_yaw\.", r"head.roll.bins."),
    (r"fc_pitch\.", r"head.pitch.bins."),
    (r"fc_t\.", r"head.translation."),
    (r"fc_exp\.", r"head.expression."),
]
RENAMES: dict[str, Renames] = {
    "generator": _GENERATOR,
    "kp_detector": _KP_DETECTOR,
    "he_estimator": _HE_ESTIMATOR,
}


def rename(stored: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The release's tensors under our names; one not in the tables keeps its own, after its network's."""
    return {_renamed(network, key): tensor for network in RENAMES for key, tensor in stored[network].items()}


def recognise(stored: Mapping[str, Mapping[str, Tensor]]) -> ModelConfig:
    """Which of the release's presets the file is for: the Jacobian head tells."""
    return VOX_256_JACOBIAN if "jacobian.weight" in stored["kp_detector"] else VOX_256


def _renamed(network: str, key: str) -> str:
    for pattern, replacement in RENAMES[network]:
        renamed, found = re.subn(rf"^{pattern}", replacement, key)
        if found:
            return renamed
    return f"{network}:{key}"
