# SPDX-License-Identifier: Apache-2.0
"""Weights in and out of files, all or nothing.

Read are the public releases (one rename table each, beside this file) and our own `.safetensors`, which
carries its config in its metadata. What a file holds decides what it is, and not its name. Nothing in a file
is ever run: `weights_only=True`, or safetensors.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch
from safetensors import SafetensorError

from fv2v.checkpoints import fomm, liveportrait, native, performrecast, sadtalker, search, zhanglonghao1992
from fv2v.checkpoints.renames import to_release
from fv2v.checkpoints.storage import Checkpoint, is_safetensors, misfits, networks_of, read_file
from fv2v.config import ModelConfig
from fv2v.io.paths import PathLike, check_input, check_new_folder, check_output, whole_file, whole_folder
from fv2v.networks import FaceVid2Vid
from fv2v.presets import preset

__all__ = [
    "NO_WEIGHTS",
    "STARTER_NOTE",
    "Weights",
    "convert",
    "find",
    "in_folder",
    "load",
    "random",
    "save",
    "shipped",
]

Weights = PathLike | Sequence[PathLike]  # a file, a folder, or the files that make up a release
RELEASES: dict[str, ModuleType] = {
    r.NAME: r for r in (zhanglonghao1992, sadtalker, liveportrait, performrecast, fomm)
}
NO_WEIGHTS = (
    "no weights given, and only the starter's ship with fv2v. weights=PATH (--weights PATH) takes the "
    "00000189-checkpoint.pth.tar of "
    "github.com/zhanglonghao1992/One-Shot_Free-View_Neural_Talking_Head_Synthesis, "
    "the vox-cpk.pth.tar of github.com/AliaksandrSiarohin/first-order-model, "
    "the folder with the .safetensors and the mapping network of github.com/OpenTalker/SadTalker, the folder "
    "with the .pth files of github.com/KwaiVGI/LivePortrait or github.com/youku-aigc/PerformRecast, or a "
    ".safetensors made from any of them by "
    '`fv2v convert`. weights="random" (--weights random) serves for timing and plumbing only: its pictures '
    "are grey"
)

SHIPPED = {"starter": Path(__file__).parents[1] / "starter" / "starter.safetensors"}  # by preset
STARTER_NOTE = (
    "no weights given: this is the starter, which learned on drawn heads alone; weights=PATH "
    "(--weights PATH) takes those of a public release (README, Weights), which know photographs"
)


def shipped(config: ModelConfig | None) -> Path:
    """The weights that come along: the starter's, for it or where no config is asked for.

    ValueError for another one, whose weights the user has to get.
    """
    name = "starter" if config is None else config.name
    if name not in SHIPPED:
        raise ValueError(NO_WEIGHTS)
    return SHIPPED[name]


def random(config: ModelConfig) -> FaceVid2Vid:
    """Random weights, the same at every call, for timing and tests: the pictures are grey."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FaceVid2Vid(config)


def load(weights: Weights, config: ModelConfig | None = None) -> FaceVid2Vid:
    """The model in the file, folder or files `weights`, on the CPU, in the files' dtype.

    Taken are zhanglonghao1992's `.pth.tar` with either generator; SadTalker's `.safetensors`, or the
    `.pth.tar` of its first versions, and its mapping network's `.pth.tar`, as two paths or a folder with
    both; LivePortrait's five `.pth` files or PerformRecast's four, as paths or their folder; First Order
    Motion's `.pth.tar`; our own `.safetensors`; or any folder above the one set of them that is there. Files
    may have other names and be of the other format, as ComfyUI's are: what they hold decides.

    `config` says what the caller expects; left out, the files tell. SadTalker's two sizes differ in the
    file's name only, and `config` decides where there is one. SadTalker's presets are for either of its
    mapping networks: one that reads 73 coefficients is told by its shape.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, half of one, or damaged; or another preset's: then every missing,
            unexpected and misshapen tensor is listed.
    """
    found = _read(find(weights, config), config)
    model = _fitting(found, config)
    model.load_state_dict(found.weights, assign=True)
    return model


def save(model: FaceVid2Vid, path: PathLike) -> None:
    """Write `model` to a .safetensors with its config inside; the file appears whole or not at all."""
    path = check_output(path, (native.SUFFIX,))
    _write(Checkpoint(path.name, None, model.config, model.state_dict(), {}), path, native.SUFFIX)


def convert(source: Weights, target: PathLike, name: str | None = None) -> ModelConfig:
    """Any weights into our .safetensors, or into the layout of the release they came from.

    `target` is a name that ends in .safetensors (ours) or .pth.tar (zhanglonghao1992's, First Order
    Motion's), or a new folder (the others'), and appears whole or not at all. Every tensor
    of every network is kept bit for bit, there and back, whether fv2v runs it or not; optimizers, the epoch
    and other things that are no network's tensors are dropped. A model that was trained here goes into the
    layout of the release that has its shapes, if one does.

    `name` is a preset; left out, the files tell. Returns the config. Errors as `load`, and a target that
    cannot be written or is not that release's.
    """
    target, config = Path(target), preset(name) if name else None
    kind = _kind(target)
    files = find(source, config)
    if kind:
        check_output(target, (".safetensors", ".tar"), inputs=files)
    else:
        check_new_folder(target)
    found = _read(files, config)
    found = replace(found, config=_fitting(found, config).config)
    _write(found, target, kind)
    return found.config


def find(weights: Weights, config: ModelConfig | None = None) -> list[Path]:
    """The files of `weights`, known to be there and to be as many as a release has. Reads no tensors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: too few or too many of them, or a folder that does not hold a release.
    """
    paths = [Path(weights)] if isinstance(weights, str | os.PathLike) else [Path(path) for path in weights]
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        paths = in_folder(folder, config)
        if not paths:
            raise ValueError(
                f"{folder}: expected a file of weights, or a folder with SadTalker's two "
                f"({sadtalker.EXAMPLE}), PerformRecast's four ({', '.join(performrecast.FILES)}) or "
                f"LivePortrait's five ({', '.join(liveportrait.FILES)}), or one above it"
            )
    for path in paths:
        check_input(path)
    if len(paths) == 1 and native.is_ours(paths[0]):
        return paths
    if performrecast.holds(paths):
        performrecast.check(paths)
    elif any(liveportrait.part(path) for path in paths):
        liveportrait.check(paths)
    elif len(paths) != 1 and not sadtalker.is_pair(paths):
        given = ", ".join(map(str, paths)) or "none"
        raise ValueError(
            f"expected one file of weights, PerformRecast's four, SadTalker's two ({sadtalker.EXAMPLE}) or "
            f"LivePortrait's five; got {given}"
        )
    return paths


def in_folder(folder: Path, config: ModelConfig | None = None) -> list[Path]:
    """The files of the release in a folder, or else below it; none where there is none.

    ValueError for a part of a release, or several.
    """
    try:
        own = performrecast.find(folder) or liveportrait.find(folder) or sadtalker.find(folder, config)
        own = own or search.whole_set(folder, config)
    except ValueError:
        if below := search.search(folder, config):
            return below
        raise
    return own or search.search(folder, config)


def _read(files: Sequence[Path], config: ModelConfig | None) -> Checkpoint:
    if len(files) > 2:
        return performrecast.read(files) if performrecast.holds(files) else liveportrait.read(files)
    if len(files) == 2:
        return sadtalker.read(files, config)
    (path,) = files
    if is_safetensors(path) and not (zhanglonghao1992.holds(path) or fomm.holds(path)):
        return native.read(path, config)
    stored = read_file(path)
    networks = networks_of(stored)
    return fomm.read(path, networks) if fomm.fits(networks) else zhanglonghao1992.read(path, stored)


def _fitting(found: Checkpoint, config: ModelConfig | None) -> FaceVid2Vid:
    """The model asked for, without storage, known to fit what was found."""
    with torch.device("meta"):
        model = FaceVid2Vid(sadtalker.meant(config, found.config) if config else found.config)
    problems = misfits(found.weights, model.state_dict())
    if problems:
        hint = f"; it looks like {found.config.name!r}" if found.config != model.config else ""
        raise ValueError(
            f"{found.label} does not fit {model.config.name!r}{hint}:\n  " + "\n  ".join(problems)
        )
    return model


def _kind(target: Path) -> str:
    """How the name of what is to be written ends, as releases have it; "" is a folder."""
    kinds = (native.SUFFIX, zhanglonghao1992.SUFFIX)
    kind = next((kind for kind in kinds if target.name.lower().endswith(kind)), "")
    if not kind and target.suffix and not target.is_dir():
        raise ValueError(
            f"{target}: expected a name that ends in {' or '.join(kinds)}, or a folder's, which has no such "
            f"ending; got {target.suffix!r}"
        )
    return kind


def _write(found: Checkpoint, target: Path, kind: str) -> None:
    try:
        if kind == native.SUFFIX:
            with whole_file(target) as temporary:
                native.write(found, temporary)
            return
        release = _release(found)
        if kind != release.SUFFIX:
            expected = f"a name that ends in {release.SUFFIX}" if release.SUFFIX else "a new folder's name"
            raise ValueError(
                f"{target}: expected {expected}, as {release.NAME} has it, or in {native.SUFFIX}"
            )
        networks = to_release(found.weights, release.renames(found.config))
        with whole_file(target) if kind else whole_folder(target) as temporary:
            release.write(networks, found.others, found.config, temporary)
    except (OSError, SafetensorError, RuntimeError) as error:  # torch.save raises the last for a full disk
        raise ValueError(f"cannot write {target}: {error}") from error


def _release(found: Checkpoint) -> ModuleType:
    """Whose layout the model goes into: whose it was, or who has its shapes."""
    if found.release in RELEASES:
        return RELEASES[found.release]
    shapes = _shapes(found.config)
    for release in RELEASES.values():
        if any(_shapes(config) == shapes for config in release.configs()):
            return release
    raise ValueError(
        f"{found.label} holds a {found.config.name!r} model, whose shapes no public release has: "
        f"expected a target that ends in {native.SUFFIX}"
    )


def _shapes(config: ModelConfig) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {key: tensor.shape for key, tensor in FaceVid2Vid(config).state_dict().items()}
