# SPDX-License-Identifier: Apache-2.0
"""Pickles of plain values, read without running anything in them: dicts, lists, numbers, text, arrays.

An unpickler with restricted globals: only the classes of this module can be constructed. numpy's own
reconstruction functions trust their arguments, so they are replaced: numpy gets only bytes, a dtype and a
shape.
"""

import io
import pickle
import re
from typing import Any

import numpy as np

from fv2v.io.limits import LimitError, check_limit
from fv2v.io.pickles import check_pickle

_DTYPE = re.compile(r"[fiub][1248]")


class RefusedError(ValueError):
    """A pickle names something other than plain values. Nothing of it was run."""


def read_plain(data: bytes) -> Any:
    """The value pickled in `data`; arrays and scalars of numpy come as `Array`.

    Raises:
        RefusedError: it names anything else; the message says what, in one line.
        LimitError: it asks for more than any sensible file.
        ValueError: it is no pickle, or a damaged one.
    """
    try:
        check_pickle(data)
        return _Unpickler(io.BytesIO(data)).load()
    except (RefusedError, LimitError):
        raise
    except Exception as error:  # damaged and foreign bytes make the unpickler raise nearly anything
        raise ValueError("no pickle of plain values, or one damaged or cut short") from error


def numbers(value: Any, most: int, name: str) -> np.ndarray:
    """What `read_plain` returned as an array: an `Array`, a number, or lists of them.

    Raises:
        ValueError: anything else, or more than `most` numbers: lists may refer to each other without end. It
            says `name`.
    """
    if isinstance(value, Array):
        check_limit(f"numbers for {name}", value.values.size, most)
        return value.values
    if isinstance(value, list | tuple):
        check_limit(f"numbers for {name}", len(value), most)
        return np.array([numbers(each, most // len(value), name) for each in value])
    if not isinstance(value, int | float):
        raise ValueError(f"expected numbers for {name}, got {type(value).__name__}")
    return np.asarray(value)


class _Sealed:
    """An object whose state a pickle cannot set, unless its class defines how."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a state that does not belong there")


class _Kind(_Sealed):
    """A dtype of numbers. Other dtypes are refused."""

    __slots__ = ("dtype",)

    def __init__(self, name: str, align: bool = False, copy: bool = True) -> None:
        if not isinstance(name, str) or not _DTYPE.fullmatch(name):
            raise RefusedError(f"it holds an array of {ascii(name)[:20]}, expected arrays of numbers")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in (">", "<", "|"):
            raise pickle.UnpicklingError("an order of bytes that there is not")
        self.dtype = np.dtype(order + self.dtype.str[1:])


class Array(_Sealed):
    """An array of numbers; of a single number the shape is (). `numpy.asarray` takes it."""

    __slots__ = ("values",)

    def __init__(self, *_: object) -> None:
        """Empty, as numpy constructs an array before `__setstate__` fills it."""
        self.values = np.empty(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        self.values = _filled(data, kind, shape, "F" if fortran else "C")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values if dtype is None else self.values.astype(dtype)


class _Buffer(Array):
    """An array as protocol 5 stores it."""

    __slots__ = ()

    def __init__(self, data: Any, kind: Any, shape: Any, order: str, axes: Any = None) -> None:
        self.values = _filled(data, kind, shape, "C" if order == "K" else order)
        if order == "K" and axes is not None:
            self.values = self.values.transpose(axes)

    __setstate__ = _Sealed.__setstate__


class _Number(Array):
    """A scalar of numpy."""

    __slots__ = ()

    def __init__(self, kind: Any, data: Any) -> None:
        self.values = _filled(data, kind, (), "C")

    __setstate__ = _Sealed.__setstate__


class _Bytes(_Sealed):
    """Bytes as the protocols before 3 store them."""

    __slots__ = ()

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "ndarray",  # an argument that `Array` ignores
    ("numpy", "dtype"): _Kind,
    ("numpy.core.multiarray", "_reconstruct"): Array,
    ("numpy.core.multiarray", "scalar"): _Number,
    ("numpy.core.numeric", "_frombuffer"): _Buffer,
    ("_codecs", "encode"): _Bytes,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        home = re.sub(r"^numpy\._core\.", "numpy.core.", module)  # numpy 2 has moved it
        if (home, name) not in _ALLOWED:
            asked = ascii(f"{module}.{name}"[:80])
            raise RefusedError(f"it asks for {asked}, expected dicts, lists, numbers, text and arrays alone")
        return _ALLOWED[home, name]


def _filled(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(kind, _Kind) or not isinstance(data, bytes | bytearray):
        raise RefusedError("it holds an array of no numbers")
    values: np.ndarray = np.ndarray(shape, kind.dtype, data, order=order)
    if values.nbytes != len(data):
        raise pickle.UnpicklingError("an array of another size than its numbers")
    return values
