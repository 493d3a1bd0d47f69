"""LivePortrait's release: four `.pth` files that are one state dict each, and a fifth that is three.

Files are known by their names. Keys in the fifth begin with `module.`; networks that it holds beside its
three are carried along.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from fv2v.checkpoints.renames import APPEARANCE, WARPING, Networks, Renames, heads, spade_decoder, to_ours
from fv2v.checkpoints.storage import (
    Checkpoint,
    contents,
    is_state_dict,
    read_torch,
    state_dicts,
    write_torch,
)
from fv2v.config import ModelConfig
from fv2v.presets import LIVEPORTRAIT

NAME = "LivePortrait"
SUFFIX = ""  # `write` writes a folder

_MOTION_EXTRACTOR: Renames = [  # H, Δ and x_c
    ("detector.downsample_layers.0.0", "head.trunk.reduce.0"),
    ("detector.downsample_layers.0.1", "head.trunk.norms.0"),
    # from the second on, the norm goes first
    *((f"detector.downsample_layers.{i}.0", f"head.trunk.norms.{i}") for i in (1, 2, 3)),
    *((f"detector.downsample_layers.{i}.1", f"head.trunk.reduce.{i}") for i in (1, 2, 3)),
    *(
        (f"detector.stages.{{i}}.{{j}}.{theirs}", f"head.trunk.stages.{{i}}.{{j}}.{ours}")
        for theirs, ours in (
            ("dwconv", "depthwise"),
            ("norm", "norm"),
            ("pwconv1", "widen"),
            ("grn", "response"),
            ("pwconv2", "narrow"),
        )
    ),
    ("detector.norm", "head.trunk.norm"),
    *heads("detector."),
    ("detector.fc_scale", "head.scale"),
    ("detector.fc_kp", "head.canonical"),
]
_BASE: dict[str, Renames] = {
    "appearance_feature_extractor": APPEARANCE,
    "motion_extractor": _MOTION_EXTRACTOR,
    "warping_module": WARPING,
    "spade_generator": spade_decoder("", "conv_img.0"),
}
_RETARGETING: dict[str, Renames] = {
    "retarget_shoulder": [("module.mlp.{i}", "retargeting.stitching.{i}")],
    "retarget_mouth": [("module.mlp.{i}", "retargeting.lips.{i}")],
    "retarget_eye": [("module.mlp.{i}", "retargeting.eyes.{i}")],
}
_RETARGETING_FILE = "stitching_retargeting_module.pth"
FILES = {  # and the folder of each in the release
    **{f"{network}.pth": "base_models" for network in _BASE},
    _RETARGETING_FILE: "retargeting_models",
}


def renames(config: ModelConfig) -> dict[str, Renames]:
    """The tables of each network."""
    return _BASE | _RETARGETING


def configs() -> list[ModelConfig]:
    """What its files may be."""
    return [LIVEPORTRAIT]


def find(folder: Path) -> list[Path]:
    """Those of its files that are in a folder, or in the release's folders below it."""
    places = [(folder / name, folder / below / name) for name, below in FILES.items()]
    return [path for either in places for path in either if path.is_file()]


def check(files: Sequence[Path]) -> None:
    """ValueError unless the five are there, once each, and nothing else."""
    names = [path.name for path in files]
    if missing := [name for name in FILES if name not in names]:
        raise ValueError(
            f"LivePortrait's weights are five files; missing: {', '.join(missing)}. Give the folder that "
            "holds them all, directly or in base_models and retargeting_models"
        )
    if len(names) != len(FILES):
        raise ValueError(f"expected LivePortrait's five files, once each, got {', '.join(map(str, files))}")


def read(files: Sequence[Path]) -> Checkpoint:
    """The five files, in any order. ValueError for one that is not what its name says."""
    networks: Networks = {}
    others: Networks = {}
    for path in files:
        stored = read_torch(path)
        if path.name == _RETARGETING_FILE:
            others = state_dicts(stored)
            fits = all(name in others for name in _RETARGETING)
            networks |= {name: _wrapped(others.pop(name)) for name in _RETARGETING if name in others}
        else:
            fits = is_state_dict(stored)
            networks[path.name.removesuffix(".pth")] = stored
        if not fits:
            raise ValueError(
                f"{path.name} is not laid out as LivePortrait's: expected "
                f"{', '.join(_RETARGETING) if path.name == _RETARGETING_FILE else 'tensors'}; the file holds "
                f"{contents(stored)}"
            )
    return Checkpoint(
        "LivePortrait's release", NAME, LIVEPORTRAIT, to_ours(networks, renames(LIVEPORTRAIT)), others
    )


def _wrapped(network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With keys that begin with `module.`, as the release's do; its own loader takes those without, too."""
    return {f"module.{key.removeprefix('module.')}": tensor for key, tensor in network.items()}


def write(networks: Networks, others: Networks, config: ModelConfig, target: Path) -> None:
    """The five files into the folder `target`, in the release's folders."""
    retargeting = {name: networks[name] for name in _RETARGETING} | others
    for name, below in FILES.items():
        (target / below).mkdir(exist_ok=True)
        base = name.removesuffix(".pth")
        write_torch(retargeting if name == _RETARGETING_FILE else networks[base], target / below / name)
