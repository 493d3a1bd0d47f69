# SPDX-License-Identifier: Apache-2.0
"""One fuzz target a reader: `python fuzz.py READER [SEEDS ...] [-max_total_time=60 ...]`, with
PYTHONPATH=tests/fuzz:tests/support.

A target may raise ValueError, and an OSError of the disk. Any other exception, a signal, more than
`MEGABYTES` or `SECONDS` for one input ends the run, with the input in a file `crash-…`.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import torch

with atheris.instrument_imports(
    include=[
        *("fv2v.io", "fv2v.motion", "fv2v.face", "fv2v.data", "fv2v.training"),
        *("fv2v.jobs", "fv2v.cli.rows"),
    ]
):
    from several import read_folder, read_jobs

    from fv2v.data.shards import HeadShards
    from fv2v.face.detectors.given import read_faces
    from fv2v.io.audio import check_sound
    from fv2v.io.image import read_image
    from fv2v.io.random_access import read_frames
    from fv2v.io.restricted_pickle import read_plain
    from fv2v.io.video import read_video
    from fv2v.motion.coefficients import read_coefficients
    from fv2v.motion.npz import read_motion
    from fv2v.motion.ratios import read_openness
    from fv2v.training.config import read_config

from fv2v import checkpoints
from fv2v.checkpoints.storage import read_torch
from fv2v.data.pairs import Draw
from fv2v.networks import FaceVid2Vid
from fv2v.presets import FACE_VID2VID_256

MEGABYTES, SECONDS, LONGEST = 2048, 60, 1 << 16  # of one input; its bytes


def read_film(path: Path) -> None:
    for _ in read_video(path, frames=8):
        pass
    read_frames(path, lambda count: [count - 1])


def read_shards(path: Path) -> None:
    """The description, and the shard, by what the file begins with."""
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    data = path.read_bytes()
    index, _, shard = data.partition(b"\0\0\0\0")
    (folder / "heads.json").write_bytes(index)
    (folder / "heads-00000.safetensors").write_bytes(shard)
    HeadShards(folder)[Draw(0, 0)]


TARGETS: dict[str, tuple[str, Callable[[Path], object]]] = {  # the file's ending, and what reads it
    "pictures": (".png", read_image),
    "films": (".mp4", read_film),
    "sounds": (".mp4", check_sound),
    "faces-json": (".json", read_faces),
    "faces-csv": (".csv", read_faces),
    "faces-npy": (".npy", read_faces),
    "motion": (".npz", read_motion),
    "templates": (".pkl", read_motion),
    "pickles": (".pkl", lambda path: read_plain(path.read_bytes())),
    "coefficients": (".mat", read_coefficients),
    "ratios": (".npy", read_openness),
    "shards": (".heads", read_shards),
    "configs": (".toml", lambda path: read_config(path, ["data=clips", "output=run"])),
    "weights": (".safetensors", checkpoints.load),
    "torch": (".pth", read_torch),
    "jobs": (".jobs", read_jobs),
    "folders": (".folder", read_folder),
}


def main() -> None:
    """The fuzzing is a child's, since libFuzzer ends its process at once: somebody has to tidy up."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        child = os.fork()
        if child == 0:
            fuzz(Path(folder), *sys.argv[1:])
        _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status) and 1)


def fuzz(folder: Path, name: str, *options: str) -> None:
    suffix, read = TARGETS[name]
    path = folder / f"input{suffix}"

    def one(data: bytes) -> None:
        path.write_bytes(data)
        try:
            read(path)
        except (ValueError, OSError) as error:
            lines = str(error).splitlines()
            if not lines:
                raise AssertionError("an error without words") from error

    limits = [f"-rss_limit_mb={MEGABYTES}", f"-timeout={SECONDS}", f"-max_len={LONGEST}"]
    with torch.device("meta"):
        FaceVid2Vid(FACE_VID2VID_256)  # what that imports takes seconds, which are no input's
    atheris.Setup([sys.argv[0], *limits, *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
