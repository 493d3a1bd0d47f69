# SPDX-License-Identifier: Apache-2.0
"""What is kept in memory because it may be wanted again, up to a bound."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """The last few things that were asked for, by key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The one of that key, made where it is not kept, after which the oldest one may go."""
        if key not in self._kept:
            while len(self._kept) >= self._most:  # before, for memory's sake
                self._kept.popitem(last=False)
            self._kept[key] = make()
        self._kept.move_to_end(key)
        return self._kept[key]
