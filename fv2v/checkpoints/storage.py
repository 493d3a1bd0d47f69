# SPDX-License-Identifier: Apache-2.0
"""Files of tensors, read without running anything in them, and what a whole checkpoint comes to.

A file is of the format that its first bytes show, whatever its name.
"""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from fv2v.checkpoints.renames import Networks
from fv2v.config import ModelConfig
from fv2v.io.limits import ENTRIES, PICKLE, WEIGHTS, check_bytes, check_limit, shown
from fv2v.io.pickles import check_pickle
from fv2v.io.tensor_file import TensorFile

SUFFIXES = {".safetensors", ".sft", ".pth", ".pt", ".ckpt", ".bin", ".tar"}  # of files in a release's folder

VIEWS = 1 << 31  # bytes of tensors in a smaller file: repeated views of one number take no room there


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What files of weights hold, whoever wrote them."""

    label: str  # what errors call it
    release: str | None  # whose it is, a name in `RELEASES`; None: trained here
    config: ModelConfig
    weights: dict[str, Tensor]  # under our names
    others: Networks  # networks that fv2v does not run, as the release's writer takes them back


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as .safetensors do; a file that begins as no format at all goes by its name."""
    with path.open("rb") as file:
        begin = file.read(9)
    if begin[4:] == b"\0\0\0\0{":  # a length below 2^32, its first bytes any, and JSON
        return True
    if begin.startswith((b"PK", b"\x80")):  # torch.save's, of today and of before 1.6
        return False
    return begin[8:] == b"{" or path.suffix.lower() == ".safetensors"


def weights_in(folder: Path) -> list[Path]:
    """The files in a folder that may hold weights, by their names' endings; none where it is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def outline(path: Path) -> dict[str, Any]:
    """The names in a file, and in the dicts in it: what tells a network. No tensor is read.

    Values are shapes, dicts of shapes, or None. {} for a file that cannot be read, or not but as a whole.
    """
    try:
        if is_safetensors(path):
            with TensorFile(path) as file:
                return {**file.shapes}
        if zipfile.is_zipfile(path):
            check_torch(path)
            stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            dicts = {name: _shapes(stored[name]) for name in stored if isinstance(stored[name], Mapping)}
            return _shapes(stored) | dicts
    except Exception:  # as in `read_torch`; who reads it will say what is wrong
        pass
    return {}


def _shapes(stored: Any) -> dict[str, Any]:
    items = stored.items() if isinstance(stored, Mapping) else ()
    return {name: getattr(value, "shape", None) for name, value in items if isinstance(name, str)}


def read_file(path: Path, expected: str = "a release's own file, whole, or a .safetensors of fv2v") -> Any:
    """What a file of either format holds; that of a .safetensors is flat. ValueError as the two readers."""
    return read_safetensors(path) if is_safetensors(path) else read_torch(path, expected)


def nested(flat: Mapping[str, Tensor]) -> Networks:
    """The networks in a flat dict, whose keys begin with the network's name and a dot."""
    networks: Networks = {}
    for key, tensor in flat.items():
        network, _, rest = key.partition(".")
        networks.setdefault(network, {})[rest] = tensor
    return networks


def read_torch(path: Path, expected: str = "a release's own file, whole, or a .safetensors of fv2v") -> Any:
    """What `torch.save` wrote: tensors in plain containers. Anything else never runs: a ValueError.

    `expected` is what the error then asks for.
    """
    try:
        check_torch(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
        check_limit("bytes of tensors", _bytes(stored), max(path.stat().st_size, VIEWS))
        return stored
    except Exception as error:  # damaged and foreign bytes make the unpickler raise nearly anything
        # not torch's own words: they tell to switch the safety off
        raise ValueError(
            f"{path.name} is no checkpoint that can be read safely: it is damaged, cut short, no checkpoint "
            f"at all, or would run code. Expected {expected}"
        ) from error


def check_torch(path: Path) -> None:
    """What a file asks of `torch.load`: ValueError for more than `torch.save` writes."""
    check_bytes(path, WEIGHTS, "bytes of tensors")
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            _check_legacy(file.read(PICKLE))
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        check_limit("records", len(entries), ENTRIES)
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("records that are compressed")
        check_limit("bytes of records", sum(entry.file_size for entry in entries), path.stat().st_size)
        for entry in entries:
            if entry.filename.endswith("data.pkl"):
                check_pickle(archive.read(entry))


def _check_legacy(data: bytes) -> None:
    """Of before torch 1.6: a magic number, a version, the machine, the object and its storages' keys."""
    if not data.startswith(b"\x80"):
        raise ValueError("no file of torch.save")
    at = 0
    for _ in range(5):
        at = check_pickle(data, at)


def _bytes(stored: Any) -> int:
    """Of all tensors: a view may say that it is larger than what it is a view of."""
    total, left, known = 0, [stored], set[int]()
    while left:
        each = left.pop()
        if isinstance(each, Tensor):
            if each.layout != torch.strided or each.device.type != "cpu":
                raise ValueError("a tensor that is not stored in the file")
            total += each.numel() * each.element_size()
        elif isinstance(each, Mapping | list) and id(each) not in known:
            known.add(id(each))  # one that holds another twice, and so on, would be walked through for hours
            left += each.values() if isinstance(each, Mapping) else each
    return total


def write_torch(stored: Mapping[str, Any], path: Path) -> None:
    """Tensors and dicts of them. A view is copied: it would bring along what it is a view of."""
    torch.save(
        {
            key: value.clone() if isinstance(value, Tensor) else {k: t.clone() for k, t in value.items()}
            for key, value in stored.items()
        },
        path,
    )


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors. ValueError for a file that is none, or damaged."""
    with open_safetensors(path) as file:
        return tensors_of(file, path)


def open_safetensors(path: Path) -> TensorFile:
    """The file, of which the header is read. ValueError for one that is none, or damaged."""
    with _damage(path):
        return TensorFile(path)


def tensors_of(file: TensorFile, path: Path) -> dict[str, Tensor]:
    """All of them. ValueError where the file has been cut short since it was opened."""
    with _damage(path):
        return {name: file.read(name) for name in file.shapes}


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # damaged and foreign bytes make parsers raise nearly anything
        reason = shown(error) if isinstance(error, ValueError | OSError) else type(error).__name__
        raise ValueError(f"{path.name} is no .safetensors file, or a damaged one: {reason}") from error


def write_safetensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    path.touch()
    mode = path.stat().st_mode
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, metadata)
    path.chmod(mode)  # of a file of anybody's: safetensors makes files that only their owner may read


def state_dicts(stored: Any) -> Networks:
    """The networks in a dict of them. Optimizers, the epoch and whatever else is there are left out."""
    if not isinstance(stored, Mapping):
        return {}
    return {
        name: dict(value) for name, value in stored.items() if isinstance(name, str) and is_state_dict(value)
    }


def networks_of(stored: Any) -> Networks:
    """The networks in what a file holds, a dict of them or, as a .safetensors, flat."""
    return nested(stored) if is_state_dict(stored) else state_dicts(stored)


def is_state_dict(value: Any) -> bool:
    """Whether it is tensors under names, and nothing else."""
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in value.items()
    )


def misfits(stored: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What keeps the tensors of a file from being those of a model, a line each; none where they fit."""
    problems = [f"not in the file: {key}" for key in sorted(wanted.keys() - stored.keys())]
    problems += [f"not in the model: {key}" for key in sorted(stored.keys() - wanted.keys())]
    problems += [
        f"shape of {key}: file {tuple(stored[key].shape)}, model {tuple(wanted[key].shape)}"
        for key in sorted(wanted.keys() & stored.keys())
        if stored[key].shape != wanted[key].shape
    ]
    problems += [
        f"dtype of {key}: file {stored[key].dtype}, model {wanted[key].dtype}"
        for key in sorted(wanted.keys() & stored.keys())
        if stored[key].is_floating_point() != wanted[key].is_floating_point()
    ]
    return problems


def contents(stored: Any) -> str:
    """What a file holds, for errors."""
    if not isinstance(stored, Mapping):
        return type(stored).__name__
    return ", ".join(map(str, list(stored)[:8])) or "nothing"
