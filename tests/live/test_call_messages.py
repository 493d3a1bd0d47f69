# SPDX-License-Identifier: Apache-2.0
"""What peers of a call send: messages, greetings and portraits that are read or refused."""

import hashlib
import random

import numpy as np
import pytest
from calls import HASH, encoded, hello, jpeg

from fv2v.live.call import messages
from fv2v.live.call.messages import HELLO, MOTION, STATUS, Hello, PeerError
from fv2v.live.call.portrait import PortraitFile, received_portrait


def test_random_messages_are_read_or_refused_and_nothing_else():
    rng = random.Random(1)
    read = {
        HELLO: messages.read_hello,
        MOTION: messages.read_motion,
        STATUS: messages.read_status,
        messages.BYE: messages.read_bye,
    }
    refusals = 0
    for number in range(10_000):
        message = rng.randbytes(rng.randrange(0, 40))
        if number % 2:
            message = bytes([rng.choice([HELLO, MOTION, STATUS, messages.BYE])]) + message
        try:
            kind = messages.kind_of(message)
            if kind in read:
                read[kind](message)
        except PeerError:
            refusals += 1
    assert 5000 < refusals < 10_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version 2, expected 1"),
        ({"version": "1"}, "version 1, expected 1"),
        ({"size": 0}, "portrait of 0 bytes"),
        ({"size": 1 << 30}, "portrait of 1073741824 bytes, expected from 1 to 262144"),
        ({"size": True}, "portrait of True bytes"),
        ({"size": 1e3}, "portrait of 1000.0 bytes"),
        ({"portrait": "../../etc/passwd"}, "a digest that is none"),
        ({"preset": ["x"]}, "a greeting that is none"),
        ({"preset": "x" * 101}, "a greeting that is none"),
        ({"more": 1}, "a greeting that is none"),
    ],
)
def test_greetings_that_cannot_be(changes, message):
    good = Hello("tiny", HASH, HASH, 100, "")
    assert messages.read_hello(good.encode()) == good
    with pytest.raises(PeerError, match=message):
        messages.read_hello(hello(good, **changes))


@pytest.mark.parametrize(
    "message",
    [None, "text", b"", b"\x63", bytes([HELLO]) * 3000, bytes([MOTION]) * 5000, bytes([STATUS]) * 16],
)
def test_messages_that_cannot_be(message):
    with pytest.raises(PeerError):
        messages.kind_of(message)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_portraits_that_are_taken(suffix):
    assert np.abs(received_portrait(encoded(suffix)).astype(int) - 99).max() <= 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (jpeg(30_000, 30_000), "too many pixels"),
        (jpeg(5000, 5000), "of 5000 x 5000 pixels, expected a square of at most 1024"),
        (encoded(".png"), "no JPEG or WebP"),
        (encoded(".jpg", 32, 64), "of 64 x 32 pixels, expected a square"),
        (encoded(".bmp"), "no JPEG or WebP"),
        (encoded(".tiff"), "no JPEG or WebP"),
        (b"RIFF\0\0\0\0AVI ", "no JPEG or WebP"),
        (encoded(".jpg")[:300], "damaged"),
        (b"GIF89a" + b"\xff" * 100, "no JPEG or WebP"),
    ],
    ids=["bomb", "large", "png", "oblong", "bmp", "tiff", "avi", "cut short", "gif"],
)
def test_portraits_that_are_refused(data, message):
    with pytest.raises(PeerError, match=message):
        received_portrait(data)


def test_a_portrait_is_what_was_announced():
    data = b"x" * 100
    announced = Hello("tiny", HASH, hashlib.sha256(data).hexdigest(), 100, "")
    file = PortraitFile(announced)
    assert file.add(data[:60]) is None
    assert file.add(data[60:]) == data
    with pytest.raises(PeerError, match="more than the 100 bytes"):
        PortraitFile(announced).add(data + b"x")
    with pytest.raises(PeerError, match="another content"):
        PortraitFile(announced).add(b"y" * 100)
