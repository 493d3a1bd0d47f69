# SPDX-License-Identifier: Apache-2.0
"""Bits of a supplemental message of H.265: the same calls write them, or read them."""

from typing import Protocol

from fv2v.codec.range_coder import CodecError


class Bits(Protocol):
    """What is written is returned; a reader takes no notice of it and returns what it reads."""

    writes: bool

    def u(self, count: int, value: int = 0) -> int:
        """`count` bits."""

    def ue(self, value: int = 0, most: int = (1 << 32) - 2) -> int:
        """Exp-Golomb, at most `most`."""

    def flag(self, value: bool = False) -> bool:
        """One bit."""

    def align(self) -> None:
        """Zero bits up to a whole byte."""

    def rest(self, value: bytes = b"") -> bytes:
        """All bytes that are left."""

    def text(self, value: str = "") -> str:
        """UTF-8 up to a zero byte."""


class BitWriter:
    writes = True

    def __init__(self) -> None:
        self._bits: list[str] = []

    def u(self, count: int, value: int = 0) -> int:
        if not 0 <= value < 1 << count:
            raise ValueError(f"expected a number of {count} bits, got {value}")
        if count:
            self._bits.append(f"{value:0{count}b}")
        return value

    def ue(self, value: int = 0, most: int = (1 << 32) - 2) -> int:
        if not 0 <= value <= most:
            raise ValueError(f"expected a number from 0 to {most}, got {value}")
        length = (value + 1).bit_length()
        self.u(2 * length - 1, value + 1)
        return value

    def flag(self, value: bool = False) -> bool:
        self.u(1, int(value))
        return bool(value)

    def align(self) -> None:
        self.u(-self._count() % 8)

    def rest(self, value: bytes = b"") -> bytes:
        for byte in value:
            self.u(8, byte)
        return value

    def text(self, value: str = "") -> str:
        self.rest(value.encode() + b"\0")
        return value

    def payload(self) -> bytes:
        """All of it; where it does not end with a byte, a one and zeros follow (sei_payload of H.265)."""
        bits = "".join(self._bits)
        if len(bits) % 8:
            bits += "1"
            bits += "0" * (-len(bits) % 8)
        return int(bits or "0", 2).to_bytes(len(bits) // 8, "big")

    def _count(self) -> int:
        return sum(map(len, self._bits))


class BitReader:
    writes = False

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def u(self, count: int, value: int = 0) -> int:
        end = self._at + count
        if end > 8 * len(self._data):
            raise CodecError(f"damaged: a message of {len(self._data)} bytes ends too soon")
        first, last = self._at // 8, -(-end // 8)
        window = int.from_bytes(self._data[first:last], "big")
        self._at = end
        return window >> 8 * last - end & (1 << count) - 1

    def ue(self, value: int = 0, most: int = (1 << 32) - 2) -> int:
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 32:
                raise CodecError("damaged: a number of more than 32 bits")
        value = (1 << zeros) - 1 + self.u(zeros)
        if value > most:
            raise CodecError(f"damaged: expected a number up to {most}, got {value}")
        return value

    def flag(self, value: bool = False) -> bool:
        return bool(self.u(1))

    def align(self) -> None:
        if self.u(-self._at % 8):
            raise CodecError("damaged: expected zeros up to the next byte")

    def rest(self, value: bytes = b"") -> bytes:
        start, self._at = self._at // 8, 8 * len(self._data)
        return self._data[start:]

    def text(self, value: str = "") -> str:
        start = self._at // 8
        end = self._data.find(b"\0", start)
        if end < 0:
            raise CodecError("damaged: a text that does not end")
        self._at = 8 * end + 8
        try:
            return self._data[start:end].decode()
        except UnicodeDecodeError:
            raise CodecError("damaged: a text that is no UTF-8") from None
