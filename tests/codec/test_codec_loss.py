# SPDX-License-Identifier: Apache-2.0
"""Packets that get lost, come late, twice or in another order; a back channel; packets that repeat frames."""

import random

import pytest
from codec_cases import assert_equal, one_by_one, talking

import fv2v
from fv2v.codec import MotionDecoder, MotionEncoder

STARTER = fv2v.preset("starter")
FRAMES, REFRESH = 160, 20


def stream(**options):
    """Packets, and what the encoder says that each gives."""
    encoder = MotionEncoder(STARTER, **options)
    return [(encoder.encode(motion), encoder.motion) for motion in one_by_one(talking(STARTER, FRAMES))]


def lost_frames(share, burst, seed):
    """Which of FRAMES packets are lost: single ones, or bursts, a share of all on average."""
    rng, lost = random.Random(seed), set()
    while len(lost) < share * FRAMES:
        start = rng.randrange(FRAMES)
        lost |= set(range(start, min(start + burst, FRAMES)))
    return lost


@pytest.mark.parametrize("burst", [1, 8])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.3])
def test_right_again_within_one_refresh(share, burst):
    lost = lost_frames(share, burst, seed=int(100 * share) + burst)
    decoder, wrong_since = MotionDecoder(STARTER), None
    for number, (packet, truth) in enumerate(stream(refresh=REFRESH)):
        if number in lost:
            wrong_since = number
            continue
        held = decoder.motion
        got = decoder.decode(packet)
        if decoder.status == "lost":
            assert got is held
            assert wrong_since is not None
            assert number - wrong_since < REFRESH
        else:
            assert_equal(got, truth)


def test_reordered_and_repeated_packets():
    sent = stream(refresh=REFRESH)
    rng, decoder = random.Random(0), MotionDecoder(STARTER)
    order = sorted(range(FRAMES), key=lambda number: number + rng.uniform(0, 3))
    newest = -1
    for number in order + order[-3:]:
        got = decoder.decode(sent[number][0])
        if decoder.status == "new":
            newest = decoder.number
        assert decoder.status in ("new", "late", "duplicate", "lost")
        if newest >= 0:
            assert_equal(got, sent[newest][1])
    decoder.decode(sent[newest][0])
    assert decoder.status == "duplicate"


def test_a_reference_that_comes_late_still_helps():
    sent, decoder = stream(), MotionDecoder(STARTER)
    decoder.decode(sent[0][0])
    assert decoder.decode(sent[2][0]) is decoder.motion
    assert decoder.status == "lost"
    decoder.decode(sent[1][0])
    assert_equal(decoder.decode(sent[2][0]), sent[2][1])


def test_before_the_first_refresh_a_face_at_rest_is_held():
    sent, decoder = stream(), MotionDecoder(STARTER)
    motion = decoder.decode(sent[5][0])
    assert decoder.status == "lost"
    assert motion.expression.abs().max() == 0


@pytest.mark.parametrize("redundancy", [2, 3])
def test_repeated_frames_bridge_gaps(redundancy):
    decoder = MotionDecoder(STARTER)
    for number, (packet, truth) in enumerate(stream(redundancy=redundancy)):
        if number % redundancy:  # all but each second, or third
            continue
        assert_equal(decoder.decode(packet), truth)
        assert decoder.number == number


def test_acknowledged_frames_alone_are_predicted_from():
    encoder, decoder, rng = MotionEncoder(STARTER), MotionDecoder(STARTER), random.Random(0)
    arrived = []
    for number, motion in enumerate(one_by_one(talking(STARTER, FRAMES))):
        packet = encoder.encode(motion)
        if number == 0 or rng.random() > 0.3:
            got = decoder.decode(packet)
            assert decoder.status == "new"
            assert_equal(got, encoder.motion)
            arrived.append(number)
        if len(arrived) > 3:  # reports take a while
            encoder.acknowledge(arrived[-3])


def test_a_requested_refresh_decodes_alone():
    encoder = MotionEncoder(STARTER)
    for motion in one_by_one(talking(STARTER, 5)):
        encoder.encode(motion)
    encoder.request_refresh()
    packet = encoder.encode(talking(STARTER, 1, seed=1))
    decoder = MotionDecoder(STARTER)
    assert_equal(decoder.decode(packet), encoder.motion)
    assert decoder.number == 5


def test_an_acknowledgement_too_old_is_a_refresh():
    encoder, decoder = MotionEncoder(STARTER), MotionDecoder(STARTER)
    statuses = []
    for number, motion in enumerate(one_by_one(talking(STARTER, 80))):
        packet = encoder.encode(motion)
        encoder.acknowledge(0)
        if number > 64:  # nothing before has arrived
            decoder.decode(packet)
            statuses.append(decoder.status)
    assert statuses[0] == "new"


def test_a_sender_that_begins_anew():
    decoder = MotionDecoder(STARTER)
    for packet, _ in stream():
        decoder.decode(packet)
    packet, truth = stream(step=0.002)[0]
    assert_equal(decoder.decode(packet), truth)
    assert (decoder.status, decoder.number) == ("new", 0)
