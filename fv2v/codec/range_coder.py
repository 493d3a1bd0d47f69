# SPDX-License-Identifier: Apache-2.0
"""A range coder with byte-wise renormalisation, in whole numbers alone: the same bytes on every machine.

Frequencies are out of `TOTAL`. The last symbols cost no more than they must: the shortest string of bytes is
written that names a number of the final interval, and what a decoder reads beyond the end is zeros.
"""

from bisect import bisect_right
from collections.abc import Sequence

TOTAL_BITS = 16
TOTAL = 1 << TOTAL_BITS
_TOP, _BOTTOM = 1 << 32, 1 << 24
_MOST_BITS = 12  # coded as one symbol
_LONGEST = 40  # bits of a number's Exp-Golomb prefix


class CodecError(ValueError):
    """Bytes that are damaged, or not of this codec, preset or version. Nothing else is raised for bytes."""


class RangeEncoder:
    """Symbols in, bytes out."""

    def __init__(self) -> None:
        self._low, self._range, self._bytes = 0, _TOP, 0  # `_low` is as long as it needs to be: no carries

    def encode(self, start: int, frequency: int) -> None:
        """A symbol whose frequencies begin at `start`, out of `TOTAL`."""
        unit = self._range >> TOTAL_BITS
        self._low += start * unit
        self._range = unit * frequency
        while self._range < _BOTTOM:
            self._low <<= 8
            self._range <<= 8
            self._bytes += 1

    def encode_bits(self, value: int, count: int) -> None:
        """A whole number of `count` bits, all equally likely."""
        while count > 0:
            bits = min(count, _MOST_BITS)
            count -= bits
            size = TOTAL >> bits
            self.encode((value >> count & (1 << bits) - 1) * size, size)

    def encode_number(self, value: int) -> None:
        """A whole number from 0 on: Exp-Golomb of order 0."""
        length = (value + 1).bit_length() - 1
        if length > _LONGEST:
            raise ValueError(f"expected a number below 2^{_LONGEST}, got {value}")
        for _ in range(length):
            self.encode_bits(1, 1)
        self.encode_bits(0, 1)
        self.encode_bits(value + 1 - (1 << length), length)

    def finish(self) -> bytes:
        """The shortest bytes, one at least, from which the symbols are decoded again."""
        return _shortest(self._low, self._range, 4 + self._bytes)


class RangeDecoder:
    """Bytes in, symbols out. Damaged bytes give wrong symbols, which `check_end` tells in most cases."""

    def __init__(self, data: bytes) -> None:
        self._data, self._next = data, 4
        self._code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
        self._range = _TOP

    def decode(self, starts: Sequence[int]) -> int:
        """The symbol j: `starts[j]` <= what is read < `starts[j + 1]`; `starts` ends with TOTAL."""
        unit = self._range >> TOTAL_BITS
        number = self._code // unit
        if number >= TOTAL:
            raise _no_symbol()
        symbol = bisect_right(starts, number) - 1
        start = starts[symbol]
        self._take(start, starts[symbol + 1] - start, unit)
        return symbol

    def decode_bits(self, count: int) -> int:
        value = 0
        while count > 0:
            bits = min(count, _MOST_BITS)
            count -= bits
            size, unit = TOTAL >> bits, self._range >> TOTAL_BITS
            number = self._code // unit // size
            if number >> bits:
                raise _no_symbol()
            self._take(number * size, size, unit)
            value = value << bits | number
        return value

    def decode_number(self) -> int:
        length = 0
        while self.decode_bits(1):
            length += 1
            if length > _LONGEST:
                raise CodecError("damaged: a number too large for this codec")
        return (1 << length) - 1 + self.decode_bits(length)

    def check_end(self) -> None:
        """CodecError unless the bytes are those that an encoder writes for the symbols decoded."""
        read = self._data[: self._next].ljust(self._next, b"\0")
        low = int.from_bytes(read, "big") - self._code  # an encoder's, after the same symbols
        if _shortest(low, self._range, self._next) != self._data:
            raise CodecError(f"damaged: {len(self._data)} bytes do not end where their symbols do")

    def _take(self, start: int, frequency: int, unit: int) -> None:
        self._code -= start * unit
        self._range = unit * frequency
        while self._range < _BOTTOM:
            byte = self._data[self._next] if self._next < len(self._data) else 0
            self._next += 1
            self._code = self._code << 8 | byte  # below the range, as ever
            self._range <<= 8


def _no_symbol() -> CodecError:
    return CodecError("damaged: bytes that no symbol begins with")


def _shortest(low: int, size: int, count: int) -> bytes:
    """The shortest bytes, one at least, that `count` bytes from `low` to below `low + size` begin with."""
    for length in range(1, count + 1):
        unit = 8 * (count - length)
        value = -(-low >> unit)
        if value << unit < low + size:
            return value.to_bytes(length, "big")
    raise AssertionError("an interval of 2^24 numbers holds a multiple of 1")
