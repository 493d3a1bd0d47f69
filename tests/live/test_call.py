# SPDX-License-Identifier: Apache-2.0
"""Calls: two sides meet, see and hear each other, come back, and hang up."""

import asyncio
import json
import random
import wave
from time import monotonic
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from calls import Side, joined, listening
from tiny import TINY_VOX, lively, pictures
from waiting import run, until

import fv2v
from fv2v import Reenactor, View
from fv2v.codec import MotionEncoder
from fv2v.live.call import connection
from fv2v.live.call.jitter import SoundBuffer
from fv2v.live.call.link import Link
from fv2v.live.call.portrait import received_portrait
from fv2v.live.call.sound import Tone


@pytest.fixture(scope="module")
def reenactor() -> Reenactor:
    return lively(Reenactor(TINY_VOX, weights="random"))


@pytest.fixture(scope="module")
def portraits() -> list[np.ndarray]:
    return [np.asarray(picture) for picture in pictures(2, seed=3)]


def test_what_is_shown_is_the_other_sides_portrait_by_its_motion(reenactor, portraits, tmp_path):
    """From the view that the receiver chose; sound comes along; both know what each part took."""
    motion = reenactor.extract(pictures(1, seed=5)[0])
    view = View(yaw=25)

    async def test() -> None:
        one = Side(reenactor, portraits[0], sound=Tone(), log=tmp_path / "one.jsonl")
        two = Side(
            reenactor,
            portraits[1],
            view=view,
            relative=False,
            show=tmp_path / "two.mp4",
            hear=tmp_path / "two.wav",
            log=tmp_path / "two.jsonl",
        )
        async with one.call, two.call, listening(one) as link:
            async with joined(two, link) as talk:
                while two.call.latest is None or two.call.latest.number < 3:
                    one.call.send(motion, monotonic())
                    await asyncio.sleep(0.04)
                await until(lambda: two.call.lap.get("level", 0) > 0.01, "sound")
                shown = two.call.latest
                assert abs(shown.latency) < 10_000  # the two clocks are known to half a round trip
                encoder = MotionEncoder(reenactor.config)
                encoder.encode(motion)
                file = one.call._mine.portrait
                assert two.call.person.digest == one.call._mine.hello.portrait
                source = reenactor.encode(received_portrait(file))
                expected = next(reenactor.animate(source, encoder.motion, relative=False, view=view))
                assert np.abs(shown.image.astype(int) - expected).max() <= 1
                assert not np.array_equal(
                    shown.image, next(reenactor.animate(source, encoder.motion, relative=False))
                )
                assert not talk.done()
            await until(lambda: len(one.told) == 2, "the end on the other side")
        assert (one.told, two.told) == (
            ["connected", "the other side ended the call: it hung up"],
            ["connected"],
        )

    run(test)
    assert fv2v.read_video(tmp_path / "two.mp4").length
    with wave.open(str(tmp_path / "two.wav")) as heard:
        assert heard.getframerate() == 48_000
        samples = np.frombuffer(heard.readframes(heard.getnframes()), np.int16)
        last = samples[-48_000:]  # a second, half of which is silent
        spectrum = np.abs(np.fft.rfft(last.astype(float)))
        assert abs(spectrum.argmax() * 48_000 / len(last) - 440) <= 4, "the tone is another"
    one, two = (read_log(tmp_path / f"{name}.jsonl") for name in ("one", "two"))
    assert total(one, "sent", "portrait") == pytest.approx(total(two, "received", "portrait"), abs=5)
    assert total(one, "sent", "portrait") > 100
    assert total(two, "received", "motion") > 0 < total(one, "sent", "sound")
    assert total(two, "received", "sound") > 0.3 * total(one, "sent", "sound")
    assert total(one, "sent", "wire") > sum(
        total(one, "sent", part) for part in ("portrait", "motion", "sound")
    )
    frames = [frame for lap in two for frame in lap["frames"]]
    assert all(len(frame) == 4 for frame in frames)
    assert [number for number, *_ in frames] == sorted({number for number, *_ in frames})


def read_log(path: Any) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, path.read_text().splitlines()) if "frames" in line]


def total(laps: list[dict[str, Any]], direction: str, part: str) -> int:
    return round(sum(lap[direction][part] * lap["lasted"] for lap in laps))


def test_a_connection_that_breaks_comes_back_without_the_portrait(reenactor, portraits, monkeypatch):
    monkeypatch.setattr(connection, "SILENCE", 1.0)

    async def test() -> None:
        one, two = Side(reenactor, portraits[0]), Side(reenactor, portraits[1])
        async with one.call, two.call, listening(one) as link, joined(two, link):
            await until(lambda: one.call.connected and two.call.connected, "the first connection")
            before = one.call._rates.sent.parts["portrait"], one.call.person.portrait
            assert before[0] > 100
            left, broken = one.call._connection, two.call._connection
            await broken._peer.sctp.transport.transport.stop()  # as when the network goes away
            await until(lambda: two.call._connection not in (None, broken), "another connection")
            await until(lambda: one.call._connection not in (None, left), "the same on the other side")
            assert one.call._rates.sent.parts["portrait"] == before[0]
            assert one.call.person.portrait is before[1]
            motion = reenactor.extract(pictures(1, seed=5)[0])

            def arrives() -> bool:
                two.call.send(motion, monotonic())  # again: what a connection loses is gone
                return one.call.latest is not None

            await until(arrives, "a picture")

    run(test)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_lost_sound_costs_itself_alone_and_keeps_its_order(share):
    """Packets overtake each other by up to three, a share of them is lost, and numbers wrap."""
    sizes: list[int] = []
    rng, buffer = random.Random(0), SoundBuffer(sizes.append)
    sent = [
        SimpleNamespace(sequence_number=(65_000 + i) % 65_536, timestamp=i, payload=b"x") for i in range(2000)
    ]
    arriving = sorted(enumerate(sent), key=lambda each: each[0] + rng.uniform(0, 3))
    arriving = [packet for number, packet in arriving if number < 10 or rng.random() >= share]
    given = [frame.timestamp for _, frame in map(buffer.add, arriving) if frame is not None]
    assert given == sorted(given)
    assert sizes == [1] * len(arriving)
    assert len(arriving) - len(given) <= 5 + 0.01 * len(sent)
    other = SimpleNamespace(sequence_number=7, timestamp=9, payload=b"y")
    assert buffer.add(other)[1].data == b"y", "the sender began anew"


def test_nobody_answers(reenactor, portraits):
    async def test() -> None:
        side = Side(reenactor, portraits[0])
        async with side.call:
            with pytest.raises(
                ValueError, match=r"nobody answers at 127\.0\.0\.1:9: is `fv2v call --listen`"
            ):
                await side.call.join(Link("127.0.0.1", 9, "x" * 20))

    run(test)


def test_other_weights_end_the_call_on_both_sides(reenactor, portraits, tmp_path):
    """Motion would mean something else there."""
    lively(Reenactor(TINY_VOX, weights="random")).save(tmp_path / "other.safetensors")
    other = Reenactor(weights=tmp_path / "other.safetensors")

    async def test() -> None:
        one, two = Side(reenactor, portraits[0]), Side(other, portraits[1])
        async with one.call, two.call, listening(one) as link:
            with pytest.raises(ValueError, match="two sides run different weights of 'tiny-vox'"):
                await two.call.join(link)
            await until(lambda: one.told, "a word of it")
            assert "two sides run different weights of 'tiny-vox'" in one.told[0]
            assert not one.call.connected

    run(test)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://a:1/x",
        "fv2v://a/x",
        "fv2v://a:0/" + "x" * 20,
        "fv2v://a:70000/" + "x" * 20,
        "fv2v://a:1/short",
    ],
)
def test_what_is_no_link(text):
    with pytest.raises(ValueError, match=r"expected a link as `fv2v call --listen` prints it"):
        Link.parse(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "a.example.org"])
def test_links_are_read_as_they_are_written(host):
    link = Link(host, 4000, "s" * 43)
    assert Link.parse(f" {link}\n") == link
    assert "ssss" not in repr(link)
    assert "ssss" not in link.origin


def test_the_command_says_what_is_wrong_in_a_line(fv2v, tmp_path):
    picture = tmp_path / "a.png"
    for words, message in (
        ([], "expected --listen, to wait for a call, or the LINK"),
        (["--listen", "fv2v://a:1/" + "x" * 20], "one of the two"),
        (["nonsense"], "expected a link"),
        (["--listen", "--port", "70000"], "expected a port"),
        (["--listen", "--turn", "a.example.org"], "expected USER:PASSWORD@HOST"),
        (["--listen", "--seconds", "0"], "expected more than 0 seconds"),
        (["--listen"], "a.png: no such file"),
    ):
        code, _, err = fv2v("call", *words, "--portrait", picture, "--preset", "starter")
        assert code == 2
        assert message in err.splitlines()[-1], err


def test_listening_beyond_this_machine_is_warned_of(fv2v, tmp_path):
    _, _, err = fv2v(
        "call", "--listen", "--host", "0.0.0.0", "--portrait", tmp_path / "a.png", "-p", "starter"
    )
    assert "warning: listening at 0.0.0.0: other machines can try" in err
    _, _, err = fv2v("call", "--listen", "--portrait", tmp_path / "a.png", "-p", "starter")
    assert "warning" not in err
