# SPDX-License-Identifier: Apache-2.0
"""Drawn heads on disk, since reading frames is much faster than drawing them (benches/bench_heads.py).

A folder holds `heads.json`, which describes what was drawn, and shards `heads-00000.safetensors` and so on,
each with a few identities: uint8 pictures and the truth of every frame. A shard appears whole or not at all,
and an interrupted run continues with those that are missing. Identities and frames are those of
`SyntheticHeads`.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import avg_pool2d

from fv2v.data.pairs import Draw, Pairs, Truth
from fv2v.data.synthetic import LANDMARKS, SyntheticHeads, truth
from fv2v.data.synthetic.dataset import LOOKS, to_bytes
from fv2v.geometry import POSED, Motion
from fv2v.io.hidden import lock_file, remove_left_behind
from fv2v.io.limits import CONFIG, check_bytes, reading, shown
from fv2v.io.paths import PathLike, check_input, check_new_folder, whole_file
from fv2v.io.tensor_file import TensorFile
from fv2v.io.video import write_video
from fv2v.progress import FrameProgress

VERSION = 1  # of the files, and of the renderer: one that draws other pictures needs another
INDEX = "heads.json"
IDENTITIES = 8  # in a shard
FRAMES_SEED = 0  # for `SyntheticHeads.frames` of the stored frames
FPS = 25  # of clips
RANGES = {  # of the numbers in `heads.json`
    "size": (1, 1 << 13),
    "identities": (1, 100_000 * IDENTITIES),
    "frames": (2, 1 << 20),
    "seed": (0, (1 << 63) - 1),
    "first": (0, (1 << 63) - 1),
}

DrawAll = Callable[[list[int]], Iterable[int]]  # of numbers, of shards or clips: how many frames each has


@dataclass(frozen=True)
class ShardIndex:
    """The contents of `heads.json`."""

    version: int
    size: int
    identities: int
    seed: int
    first: int
    frames: int  # of each identity
    landmarks: list[str]
    look: str = "plain"  # which files of earlier versions do not say

    @property
    def heads(self) -> SyntheticHeads:
        return SyntheticHeads(self.size, self.identities, self.seed, self.first, self.look)

    @property
    def shards(self) -> int:
        return -(-self.identities // IDENTITIES)


class HeadShards:
    """A `PairData` of the heads that `write_shards` wrote; its `heads` draws more of them.

    Args:
        folder: that `write_shards` wrote.
        size: side of the pictures, in pixels, to which stored ones are averaged down; None: as they are.

    Raises:
        FileNotFoundError: the folder or its `heads.json` is absent.
        ValueError: another version, missing shards, or pictures whose size is no multiple of `size`.
    """

    def __init__(self, folder: PathLike, size: int | None = None) -> None:
        self.folder = Path(folder)
        self.index = _read_index(self.folder / INDEX)
        self.size = size or self.index.size
        if self.index.size % self.size:
            raise ValueError(
                f"{folder}: expected heads of {self.size} pixels or a multiple, got {self.index.size}; "
                "draw them anew"
            )
        missing = [shard for shard in range(self.index.shards) if not _path(self.folder, shard).exists()]
        if missing:
            raise ValueError(
                f"{folder}: {len(missing)} of {self.index.shards} shards are missing "
                f"({_path(self.folder, missing[0]).name}); "
                "run the same fv2v synthesize once more, which writes them"
            )
        self.heads = self.index.heads

    def __len__(self) -> int:
        return self.index.identities

    def __getitem__(self, draw: Draw) -> Pairs:
        if not 0 <= draw.index < len(self):
            raise IndexError(f"expected an identity from 0 to {len(self) - 1}, got {draw.index}")
        pair = _two_frames(draw.seed, self.index.frames)
        shard, row = divmod(draw.index, IDENTITIES)
        path = _path(self.folder, shard)
        with reading(path, "no shard of drawn heads, or a damaged one"), TensorFile(path) as file:
            self._check(file, len(_rows(self.index, shard)))
            source, driving = (self._averaged(file.read("pictures", row, frame)[None]) for frame in pair)
            canonical = file.read("canonical", row)[None]
            motions = [
                Motion(**{name: file.read(name, row, frame)[None] for name in POSED}) for frame in pair
            ]
        return Pairs(source, driving, Truth(canonical, *motions))

    def _check(self, file: TensorFile, identities: int) -> None:
        """ValueError for a shard of other tensors than `write_shard` writes."""
        each, K = (identities, self.index.frames), len(LANDMARKS)
        expected = {
            "pictures": (*each, 3, self.index.size, self.index.size),
            "canonical": (identities, K, 3),
            "rotation": (*each, 3, 3),
            "translation": (*each, 3),
            "expression": (*each, K, 3),
            "scale": (*each, 1),
        }
        dtypes = {name: torch.uint8 if name == "pictures" else torch.float32 for name in expected}
        if (file.shapes, file.dtypes) != (expected, dtypes):
            raise ValueError(f"expected {expected} as {INDEX} says, got {file.shapes}")

    def _averaged(self, pictures: Tensor) -> Tensor:
        factor = self.index.size // self.size
        return pictures if factor == 1 else to_bytes(avg_pool2d(pictures / 255, factor))


def write_shards(
    folder: PathLike,
    heads: SyntheticHeads,
    frames: int,
    *,
    draw: DrawAll | None = None,
    progress: FrameProgress | None = None,
) -> None:
    """Draw `frames` frames of each identity into a folder: a new one, or one begun with the same arguments.

    Args:
        folder: to write, for `HeadShards` to read.
        heads: the identities.
        frames: of each identity, 2 or more.
        draw: what calls `write_shard` for each of these numbers elsewhere; None: it is called here.
        progress: called after each shard.

    Raises:
        FileNotFoundError: the parent folder does not exist.
        ValueError: fewer than 2 frames, or a folder that holds something else.
    """
    if frames < 2:
        raise ValueError(f"expected 2 frames of an identity or more, for pairs; got {frames}")
    folder = Path(folder)
    index = ShardIndex(
        VERSION, heads.size, heads.identities, heads.seed, heads.first, frames, list(LANDMARKS), heads.look
    )
    _begin(folder, index)
    missing = [shard for shard in range(index.shards) if not _path(folder, shard).exists()]
    total = heads.identities * frames
    done = total - sum(frames * len(_rows(index, shard)) for shard in missing)
    lock = lock_file(folder / INDEX)
    if lock is None:
        raise ValueError(f"{folder}: another process draws heads there; choose another folder")
    with lock:
        for drawn in draw(missing) if draw else (write_shard(folder, shard) for shard in missing):
            done += drawn
            if progress:
                progress(done, total)


def write_clips(
    folder: PathLike,
    count: int,
    frames: int,
    *,
    draw: DrawAll | None = None,
    progress: FrameProgress | None = None,
) -> None:
    """Videos of the first `count` identities, who turn, blink and speak: clip-00000.mp4 and so on.

    `frames` are those of a clip, 25 a second; the other arguments are those of `write_shards`, which has
    written the folder, with `write_clip` for `write_shard`. Clips that exist are kept.
    """
    folder = Path(folder)
    check_clips(_read_index(folder / INDEX).heads, count, frames)
    missing = [clip for clip in range(count) if not _clip_path(folder, clip).exists()]
    done = frames * (count - len(missing))
    for drawn in draw(missing) if draw else (write_clip(folder, frames, clip) for clip in missing):
        done += drawn
        if progress:
            progress(done, frames * count)


def write_shard(folder: Path, shard: int) -> int:
    """Draw a shard of a folder that `write_shards` began; returns how many frames were drawn."""
    index = _read_index(folder / INDEX)
    heads, drawn = index.heads, []
    with _one_thread():
        for row in _rows(index, shard):
            identity = heads.identity(row).repeat(index.frames)
            expression, pose = heads.frames(row, index.frames, FRAMES_SEED)
            canonical, motion = truth(identity, expression, pose)
            pictures = heads.pictures(row, FRAMES_SEED, expression, pose)
            tensors = {name: getattr(motion, name) for name in POSED}
            drawn.append({"pictures": pictures, "canonical": canonical[0], **tensors})
    stacked = {name: torch.stack([each[name] for each in drawn]) for name in drawn[0]}
    with whole_file(_path(folder, shard)) as temporary:
        temporary.write_bytes(save(stacked))  # save_file makes files that only the owner can read
    return len(drawn) * index.frames


def write_clip(folder: Path, frames: int, clip: int) -> int:
    """The video of a folder's identity, of so many frames; returns how many were drawn."""
    heads = _read_index(folder / INDEX).heads
    with _one_thread():
        return write_video(_clip_path(folder, clip), heads.clip(clip, frames, FPS), fps=FPS)


def check_clips(heads: SyntheticHeads, count: int, frames: int) -> None:
    """ValueError for more clips than identities, or clips without frames."""
    if not 0 <= count <= heads.identities or frames < 1:
        raise ValueError(
            f"expected from 0 to {heads.identities} clips, one an identity, of 1 frame or more; "
            f"got {count} of {frames}"
        )


def _path(folder: Path, shard: int) -> Path:
    return folder / f"heads-{shard:05d}.safetensors"


def _clip_path(folder: Path, clip: int) -> Path:
    return folder / f"clip-{clip:05d}.mp4"


def _rows(index: ShardIndex, shard: int) -> range:
    """The identities of a shard."""
    return range(index.identities)[shard * IDENTITIES : (shard + 1) * IDENTITIES]


def _two_frames(seed: int, frames: int) -> tuple[int, int]:
    """The numbers of two different frames."""
    first, second = np.random.default_rng(seed).random(2)
    source, step = int(first * frames), 1 + int(second * (frames - 1))
    return source, (source + step) % frames


def _read_index(path: Path) -> ShardIndex:
    with reading(check_input(path), "expected a description of drawn heads, got something else"):
        check_bytes(path, CONFIG, "bytes of a description")
        try:
            index = ShardIndex(**json.loads(path.read_text()))
        except ValueError:
            raise ValueError("expected a description of drawn heads, got something else") from None
        for name, (least, most) in RANGES.items():
            number = getattr(index, name)
            if type(number) is not int or not least <= number <= most:
                raise ValueError(f"expected {name} from {least} to {most}, got {number!r}")
    if index.look not in LOOKS:
        raise ValueError(f"{path}: expected a look, one of {', '.join(LOOKS)}; got {shown(index.look)}")
    if (index.version, index.landmarks) != (VERSION, list(LANDMARKS)):
        raise ValueError(
            f"{path}: expected heads of version {VERSION} with the current landmarks, "
            f"got version {index.version}; draw them again with fv2v synthesize"
        )
    return index


def _begin(folder: Path, index: ShardIndex) -> None:
    """Make the folder, or check that it was begun with the same arguments."""
    if folder.is_dir():
        remove_left_behind(folder)
    if (folder / INDEX).exists():
        begun = _read_index(folder / INDEX)
        if begun != index:
            before, now = asdict(begun), asdict(index)
            changed = [f"{name} {before[name]}, not {now[name]}" for name in now if before[name] != now[name]]
            differences = ", ".join(changed)
            raise ValueError(f"{folder}: was begun with {differences}; use the same again, or another folder")
        return
    check_new_folder(folder).mkdir(exist_ok=True)
    with whole_file(folder / INDEX) as temporary:
        temporary.write_text(json.dumps(asdict(index), indent=1) + "\n")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Several cores are used best by processes of one thread each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
