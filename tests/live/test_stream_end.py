# SPDX-License-Identifier: Apache-2.0
"""How a stream ends: errors are told once and to somebody, closing is prompt, nothing hangs."""

import os
import subprocess
import sys
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from places import SUPPORT
from streaming import Held, meanwhile
from tiny import TINY, encoded, lively, pictures
from waiting import no_thread_left, wait_until

from fv2v import Reenactor, Stream


@pytest.fixture(autouse=True)
def watched_threads() -> Iterator[None]:
    with no_thread_left():
        yield


@pytest.fixture(scope="module")
def tiny() -> Reenactor:
    return lively(Reenactor(TINY, weights="random"))


def test_a_bad_frame_is_told_once_the_pictures_before_it_are_got(tiny):
    with Stream(tiny, encoded(tiny)) as stream:
        held = Held(pictures(1)[0])
        stream.push(held)
        assert held.taken.wait(timeout=60)
        stream.push(np.zeros((4, 4), np.uint8))
        stream.push(pictures(1)[0])
        held.let_go.set()
        assert stream.get().number == 0
        with pytest.raises(ValueError, match=r"expected an \(H, W, 3\) uint8 array, got \(4, 4\)"):
            stream.get()
        with pytest.raises(ValueError, match=r"got \(4, 4\)"):
            stream.push(pictures(1)[0])
    report = stream.report()  # leaving the `with` did not tell it again
    assert (report.pushed, report.shown, report.dropped) == (3, 1, 2)


def test_an_error_nobody_was_told_is_told_at_the_end(tiny):
    stream = Stream(tiny, encoded(tiny))
    stream.push(None)
    with pytest.raises(ValueError, match="got NoneType"), stream:
        stream._thread.join()
    stream.close()
    with (
        Stream(tiny, encoded(tiny)) as waited,
        meanwhile(lambda: waited.push(None)),
        pytest.raises(ValueError, match="got NoneType"),
    ):
        waited.get()


def test_an_error_of_the_program_is_not_replaced(tiny):
    def fail() -> None:
        with Stream(tiny, encoded(tiny)) as stream:
            stream.push(None)
            raise RuntimeError("the camera is gone")

    with pytest.raises(RuntimeError, match="the camera is gone"):
        fail()


def test_closing_finishes_one_frame_and_drops_what_waits(tiny):
    held = Held(pictures(1)[0])
    stream = Stream(tiny, encoded(tiny))
    stream.push(held)
    assert held.taken.wait(timeout=60)
    for frame in pictures(4):
        stream.push(frame)

    def let_go() -> None:
        wait_until(lambda: stream._closed, "the call of close")
        held.let_go.set()

    with meanwhile(let_go):
        stream.close()
    assert held.let_go.is_set()
    assert [picture.number for picture in stream] == [0]
    assert stream.get() is None
    report = stream.report()
    assert (report.pushed, report.shown, report.dropped) == (5, 1, 4)
    with pytest.raises(ValueError, match="the stream is closed"):
        stream.push(pictures(1)[0])
    stream.close()


def test_closing_wakes_who_waits(tiny):
    with Stream(tiny, encoded(tiny)) as stream, meanwhile(stream.close):
        assert stream.get() is None
    assert str(stream) == "0 frames pushed, 0 shown, 0 dropped"


def test_a_stream_that_nobody_holds_ends(tiny):
    """Also where its thread holds it for a moment, or a frame is under way when the last reference goes."""
    idle = Stream(tiny, encoded(tiny))
    ended, thread = weakref.ref(idle), idle._thread
    assert thread.is_alive()
    del idle
    wait_until(lambda: ended() is None, "the end of the stream")
    wait_until(lambda: not thread.is_alive(), "the end of its thread")
    held = Held(pictures(1)[0])
    stream = Stream(tiny, encoded(tiny))
    thread = stream._thread
    stream.push(held)
    assert held.taken.wait(timeout=60)
    del stream
    held.let_go.set()
    thread.join(timeout=60)
    assert not thread.is_alive()


def test_a_bad_frame_can_be_skipped(tiny):
    good, bad = pictures(2), [None, np.zeros((4, 4), np.uint8), "no picture", np.zeros((8, 8, 3), object), []]
    with Stream(tiny, encoded(tiny), queue=12, on_error="skip") as stream:
        for frame in (*bad, good[0], *bad, good[1]):
            stream.push(frame)
        assert [stream.get(timeout=60).number for _ in good] == [len(bad), 2 * len(bad) + 1]
    report = stream.report()
    assert (report.pushed, report.shown, report.dropped, report.failed) == (12, 2, 0, 10)
    assert "12 frames pushed, 2 shown, 0 dropped, 10 left out: no pictures; latency" in str(report)
    with pytest.raises(ValueError, match="expected on_error, raise or skip; got 'ignore'"):
        Stream(tiny, encoded(tiny), on_error="ignore")


FORGOTTEN = """
from tiny import TINY, encoded, pictures
from fv2v import Reenactor, Stream
reenactor = Reenactor(TINY, weights="random")
stream = Stream(reenactor, encoded(reenactor))
for frame in pictures(3):
    stream.push(frame)
"""


def test_a_program_that_forgets_to_close_ends_well():
    """Networks still running while the interpreter is taken down would abort it, now and then."""
    path = os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", FORGOTTEN],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
