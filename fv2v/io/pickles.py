# SPDX-License-Identifier: Apache-2.0
"""How much a pickle asks for, by its instructions, before any of them is carried out.

An unpickler that runs no code can still be made to take gigabytes by nine bytes (a memo of 2³¹ places), or
hours by a hundred (tuples of tuples, doubled by references, as keys of a dict: all of it is hashed).
"""

from fv2v.io.limits import OPERATIONS, PICKLE, LimitError, check_limit

WORK = 200_000_000  # bytes and objects that references may stand for, all together
TUPLES = 5_000  # that may hold others: hashing one inside another runs over the stack where they are many
LONG = 256  # bytes of a text or a number from which on references to it count

_PUTS = b"pqr\x94"  # PUT, BINPUT, LONG_BINPUT, MEMOIZE
_TUPLES = {0x85: 1, 0x86: 2, 0x87: 3, 0x74: OPERATIONS}  # TUPLE1 to TUPLE3, and TUPLE: how many it takes
_TAKES = b"Rb"  # REDUCE and BUILD, which take the tuple before them
_SHORT = b"U\x8aC\x8c"  # texts, numbers and bytes of up to 255
_SIZED = {  # texts, numbers and bytes: how many bytes their length takes, which comes first
    **dict.fromkeys(b"TX\x8bB", 4),
    **dict.fromkeys(b"\x8d\x8e\x96", 8),
}
_LINES = {**dict.fromkeys(b"ILSVFP", 1), **dict.fromkeys(b"ci", 2)}  # arguments that end with the line
_FIXED = {  # bytes of the arguments
    **dict.fromkeys(b"\x97\x98N\x88\x89]ael)}dsu0(1\x93Rbo\x81\x92Q", 0),
    **dict.fromkeys(b"\x82\x80", 1),
    **dict.fromkeys(b"M\x83", 2),
    **dict.fromkeys(b"J\x84", 4),
    **dict.fromkeys(b"G\x95", 8),
}
_STEPS = [_FIXED[code] + 1 if code in _FIXED else 0 for code in range(256)]


def check_pickle(data: bytes, at: int = 0) -> int:
    """Check the pickle that begins at `at`; returns where it ends.

    Raises:
        LimitError: it asks for more than any sensible pickle.
        ValueError: it is none, or cut short.
    """
    check_limit("bytes of a pickle", len(data), PICKLE)
    try:
        return _Scan(data).end(at)
    except IndexError:
        raise ValueError("a pickle cut short") from None


class _Scan:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._heavy: dict[int, int] = {}  # what a reference to a place of the memo stands for, if to much
        self._numbered = False  # whether places of the memo have numbers, as before protocol 4

    def end(self, at: int) -> int:
        """Where the pickle that begins at `at` ends. The loop is written for speed: a film has millions."""
        data, steps, short, heavy = self._data, _STEPS, _SHORT, self._heavy
        work = memoized = loose = numbers = 0
        for count in range(OPERATIONS):
            code = data[at]
            if step := steps[code]:
                at += step
                numbers = 0
            elif code == 0x94:  # MEMOIZE
                memoized += 1
                at += 1
            elif code == 0x68:  # BINGET
                if (index := data[at + 1]) in heavy:
                    work += heavy[index]
                    loose += 1
                at += 2
                numbers = 0
            elif code == 0x4B:  # BININT1
                at += 2
                numbers += 1
            elif code in _TUPLES:
                at += 1
                if data[at] in _PUTS:
                    heavy[self._place(at, memoized)] = count + work
                if numbers < _TUPLES[code] and data[self._after_put(at)] not in _TAKES:
                    loose += 1
                numbers = 0
            elif code in short:
                at += 2 + data[at + 1]
                numbers = 0
            elif code == 0x2E:  # STOP
                if memoized and self._numbered:
                    raise ValueError("a pickle of two protocols at once")
                return at + 1
            else:
                at, more = self._rare(at, count, memoized)
                work += more
                loose += bool(more)
                numbers = 0
            if work > WORK or loose > TUPLES:
                check_limit("values that references of a pickle stand for", work, WORK)
                check_limit("tuples in a pickle", loose, TUPLES)
        raise LimitError(f"expected a pickle of at most {OPERATIONS} instructions, got more")

    def _rare(self, at: int, count: int, memoized: int) -> tuple[int, int]:
        """Where another instruction ends, and how much it refers to."""
        data, code, begin = self._data, self._data[at], at
        if code in b"qrp":
            index, at = self._index(at)
            check_limit("places of a pickle's memo", index, count)
            self._numbered = True
            return at, 0
        if code in b"gj":
            index, at = self._index(at)
            return at, self._heavy.get(index, 0)
        if code in _SIZED:
            at += 1 + _SIZED[code]
            at += int.from_bytes(data[begin + 1 : at], "little")
        elif code in _LINES:
            for _ in range(_LINES[code]):
                at = data.find(b"\n", at) + 1
                if at == 0:
                    raise IndexError
        else:
            raise ValueError(f"a pickle with the instruction {code:#04x}, which plain values do not need")
        if data[at] in _PUTS and at - begin > LONG:
            self._heavy[self._place(at, memoized)] = at - begin
        return at, 0

    def _after_put(self, at: int) -> int:
        """Where the next instruction is that does more than to fill a place of the memo."""
        if self._data[at] not in _PUTS:
            return at
        return at + 1 if self._data[at] == 0x94 else self._index(at)[1]

    def _place(self, at: int, memoized: int) -> int:
        """Of the memo, which the instruction at `at` fills."""
        return memoized if self._data[at] == 0x94 else self._index(at)[0]

    def _index(self, at: int) -> tuple[int, int]:
        """A place of the memo, and where the instruction ends."""
        data, code = self._data, self._data[at]
        if code in b"gp":
            end = data.find(b"\n", at, at + 32)
            if end < 0:
                raise ValueError("a pickle with a place of its memo that is no number")
            return int(data[at + 1 : end]), end + 1
        size = 1 if code in b"qh" else 4
        if at + size >= len(data):
            raise IndexError
        return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size
