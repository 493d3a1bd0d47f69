# SPDX-License-Identifier: Apache-2.0
"""Small good files for the fuzz targets to start from, and files by hand that are not good."""

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import hostile_cases
import numpy as np
import torch
from hostile_files import mat, matrix, motion, packed, saved, template, torch_zip, weights
from hostile_folders import STATE, folder
from safetensors.torch import save
from tiny import TINY

from fv2v.codec.file import Recording, encoded
from fv2v.data.synthetic import LANDMARKS
from fv2v.io.timing import Timing
from fv2v.networks import FaceVid2Vid  # noqa: F401  so that what it imports is not fuzzed
from fv2v.training.state import FORMAT

HAND_MADE = {  # by target: of which reader's hostile files are seeds, too
    "pictures": "picture",
    "films": "film",
    "sounds": "sound",
    "motion": "motion",
    "templates": "motion",
    "pickles": "motion",
    "coefficients": "coefficients",
    "ratios": "ratios",
    "configs": "config",
    "weights": "weights",
    "torch": "weights",
}
LARGEST = 1 << 14  # bytes of a seed


def pictures() -> dict[str, bytes]:
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    return {
        suffix: cv2.imencode(suffix, image)[1].tobytes()
        for suffix in (".png", ".jpg", ".webp", ".bmp", ".tiff", ".ppm", ".hdr", ".jp2", ".gif")
    }


def films(folder: Path) -> dict[str, bytes]:
    made = {}
    for name, codec in (("a.mp4", "libx264"), ("a.mkv", "mpeg4"), ("a.ts", "mpeg2video"), ("a.avi", "mjpeg")):
        with av.open(str(folder / name), "w") as output:
            stream = output.add_stream(codec, rate=25)
            stream.width, stream.height = 32, 32
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for level in (0, 100, 200):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), level, np.uint8), format="rgb24")
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        made[name] = (folder / name).read_bytes()
    return made


def sounds(folder: Path) -> dict[str, bytes]:
    with av.open(str(folder / "a.wav"), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return {"a.wav": (folder / "a.wav").read_bytes()} | films(folder)


def shards() -> dict[str, bytes]:
    K = len(LANDMARKS)
    index = {"version": 1, "size": 8, "identities": 1, "seed": 0, "first": 0, "frames": 2}
    tensors = {
        "pictures": torch.zeros(1, 2, 3, 8, 8, dtype=torch.uint8),
        "canonical": torch.zeros(1, K, 3),
        "rotation": torch.eye(3).expand(1, 2, 3, 3).contiguous(),
        "translation": torch.zeros(1, 2, 3),
        "expression": torch.zeros(1, 2, K, 3),
        "scale": torch.ones(1, 2, 1),
    }
    text = json.dumps(index | {"landmarks": list(LANDMARKS)}).encode()
    return {"heads": text + b"\0\0\0\0" + save(tensors)}


def torch_files() -> dict[str, bytes]:
    made = {}
    for zipped in (True, False):
        buffer = io.BytesIO()
        stored = {"a": torch.zeros(3), "b": {"c": torch.ones(2, 2).T}, "step": 5}
        torch.save(stored, buffer, _use_new_zipfile_serialization=zipped)
        made[f"zip-{zipped}"] = buffer.getvalue()
    return made


def coefficients() -> dict[str, bytes]:
    good = matrix((1, 70), bytes(560))
    return {"stored": mat(good), "packed": mat(packed(good))}


def jobs() -> dict[str, bytes]:
    rows = [
        {"id": "a", "portrait": "p.png", "driving": "d.mp4", "yaw": -20.5, "strength": ["3=0.5", "1=2"]},
        {"id": 7, "portrait": "p.png", "motion": "m.npz", "crop": False, "weights": "p.png", "still": None},
        {"id": "c", "portrait": "p.png", "coefficients": "c.npy", "source-coefficients": "c.npy"},
        {"id": "d", "portrait": "p.png", "driving": "out/a.mp4", "weights": "out", "smooth": 0.5},
    ]
    done = {"id": "a", "row": 1, "status": "done", "key": "k", "sha256": "0", "output": "a.mp4"}
    return {
        "lines": b"\0" + b"".join(json.dumps(row).encode() + b"\n" for row in rows),
        "columns": b'\1id,portrait,driving,yaw\na,p.png,d.mp4,-20\nb,"p.png",d.mp4,\n',
        "tables": b"\2relative = true\n[[jobs]]\nid = 'a'\nportrait = 'p.png'\ndriving = 'd.mp4'\nface = 2\n",
        "results": b"\3" + json.dumps(done).encode() + b'\n{"id": "b", "st',
    }


def folders() -> dict[str, bytes]:
    picture = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    portrait = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    larger = cv2.imencode(".png", np.zeros((5, 4, 3), np.uint8))[1].tobytes()
    ours = weights(TINY.as_dict())
    learner = {"model": {}, "average": {}, "discriminator": {}, "optimisers": [], "scalers": []}
    state = {"format": FORMAT, "step": 1, "config": {}, "random": []}
    state |= {"learner": learner | {"average_steps": 1}}
    recording = Recording("vox-256", 15, Timing.even(3, 25), portrait, [b"abc"] * 3, b"sound")
    made = {
        "frames": (0, ["1.png", "2.png"], [picture]),
        "mixed": (1, ["1.png", "01.png", "a/", "3.jpg>1.png"], [picture, larger]),
        "pattern": (2, ["f%03d.png", "xf001.png", "xf002.png"], [picture]),
        "videos": (3, ["id10001/a/1.png", "id10001/a/2.png", "train/b/1.png", "c>train"], [picture]),
        "states": (4, [STATE, "step-00000002.pt"], [pickle.dumps(state, 2)]),
        "recording": (5, ["a.fv2v"], [b"".join(encoded(recording))]),
        "pipes": (4, [f"{STATE}|", "1.mp4|"], []),
        "weights": (0, ["models/vox/a.safetensors", "models/b>models"], [ours]),
        "snapshot": (
            0,
            ["a/snapshots/1/b.sft>a/blobs/c", "a/snapshots/2/b.bin", "a/blobs/c", "a/refs/main"],
            [ours, torch_zip(pickle.dumps({"generator": {}}, 2)), ours, b"1"],
        ),
    }
    return {name: bytes([kind]) + folder(names, *contents) for name, (kind, names, contents) in made.items()}


def of(target: str, folder: Path) -> dict[str, bytes]:
    """The seeds of a target, by name."""
    made: dict[str, Callable[[], dict[str, bytes]]] = {
        "pictures": pictures,
        "films": lambda: films(folder),
        "sounds": lambda: sounds(folder),
        "faces-json": lambda: {"a": b"[[1, 2, 30, 40], null, [1.5, 2, 30, 40]]", "b": b"[1, 2, 3, 4]"},
        "faces-csv": lambda: {"a": b"left,top,right,bottom\n1,2,30,40\n,,,\n", "b": b"1,2\n3,4\n"},
        "faces-npy": lambda: {"a": saved(np.array([[1, 2, 30, 40.0]])), "b": saved(np.ones((2, 68, 2)))},
        "motion": lambda: {"a": motion()},
        "templates": lambda: {"a": template(), "b": pickle.dumps(pickle.loads(template()), 2)},
        "pickles": lambda: {"a": template(), "b": pickle.dumps([1, "a", (2.5, b"c"), {"d": None}], 0)},
        "coefficients": coefficients,
        "ratios": lambda: {"a": saved(np.zeros((2, 3))), "b": saved(np.ones((203, 2)))},
        "shards": shards,
        "configs": lambda: {"a": b"[model]\npreset = 'vox-256'\n[optimiser]\nlr = 0.1\nbetas = [0.5, 0.9]\n"},
        "weights": lambda: {"a": weights(TINY.as_dict())},
        "torch": torch_files,
        "jobs": jobs,
        "folders": folders,
    }
    found = made[target]()
    by_hand = hostile_cases.CASES.get(HAND_MADE.get(target, ""), {})
    for name in (
        "memo.pkl",
        "keys.pkl",
        "code.pkl",
        "dotted.toml",
        "header.safetensors",
        "wide.png",
        "list.ffconcat",
    ):
        if name in by_hand:
            found[name] = by_hand[name]()
    return {name: content for name, content in found.items() if len(content) <= LARGEST}
