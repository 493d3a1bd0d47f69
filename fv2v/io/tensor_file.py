# SPDX-License-Identifier: Apache-2.0
"""`.safetensors` read by ordinary reads, never mapped into memory.

A mapped file that another program cuts short kills the process, and one that it writes to changes tensors in
use. The format is 8 bytes of length, that much JSON, and the tensors' bytes
(github.com/huggingface/safetensors).
"""

import json
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fv2v.io.limits import ENTRIES, HEADER, WEIGHTS, check_bytes, check_limit

_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
_METADATA = "__metadata__"
ALIGNMENT = 64  # bytes, as of PyTorch's tensors


class _Entry(NamedTuple):
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int  # in the file
    end: int


class TensorFile:
    """`with TensorFile(path) as file:` what is in it, by its header; `read` reads a tensor.

    Attributes:
        metadata: texts by name.
        shapes, dtypes: of the tensors, by name.

    Raises:
        ValueError: no such file, one cut short, or one that asks for more than the limits. So do others,
            which `limits.reading` takes.
    """

    def __init__(self, path: Path) -> None:
        check_bytes(path, WEIGHTS, "bytes of tensors")
        self._file = path.open("rb")
        try:
            self._entries, self.metadata = self._header(path.stat().st_size)
        except BaseException:
            self._file.close()
            raise
        self.shapes = {name: entry.shape for name, entry in self._entries.items()}
        self.dtypes = {name: entry.dtype for name, entry in self._entries.items()}

    def __enter__(self) -> "TensorFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, name: str, *index: int) -> Tensor:
        """A tensor, or what is at `index` of its first axes, in memory of its own."""
        dtype, shape, begin, end = self._entries[name]
        for place in index:
            size, *rest = shape
            if not 0 <= place < size:
                raise ValueError(f"{name} has {size} parts, none at {place}")
            length = (end - begin) // size
            begin += place * length
            end, shape = begin + length, tuple(rest)
        memory = _memory(end - begin)
        self._file.seek(begin)
        if self._file.readinto(memory.data) != end - begin:
            raise ValueError(f"cut short: {name} ends at {end} bytes")
        tensor = torch.from_numpy(memory)
        return (tensor != 0 if dtype == torch.bool else tensor.view(dtype)).view(shape)

    def _header(self, size: int) -> tuple[dict[str, _Entry], dict[str, str]]:
        length = int.from_bytes(self._file.read(8), "little")
        check_limit("bytes of a header", length, HEADER)
        start = 8 + length
        if start > size:
            raise ValueError(f"cut short: a header of {length} bytes in a file of {size}")
        stated = json.loads(self._file.read(length))
        if not isinstance(stated, dict):
            raise ValueError("a header that is no table of tensors")
        metadata = stated.pop(_METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("metadata that is no table of texts")
        check_limit("tensors", len(stated), ENTRIES)
        entries = {name: _entry(name, tensor, start) for name, tensor in stated.items()}
        at = start
        for entry in sorted(entries.values(), key=lambda entry: entry[2:]):
            if entry.begin != at:
                raise ValueError("tensors that overlap, or with gaps between them")
            at = entry.end
        if at != size:
            raise ValueError(f"cut short: the file should have {at} bytes, it has {size}")
        return entries, metadata


def _memory(size: int) -> np.ndarray:
    """Bytes in large pages, for which NumPy asks and PyTorch does not: they take less time to fill."""
    whole = np.empty(size + ALIGNMENT, np.uint8)
    begin = -whole.ctypes.data % ALIGNMENT
    return whole[begin : begin + size]


def _entry(name: str, stated: Any, start: int) -> _Entry:
    dtype, shape, (begin, end) = (stated[key] for key in ("dtype", "shape", "data_offsets"))
    if dtype not in _DTYPES:
        raise ValueError(f"{name} is of {dtype!r}, expected one of {', '.join(_DTYPES)}")
    if not all(type(number) is int and 0 <= number < 1 << 48 for number in (*shape, begin, end)):
        raise ValueError(f"{name} has no shape and place in the file")
    check_limit("dimensions", len(shape), 16)
    if end - begin != prod(shape) * _DTYPES[dtype].itemsize:
        raise ValueError(f"{name} has {end - begin} bytes, which its shape {tuple(shape)} does not take")
    return _Entry(_DTYPES[dtype], tuple(shape), start + begin, start + end)
