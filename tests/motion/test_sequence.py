# SPDX-License-Identifier: Apache-2.0
"""Motion sequences: what one is, that files keep it, and whom it can move."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from motion_samples import assert_same_sequence, sequence
from output_files import leftovers
from tiny import TINY, TINY_LIVEPORTRAIT

import fv2v
from fv2v import MotionSequence, Timing, read_motion, write_motion
from fv2v.motion.sequence import check_fits


@pytest.mark.parametrize("ratios", [False, True])
def test_sequences_come_back_bit_for_bit(ratios, tmp_path):
    more = {"eyes": torch.rand(3, 2), "lips": torch.rand(3, 1)} if ratios else {}
    kept = sequence(**more)
    write_motion(tmp_path / "motion.npz", kept)
    assert_same_sequence(read_motion(tmp_path / "motion.npz"), kept)
    assert not leftovers(tmp_path, tmp_path / "motion.npz")
    assert fv2v.MotionSequence is MotionSequence


def test_a_sequence_prints_as_one_line():
    timing = Timing.even(3, Fraction(30000, 1001))
    expected = "MotionSequence('vox-256', 3 frames, 15 keypoints, 29.97 frames/s)"
    assert str(sequence(K=15, preset="vox-256", timing=timing)) == expected


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rotation": torch.eye(3).expand(2, 3, 3)}, r"expected rotation of shape \(3, 3, 3\)"),
        ({"rotation": 2 * torch.eye(3).expand(3, 3, 3)}, "got at frame 0 a matrix that is none"),
        ({"rotation": -torch.eye(3).expand(3, 3, 3)}, "got at frame 0 a matrix that is none"),
        ({"expression": torch.full((3, 5, 3), torch.nan)}, "expression holds NaN or infinite"),
        ({"expression": torch.zeros(3, 15)}, r"expected expression of shape \(3, .*got \(3, 15\)"),
        ({"scale": torch.zeros(3, 1)}, "expected positive scales"),
        ({"timing": Timing.even(4, 25)}, "a time stamp for each of 3 frames, got 4"),
        ({"eyes": torch.zeros(3, 3)}, r"expected eyes \(3, 2\), got \(3, 3\)"),
        ({"lips": torch.full((3, 1), torch.inf)}, "lips hold NaN or infinite numbers"),
    ],
)
def test_what_is_no_sequence_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        sequence(**changed)


@pytest.mark.parametrize(
    ("pts", "time_base", "rate", "message"),
    [
        ((), Fraction(1, 25), Fraction(25), "at least one frame, got none"),
        ((0, 5, 5), Fraction(1, 25), Fraction(25), "rise, got 5 and then 5 at frame 2"),
        ((0, 1), Fraction(0), Fraction(25), "a time base of more than 0 seconds, got 0"),
        ((0, 1), Fraction(1, 25), Fraction(1, 25), "from 1 to 1000 frames a second, got 1/25"),
    ],
)
def test_what_is_no_timing_is_refused(pts, time_base, rate, message):
    with pytest.raises(ValueError, match=message):
        Timing(pts, time_base, rate)


def test_motion_fits_its_own_preset_and_those_alike():
    vox = sequence(K=15, preset="vox-256")
    for name in ("vox-256", "vox-256-jacobian", "vox-256-spade"):
        check_fits(vox, fv2v.preset(name))
    for name in ("sadtalker-256", "face-vid2vid-256", "liveportrait"):
        with pytest.raises(ValueError, match=f"motion of 'vox-256' with 15 keypoints cannot move {name!r}"):
            check_fits(vox, fv2v.preset(name))
    check_fits(sequence(preset="tiny"), TINY)
    for name in ("vox-256", "liveportrait", "face-vid2vid-256"):  # relative or not, the numbers are the same
        config = fv2v.preset(name)
        geometry = replace(config.geometry, relative=not config.geometry.relative)
        check_fits(sequence(K=config.keypoints, preset=name), replace(config, geometry=geometry))
    check_fits(sequence(K=21, preset="liveportrait"), TINY_LIVEPORTRAIT)
    with pytest.raises(ValueError, match="motion of 'other' with 5 keypoints cannot move 'tiny'"):
        check_fits(sequence(preset="other"), TINY)
    with pytest.raises(ValueError, match="motion of 'tiny' with 4 keypoints cannot move 'tiny', which has 5"):
        check_fits(sequence(K=4, preset="tiny"), TINY)
