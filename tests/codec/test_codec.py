# SPDX-License-Identifier: Apache-2.0
"""Motion as packets: what comes back, how small it is, what damage does."""

import hashlib
import json
import os
import random
import subprocess
import sys
from dataclasses import replace

import clips
import numpy as np
import pytest
import torch
from codec_cases import assert_equal, assert_in_step, one_by_one, talking, wild
from places import DATA

import fv2v
from fv2v.codec import CodecError, MotionDecoder, MotionEncoder
from fv2v.codec.model import Distribution
from fv2v.codec.packet import KEYPOINTS, VERSION, encode_kind
from fv2v.codec.quantize import DEGREES, Quantizer
from fv2v.codec.range_coder import TOTAL, RangeDecoder, RangeEncoder
from fv2v.geometry import rotation_from_euler, used_translation

VECTORS = DATA / "motion_packets.json"  # of `recorded()`; written again only together with a new VERSION
STARTER = fv2v.preset("starter")
CONFIGS = [config for config in fv2v.PRESETS.values() if not config.direct]


def packets(config=STARTER, frames=40, seed=0, **options):
    encoder = MotionEncoder(config, **options)
    return [encoder.encode(motion) for motion in one_by_one(talking(config, frames, seed))]


def recorded() -> dict[str, str]:
    """SHA-256 of the packets of drawn-up motion, by preset."""
    digests = {}
    for config in CONFIGS:
        joined = b"".join(
            len(packet).to_bytes(2, "big") + packet for packet in packets(config, 12, refresh=8, redundancy=2)
        )
        digests[config.name] = hashlib.sha256(joined).hexdigest()
    return digests


def test_symbols_come_back():
    rng = random.Random(0)
    for _ in range(300):
        encoder, said = RangeEncoder(), []
        for _ in range(rng.randrange(40)):
            starts = [0, *sorted(rng.sample(range(1, TOTAL), rng.randrange(1, 12))), TOTAL]
            symbol = rng.randrange(len(starts) - 1)
            number = rng.randrange(1 << rng.randrange(1, 39))
            encoder.encode(starts[symbol], starts[symbol + 1] - starts[symbol])
            encoder.encode_number(number)
            encoder.encode_bits(number, 40)
            said.append((starts, symbol, number))
        decoder = RangeDecoder(encoder.finish())
        for starts, symbol, number in said:
            assert (decoder.decode(starts), decoder.decode_number(), decoder.decode_bits(40)) == (
                symbol,
                number,
                number,
            )
        decoder.check_end()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_motion_comes_back_within_half_a_step(config):
    step = 0.001
    encoder, decoder = MotionEncoder(config, step=step), MotionDecoder(config)
    for motion in one_by_one(talking(config, 12)):
        got = decoder.decode(encoder.encode(motion))
        assert_in_step(encoder, decoder)
        half = step / 2 * 1.01
        true = used_translation(motion.translation, config.geometry)
        assert (got.expression - motion.expression).abs().max() <= half
        assert (got.translation - true).abs().max() <= half
        assert (got.scale - motion.scale).abs().max() <= 2 * half
        angle = torch.linalg.matrix_norm(got.rotation - motion.rotation).item() / 2**0.5
        assert angle <= np.radians(DEGREES * half) * 3


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_wild_motion_comes_back(config):
    round_trips(config, 40, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_much_wild_motion_comes_back(config):
    for seed in range(4):
        round_trips(config, 1_950, seed)


def round_trips(config, frames, seed):
    rng = random.Random(seed)
    encoder = decoder = None
    for number, motion in enumerate(one_by_one(wild(config, frames, seed))):
        if number % 50 == 0:
            encoder = MotionEncoder(config, step=10 ** rng.uniform(-4, -1), refresh=rng.choice([0, 7]))
            decoder = MotionDecoder(config)
        if rng.random() < 0.1:
            encoder.keypoints = rng.randint(0, config.keypoints)
        decoder.decode(encoder.encode(motion))
        assert decoder.status == "new"
        assert_in_step(encoder, decoder)


def test_fewer_keypoints_are_sent():
    """The first K alone: the others' expression is held, or 0 after a refresh."""
    first, second, third, fourth = one_by_one(talking(STARTER, 4))
    encoder, decoder = MotionEncoder(STARTER, step=1e-3), MotionDecoder(STARTER)
    whole = decoder.decode(encoder.encode(first)).expression
    encoder.keypoints = 5
    fewer = encoder.encode(second)
    got = decoder.decode(fewer).expression
    assert decoder.keypoints == 5
    assert (got - second.expression)[:, :5].abs().max() <= 5.1e-4
    assert torch.equal(got[:, 5:], whole[:, 5:])
    again = encoder.encode(third)  # 5 are understood now, and not said again
    decoder.decode(again)
    assert decoder.keypoints == 5
    encoder.keypoints = STARTER.keypoints
    got = decoder.decode(encoder.encode(fourth)).expression
    assert (got - fourth.expression).abs().max() <= 5.1e-4
    assert_in_step(encoder, decoder)
    encoder.keypoints = 0
    encoder.request_refresh()
    got = MotionDecoder(STARTER).decode(encoder.encode(first))
    assert torch.equal(got.expression, torch.zeros_like(got.expression))
    assert (got.rotation - first.rotation).abs().max() < 1e-2


def test_fewer_keypoints_are_fewer_bytes():
    few, all_of_them = (sum(map(len, packets(keypoints=count)[1:])) for count in (5, STARTER.keypoints))
    assert few < 0.6 * all_of_them


@pytest.mark.parametrize("count", [-1, 23])
def test_no_other_number_of_keypoints(count):
    with pytest.raises(ValueError, match=f"expected keypoints from 0 to 22, got {count}"):
        MotionEncoder(STARTER, keypoints=count)


def test_more_keypoints_than_there_are_is_damage():
    coder = RangeEncoder()
    encode_kind(coder, KEYPOINTS)
    coder.encode_bits(STARTER.keypoints + 1, 8)
    with pytest.raises(CodecError, match="damaged: 23 keypoints, of 22"):
        MotionDecoder(STARTER).decode(coder.finish())


# found by fuzzing: a scale of 2^33 steps a cell and a place far beyond the outermost are more than 64 bits
TOO_LARGE = "f2300000001a979635000000e52a50a20c0d1291d84f7aef60763227ed8ef52598542e27"
TOO_LARGE += 31 * "ff" + "6003000000000000ffffffffb5cccc93"


def test_numbers_of_more_than_64_bits_are_damage():
    with pytest.raises(CodecError, match="damaged"):
        MotionDecoder(fv2v.preset("vox-256")).decode(bytes.fromhex(TOO_LARGE))


@pytest.mark.parametrize(("bits", "told"), [(30, False), (31, True), (45, True), (60, True)])
def test_changes_of_more_than_two_frames_can_be_apart_are_damage(bits, told):
    near = np.full(1, 8 * 41)
    widest = Distribution(np.zeros(1, np.int64), np.array([near, near]), np.zeros(1, np.int64))
    coder = RangeEncoder()
    widest.encode(coder, np.array([-(1 << bits)]))
    decoder = RangeDecoder(coder.finish())
    if told:
        with pytest.raises(CodecError, match="larger than any that are sent"):
            widest.decode(decoder)
    else:
        assert widest.decode(decoder).tolist() == [-(1 << bits)]


def test_angles_wrap():
    encoder, decoder = MotionEncoder(STARTER, step=0.001), MotionDecoder(STARTER)
    motion = talking(STARTER, 1)
    zero, sizes = torch.zeros(1), []
    for degrees in range(0, 1080, 5):
        turned = replace(motion, rotation=rotation_from_euler(zero, zero, torch.tensor([float(degrees)])))
        packet = encoder.encode(turned)
        sizes.append(len(packet))
        got = decoder.decode(packet)
        assert (got.rotation - turned.rotation).abs().max() < 0.002
    assert max(sizes[10:]) < 8  # also where the angle jumps from 180 to -180


@pytest.mark.parametrize("field", ["rotation", "translation", "expression", "scale"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_is_refused_and_nothing_changes(field, value):
    encoder, decoder = MotionEncoder(STARTER), MotionDecoder(STARTER)
    motion = talking(STARTER, 3)
    decoder.decode(encoder.encode(motion[:1]))
    bad = motion[1:2]
    values = getattr(bad, field).clone()
    values.view(-1)[0] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        encoder.encode(replace(bad, **{field: values}))
    decoder.decode(encoder.encode(motion[2:]))
    assert_in_step(encoder, decoder)


def test_wrong_motion_and_options_are_refused():
    encoder = MotionEncoder(STARTER)
    with pytest.raises(ValueError, match="expected expression of shape"):
        encoder.encode(talking(fv2v.preset("vox-256"), 1))
    with pytest.raises(ValueError, match="1 frame, got 2"):
        encoder.encode(talking(STARTER, 2))
    large = talking(STARTER, 1)
    with pytest.raises(ValueError, match="steps of"):
        encoder.encode(replace(large, translation=large.translation + 1e9))
    for options in (
        {"quality": 0},
        {"quality": "best"},
        {"step": 0},
        {"step": 2},
        {"quality": 50, "step": 0.1},
    ):
        with pytest.raises(ValueError, match="expected a"):
            MotionEncoder(STARTER, **options)
    with pytest.raises(ValueError, match="redundancy from 1"):
        MotionEncoder(STARTER, redundancy=0)
    with pytest.raises(ValueError, match="kbps"):
        MotionEncoder(STARTER, kbps=-1)


def test_a_still_face_costs_about_a_byte():
    motion, encoder = talking(STARTER, 1), MotionEncoder(STARTER)
    sizes = [len(encoder.encode(motion)) for _ in range(200)]
    assert np.mean(sizes[100:]) <= 2


def test_finer_costs_more():
    sizes = [sum(map(len, packets(quality=quality))) for quality in (25, 50, 75, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.6 * sizes[-1]
    assert sum(map(len, packets(quality="adaptive"))) < sizes[2]


def test_a_rate_is_kept():
    for kbps in (1.5, 4):
        sizes = [len(packet) for packet in packets(frames=250, kbps=kbps, fps=25)]
        assert sum(sizes[25:]) * 8 / 9 <= 1.1 * kbps * 1000


def test_of_another_preset_or_version():
    packet = packets(fv2v.preset("vox-256"))[0]
    with pytest.raises(CodecError, match="another preset than 'starter'"):
        MotionDecoder(STARTER).decode(packet)
    with pytest.raises(CodecError, match="expected a packet, got 0 bytes"):
        MotionDecoder(STARTER).decode(b"")


def test_newer_version(monkeypatch):
    monkeypatch.setattr("fv2v.codec.packet.VERSION", VERSION + 1)
    packet = packets()[0]
    monkeypatch.undo()
    with pytest.raises(CodecError, match=f"expected motion of version {VERSION}, got {VERSION + 1}"):
        MotionDecoder(STARTER).decode(packet)


def test_damage_is_refused_or_decoded_never_more():
    rng, whole = random.Random(0), packets(refresh=10, redundancy=2)
    refused = 0
    for _ in range(1500):
        decoder = MotionDecoder(STARTER)
        for packet in whole[: rng.randrange(4)]:
            decoder.decode(packet)
        before = decoder.number
        data = bytearray(rng.choice(whole))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        data = data[: rng.randrange(len(data) + 1)] + rng.randbytes(rng.choice([0, 0, 5]))
        try:
            decoder.decode(bytes(data))
        except CodecError:
            refused += 1
            assert decoder.number == before or data[0] == 0xFF
    assert refused > 500


def test_bytes_are_those_recorded():
    stored = json.loads(VECTORS.read_text())
    assert stored["version"] == VERSION
    assert recorded() == stored["sha256"], "packets changed: raise packet.VERSION and record them again"


def test_recorded_packets_decode_to_the_same_numbers():
    stored = json.loads(VECTORS.read_text())
    decoder = MotionDecoder(STARTER)
    for packet in stored["packets"]:
        decoder.decode(bytes.fromhex(packet))
    found = hashlib.sha256(
        b"".join(
            getattr(decoder.motion, name).numpy().tobytes()
            for name in ("rotation", "translation", "expression")
        )
    ).hexdigest()
    assert found == stored["motion"]


def test_the_same_bytes_in_another_process():
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]; import json, torch; torch.set_num_threads(2); "
        "import test_codec; print(json.dumps(test_codec.recorded()))"
    )
    paths = [str(DATA.parent / "codec"), str(DATA.parent / "support"), str(DATA)]
    done = subprocess.run(
        [sys.executable, "-c", program, *paths],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
    )
    assert json.loads(done.stdout) == recorded()


@pytest.mark.parametrize("name", ["talking.pkl", "shake_face.pkl", "d5.pkl"])
def test_rate_of_real_motion(name):
    sequence = fv2v.read_motion(clips.real(name))
    config = fv2v.preset("liveportrait")
    for step, most in ((0.004, 6.5), (0.001, 11.5), (0.0005, 15.0)):
        encoder, decoder = MotionEncoder(config, step=step), MotionDecoder(config)
        sizes = []
        for motion in one_by_one(sequence.motion):
            packet = encoder.encode(motion)
            sizes.append(len(packet))
            assert_equal(decoder.decode(packet), encoder.motion)
        assert sizes[0] <= 90
        assert np.mean(sizes[1:]) <= most


def test_largest_displacement_at_the_default():
    """A keypoint of a face as large as its crop moves by a tenth of a pixel of 256 at most."""
    config = fv2v.preset("vox-256")
    quantizer = Quantizer(config, MotionEncoder(config).quantizer.step)
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    motion = talking(config, 60)
    for each in one_by_one(motion):
        got = quantizer.motion(np.rint(quantizer.measure(each)).astype(np.int64))
        moved = points @ (got.rotation - each.rotation)[0].mT + (got.translation - each.translation)
        worst = moved.abs().amax() + (got.expression - each.expression).abs().amax()
        assert worst * 128 <= 0.1


if __name__ == "__main__":  # records the vectors, for a new VERSION
    made = packets(frames=12, refresh=8, keypoints=15)
    decoder = MotionDecoder(STARTER)
    for packet in made:
        decoder.decode(packet)
    digest = hashlib.sha256(
        b"".join(
            getattr(decoder.motion, name).numpy().tobytes()
            for name in ("rotation", "translation", "expression")
        )
    ).hexdigest()
    stored = {"version": VERSION, "sha256": recorded(), "packets": [p.hex() for p in made], "motion": digest}
    VECTORS.write_text(json.dumps(stored, indent=1) + "\n")
