# SPDX-License-Identifier: Apache-2.0
"""Files that nobody writes but to do harm: each asks for more than it is, or is not what it says."""

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Content = Callable[[], bytes]


def chunk(name: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int = 8, kind: int = 2, body: bytes = b"x") -> bytes:
    """With that header, whatever its body is."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def jpeg(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes([1, 17, 0, 2, 17, 0, 3, 17, 0])
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", 2 + len(frame)) + frame + b"\xff\xda\0\x02\xff\xd9"


def tiff(width: int, height: int, order: str = "<") -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (273, 4, 1, 8)]
    entries = b"".join(struct.pack(f"{order}HHII", *tag) for tag in tags)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}IH", 8, len(tags)) + entries + bytes(4)


def webp(width: int, height: int) -> bytes:
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (width - 1).to_bytes(3, "little")
    body += (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def wav(chunks: bytes, order: str = "<") -> bytes:
    """With these before its samples, of which there are none; ">": big-endian but for `chunks`."""
    form = b"fmt " + struct.pack(f"{order}IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    body = b"WAVE" + form + chunks + b"data" + bytes(4)
    return (b"RIFF" if order == "<" else b"RIFX") + struct.pack(f"{order}I", len(body)) + body


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IIIIiiHHIIIIII", 54, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def gif(width: int, height: int) -> bytes:
    image = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\0;"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + image


def jpeg2000(width: int, height: int) -> bytes:
    size = struct.pack(">HHIIIIIIIIH", 41, 0, width, height, 0, 0, width, height, 0, 0, 1)
    return b"\xff\x4f\xff\x51" + size + b"\x07\x01\x01\xff\xd9"


def avif(width: int, height: int) -> bytes:
    brands = b"\0\0\0\x18ftypavif\0\0\0\0avifmif1"
    return brands + b"\0\0\0\x14ispe\0\0\0\0" + struct.pack(">II", width, height)


def npy(shape: str, dtype: str = "'<f4'", data: bytes = b"", version: int = 1) -> bytes:
    header = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def saved(array: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npz(arrays: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def motion(**changes: Any) -> bytes:
    """A good file of motion but for the changes: bytes of a `.npy`, arrays, or None for none."""
    arrays: dict[str, Any] = {
        "rotation": np.eye(3, dtype=np.float32)[None].repeat(2, 0),
        "translation": np.zeros((2, 3), np.float32),
        "expression": np.zeros((2, 15, 3), np.float32),
        "scale": np.ones((2, 1), np.float32),
        "pts": np.arange(2),
        "time_base": np.array([1, 25]),
        "rate": np.array([25, 1]),
        "preset": np.array("vox-256"),
        "keypoints": np.array(15),
        "version": np.array(1),
    } | changes
    return npz(
        {k: v if isinstance(v, bytes) else saved(np.asarray(v)) for k, v in arrays.items() if v is not None}
    )


def template(**changes: Any) -> bytes:
    frame = {
        "R": np.eye(3)[None],
        "t": np.zeros((1, 3)),
        "exp": np.zeros((1, 21, 3)),
        "scale": np.ones((1, 1)),
    }
    return pickle.dumps({"n_frames": 2, "output_fps": 25, "motion": [frame, frame]} | changes, 4)


def frame_with(**changes: Any) -> bytes:
    frame = {"R": np.eye(3), "t": np.zeros(3), "exp": np.zeros((21, 3)), "scale": np.ones(1)} | changes
    return template(n_frames=1, motion=[frame])


def doubled(levels: int, make: bytes = b"\x86", first: bytes = b")") -> bytes:
    """A value that holds the one before it twice, again and again: 2^levels in all."""
    steps = b"".join(
        b"h" + bytes([i]) + b"h" + bytes([i]) + make + b"q" + bytes([i + 1]) for i in range(levels)
    )
    return b"\x80\x02" + first + b"q\0" + steps


def doubled_lists(levels: int, key: bytes) -> bytes:
    steps = b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(levels))
    return (
        b"\x80\x02](K\x01K\x02eq\0"
        + steps
        + b"}X"
        + struct.pack("<I", len(key))
        + key
        + b"h"
        + bytes([levels])
        + b"s."
    )


def mat(*elements: bytes, order: bytes = b"IM") -> bytes:
    return b"MATLAB 5.0".ljust(124) + b"\0\x01" + order + b"".join(elements)


def element(kind: int, data: bytes, size: int | None = None) -> bytes:
    return struct.pack("<II", kind, len(data) if size is None else size) + data + bytes(-len(data) % 8)


def matrix(
    shape: tuple[int, ...], numbers: bytes, *, kind: int = 9, name: bytes = b"coeff_3dmm", flags: int = 6
) -> bytes:
    parts = element(6, struct.pack("<II", flags, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, parts + element(1, name) + element(kind, numbers))


def packed(data: bytes) -> bytes:
    return element(15, zlib.compress(data, 9))[: 8 + len(zlib.compress(data, 9))]


def tensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A `.safetensors`."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(shape: list[Any], offsets: list[Any], dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def weights(config: Any) -> bytes:
    """Of fv2v, with that config and one tensor."""
    text = config if isinstance(config, str) else json.dumps(config)
    return tensors({"__metadata__": {"format": "fv2v", "config": text}, "a": tensor([1], [0, 4])}, bytes(4))


def torch_zip(program: bytes, records: Mapping[str, bytes] | None = None, compression: int = 0) -> bytes:
    """What `torch.save` writes, with that pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in {"data.pkl": program, "version": b"3\n", **(records or {})}.items():
            archive.writestr(f"archive/{name}", data)
    return buffer.getvalue()
