# SPDX-License-Identifier: Apache-2.0
"""Iterators in threads: order, bounds, errors; no thread is left, whatever happens."""

import threading
import time
from collections.abc import Iterator

import pytest
from waiting import no_thread_left

from fv2v.io.prefetch import Prefetch, Timed


@pytest.fixture(autouse=True)
def watched_threads() -> Iterator[None]:
    with no_thread_left():
        yield


class Counted:
    """0, 1, 2, … and how many were asked for; after `fails` of them an error."""

    def __init__(self, fails: int | None = None) -> None:
        self.made = 0
        self.changed = threading.Condition()
        self._fails = fails

    def __iter__(self) -> Iterator[int]:
        while self.made != self._fails:
            with self.changed:
                self.made += 1
                self.changed.notify_all()
            yield self.made - 1
        raise ValueError("frame 3 is damaged")

    def reaches(self, count: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.made >= count, timeout=60)


def test_items_come_in_order_and_from_another_thread():
    def named() -> Iterator[tuple[int, str]]:
        for i in range(100):
            yield i, threading.current_thread().name

    with Prefetch(named(), 3) as ahead:
        items = list(ahead)
    assert [i for i, _ in items] == list(range(100))
    assert {name for _, name in items} == {"fv2v-ahead"}
    with Prefetch([], 1) as ahead:
        assert list(ahead) == []


@pytest.mark.parametrize("room", [1, 3])
def test_it_runs_ahead_as_far_as_there_is_room(room):
    items = Counted()
    with Prefetch(items, room) as ahead:
        for taken in range(5):
            # one more is made, and waits for room
            assert items.reaches(taken + room + 1)
            time.sleep(0.01)
            assert items.made == taken + room + 1
            assert next(ahead) == taken


def test_an_error_comes_after_the_items_before_it_and_again():
    with Prefetch(Counted(fails=3), 10) as ahead:
        assert [next(ahead) for _ in range(3)] == [0, 1, 2]
        for _ in range(2):
            with pytest.raises(ValueError, match="frame 3 is damaged"):
                next(ahead)


def test_errors_go_through_two_threads():
    with Prefetch(Counted(fails=3), 2) as first, Prefetch(first, 2) as second:
        assert [next(second) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="frame 3 is damaged"):
            next(second)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_reader_that_fails_ends_the_threads(error):
    items = Counted()

    def read() -> None:
        with Prefetch(items, 2) as first, Prefetch(first, 2) as second:
            assert next(second) == 0
            raise error

    with pytest.raises(error):
        read()
    assert items.made <= 7  # two rooms, one read, and what the threads held


def test_timed_counts_the_waiting_alone():
    def slow() -> Iterator[int]:
        for i in range(3):
            time.sleep(0.02)
            yield i

    timed = Timed(slow())
    started = time.perf_counter()
    for _ in timed:
        time.sleep(0.05)
    assert 0.06 <= timed.seconds <= time.perf_counter() - started - 0.15
