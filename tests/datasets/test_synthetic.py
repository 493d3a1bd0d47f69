# SPDX-License-Identifier: Apache-2.0
"""Drawn heads: the same anywhere, whole, and where their landmarks say that they are."""

import hashlib
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from fv2v.data.pairs import Draw, Truth
from fv2v.data.synthetic import (
    LANDMARKS,
    REGIONS,
    Expression,
    Identity,
    Pose,
    SyntheticHeads,
    landmarks,
    performance,
    regions,
    render,
    truth,
)
from fv2v.data.synthetic.anatomy import Anatomy
from fv2v.data.synthetic.figure import Figure
from fv2v.geometry import View, apply_view, keypoints_of, rotation_from_euler
from fv2v.presets import FACE_VID2VID_256

SIZE = 128
HEADS = SyntheticHeads(32, 12, seed=5)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Two are slower, and on another thread count other bytes could come."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def people(count: int, seed: int = 3) -> Identity:
    """Without hair and glasses, in frontal light: nothing hides or shades eyes and mouth."""
    identity = Identity.sample(np.random.default_rng(seed), count)
    light = numbers(0.0, -0.3, -0.954).expand(count, 3)
    plain = {name: torch.zeros(count) for name in ("glasses", "beard", "freckles", "long")}
    return replace(identity, light=light, bald=torch.ones(count), bun=-torch.ones(count), **plain)


def lively(count: int, seed: int = 4) -> tuple[Expression, Pose]:
    """Eyes wide open, and turned so that both are seen."""
    rng = np.random.default_rng(seed)
    expression = Expression.sample(rng, count)
    wide = torch.full((count,), -0.6)
    expression = replace(expression, blink_left=wide, blink_right=wide, gaze_y=0.5 * expression.gaze_y)
    return expression, Pose.sample(rng, count, extent=0.6)


def pixels(points: Tensor, size: int = SIZE) -> np.ndarray:
    """Picture coordinates (..., 3) as column and row (..., 2)."""
    return ((points[..., :2] + 1) * size / 2 - 0.5).numpy()


def changed(first: Tensor, second: Tensor) -> Tensor:
    """(B, 3, H, W) twice -> (B, H, W): how much each pixel differs."""
    return (first - second).abs().amax(1)


# Parameters


def test_a_seed_means_the_same_parameters_on_every_machine():
    rng = np.random.default_rng(7)
    identity, expression, pose = Identity.sample(rng, 2), Expression.sample(rng, 2), Pose.sample(rng, 2)
    torch.testing.assert_close(identity.scale, numbers(1.2107252, 1.1320971))
    torch.testing.assert_close(identity.iris[1], numbers(0.4292183, 0.2670692, 0.1144582))
    torch.testing.assert_close(expression.gaze_x, numbers(-0.7745660, 0.2532236))
    torch.testing.assert_close(pose.degrees[1], numbers(-29.6690, 21.3487), rtol=0, atol=1e-3)


def test_rows_of_parameters():
    identity = Identity.sample(np.random.default_rng(0), 3)
    assert identity.photo is None
    for f in fields(identity)[:-1]:
        values = getattr(identity, f.name)
        assert values.dtype == torch.float32
        assert len(values) == 3
        assert torch.equal(getattr(identity[1:2], f.name), values[1:2])
        assert torch.equal(getattr(identity.repeat(2), f.name), values[[0, 0, 1, 1, 2, 2]])
        assert torch.equal(getattr(Identity.cat([identity[2:], identity[:1]]), f.name), values[[2, 0]])


def test_the_same_bytes_in_two_processes():
    program = (
        "import hashlib, torch; torch.set_num_threads(1);"
        "from fv2v.data.synthetic import SyntheticHeads; from fv2v.data.pairs import Draw;"
        "pair = SyntheticHeads(32, 12, seed=5)[Draw(3, 11)];"
        "print(hashlib.sha256(pair.source.numpy().tobytes() + pair.driving.numpy().tobytes()).hexdigest())"
    )
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True) for _ in range(2)]
    pair = HEADS[Draw(3, 11)]
    here = hashlib.sha256(pair.source.numpy().tobytes() + pair.driving.numpy().tobytes()).hexdigest()
    assert [run.stdout.strip() for run in runs] == [here, here], runs[0].stderr


# Pictures


def test_pupils_are_drawn_where_their_landmarks_are():
    count = 8
    identity, (expression, pose) = people(count), lively(count)
    grey, white = (replace(identity, iris=torch.full((count, 3), level)) for level in (0.5, 1.0))
    picture = render(white, expression, pose, SIZE)
    irises = changed(picture, render(grey, expression, pose, SIZE)).numpy() > 0.05
    dark = (0.35 - picture.mean(1)).clamp(min=0).numpy()
    expected = pixels(keypoints_of(*truth(identity, expression, pose)))
    for b in range(count):
        rows, columns = np.nonzero(irises[b])
        middle = columns.mean()
        for name, chosen in (("iris_left", columns < middle), ("iris_right", columns > middle)):
            top, left = rows[chosen].min(), columns[chosen].min()
            eye = dark[b, top + 1 : rows[chosen].max(), left : columns[chosen].max() + 1]
            row, column = ndimage.center_of_mass(eye)
            found = np.array([left + column, top + 1 + row])
            assert np.abs(found - expected[b, LANDMARKS.index(name)]).max() < 1.5, (b, name)


def test_mouth_corners_are_drawn_where_their_landmarks_are():
    count = 8
    identity, (expression, pose) = people(count), lively(count)
    red, blue = (
        replace(identity, lips=numbers(*colour).repeat(count, 1)) for colour in ((0.9, 0, 0), (0, 0, 0.9))
    )
    lips = changed(render(red, expression, pose, SIZE), render(blue, expression, pose, SIZE)).numpy() > 0.1
    expected = pixels(keypoints_of(*truth(identity, expression, pose)))
    for b in range(count):
        rows, columns = np.nonzero(lips[b])
        for name, end in (("lip_left", columns.min()), ("lip_right", columns.max())):
            found = np.array([end, rows[columns == end].mean()])
            assert np.abs(found - expected[b, LANDMARKS.index(name)]).max() < 1.5, (b, name)


def test_regions_are_where_landmarks_are():
    count = 6
    identity, (expression, pose) = people(count), lively(count)
    shown = regions(identity, expression, pose, SIZE)
    at = pixels(keypoints_of(*truth(identity, expression, pose))).round().astype(int)
    parts = {
        "iris_left": "eyes",
        "iris_right": "eyes",
        "lip_lower": "mouth",
        "nose": "face",
        "forehead": "face",
    }
    for name, part in parts.items():
        column, row = at[:, LANDMARKS.index(name)].T
        assert (shown[torch.arange(count), row, column] == REGIONS.index(part)).all(), name
    black = replace(identity, background=torch.zeros(count, 3), backdrop=torch.zeros(count, 3))
    behind = changed(render(identity, expression, pose, SIZE), render(black, expression, pose, SIZE)) > 0.01
    different = behind != (shown == REGIONS.index("background"))
    assert different.float().mean() < 0.02, "edges at most"


def test_a_view_of_a_head_is_the_head_turned():
    identity, (expression, pose) = Identity.sample(np.random.default_rng(1), 3), lively(3)
    _, motion = truth(identity, expression, pose)
    view = apply_view(motion, View(yaw=20, pitch=-8, roll=5), FACE_VID2VID_256.geometry)
    turn = rotation_from_euler(numbers(-8), numbers(20), numbers(5))
    viewed = render(identity, expression, Pose(view.rotation, view.translation), 64)
    turned = render(identity, expression, pose.turned(turn), 64)
    assert (viewed - turned).abs().mean() < 1e-4
    assert (viewed - render(identity, expression, pose, 64)).abs().mean() > 0.02


def test_heads_have_no_holes():
    """No speck of what is behind them shows, but between glasses and face."""
    count = 16
    rng = np.random.default_rng(8)
    identity = replace(Identity.sample(rng, count), glasses=torch.zeros(count))
    expression, pose = Expression.sample(rng, count), Pose.sample(rng, count)
    black = replace(identity, background=torch.zeros(count, 3), backdrop=torch.zeros(count, 3))
    behind = changed(render(identity, expression, pose, 64), render(black, expression, pose, 64)) > 0.01
    for each in behind.numpy():
        areas, found = ndimage.label(each, structure=np.ones((3, 3)))
        at_edge = np.unique(np.concatenate([areas[0], areas[:, 0], areas[:, -1]]))
        assert set(range(1, found + 1)) <= set(at_edge)
        assert 0.25 < 1 - each.mean() < 0.8, "a head fills a good part of the picture"


def test_hair_leaves_the_eyes_free():
    count = 24
    identity, still = Identity.sample(np.random.default_rng(6), count), Expression.neutral(count)
    straight = Pose.at(*torch.zeros(3, count))
    red, blue = (
        replace(identity, hair=numbers(*colour).repeat(count, 1)) for colour in ((0.9, 0, 0), (0, 0, 0.9))
    )
    hair = changed(render(red, still, straight, 64), render(blue, still, straight, 64)) > 0.05
    assert hair.flatten(1).any(1).all(), "brows at least"
    at = pixels(landmarks(identity, still), 64).round().astype(int)
    for name in ("iris_left", "iris_right", "lower_lid_left", "lower_lid_right"):
        column, row = at[:, LANDMARKS.index(name)].T
        assert not hair[torch.arange(count), row, column].any(), name


def test_what_an_expression_does_it_does_on_every_face():
    count = 6
    identity = Identity.sample(np.random.default_rng(2), count)
    closed, opened = Expression.neutral(count), Expression.neutral(count)
    closed = replace(closed, blink_left=torch.ones(count))
    opened = replace(opened, jaw=torch.ones(count))
    names = {name: i for i, name in enumerate(LANDMARKS)}
    neutral = landmarks(identity, Expression.neutral(count))

    def gap(points: Tensor, upper: str, lower: str) -> Tensor:
        return points[:, names[lower], 1] - points[:, names[upper], 1]

    blinking, speaking = landmarks(identity, closed), landmarks(identity, opened)
    assert (gap(neutral, "upper_lid_left", "lower_lid_left") > 0.06).all()
    assert gap(blinking, "upper_lid_left", "lower_lid_left").abs().max() < 1e-4
    torch.testing.assert_close(blinking[:, names["upper_lid_right"]], neutral[:, names["upper_lid_right"]])
    assert (gap(speaking, "lip_upper", "lip_lower") > 0.1 + gap(neutral, "lip_upper", "lip_lower")).all()
    for name in ("ear_left", "ear_right", "crown", "forehead"):
        torch.testing.assert_close(speaking[:, names[name]], neutral[:, names[name]], rtol=0, atol=1e-3)


# Truth


def test_truth_is_what_the_renderer_drew():
    """x = R x_c + t + δ are the landmarks of the posed head, on its skin."""
    rng = np.random.default_rng(9)
    identity, expression, pose = Identity.sample(rng, 5), Expression.sample(rng, 5), Pose.sample(rng, 5)
    canonical, motion = truth(identity, expression, pose)
    x = keypoints_of(canonical, motion)
    own = landmarks(identity, expression)
    torch.testing.assert_close(x, own @ pose.rotation.mT + pose.translation.unsqueeze(1))
    figure = Figure(Anatomy(identity, expression), pose)
    off_skin = figure.parts(x.unbind(-1)).face
    assert off_skin.abs().max() < 2e-3
    still, at_rest = truth(identity, Expression.neutral(5), pose)
    assert torch.equal(still, canonical)
    assert not at_rest.expression.any()


def test_positive_angles_turn_the_nose_left_and_down():
    identity = Identity.sample(np.random.default_rng(0), 1).repeat(3)
    pose = Pose.at(numbers(0, 0, 15), numbers(0, 30, 0), numbers(0, 0, 0))
    nose = keypoints_of(*truth(identity, Expression.neutral(3), pose))[:, LANDMARKS.index("nose")]
    assert nose[1, 0] < nose[0, 0] - 0.1
    assert nose[2, 1] > nose[0, 1] + 0.05
    torch.testing.assert_close(torch.stack(pose.degrees), numbers(0, 0, 15, 0, 30, 0, 0, 0, 0).view(3, 3))


def test_on_the_lattice_landmarks_are_at_the_voxels_that_they_are_drawn_in():
    voxels, i = 16, torch.arange(16.0)
    pair = HEADS[Draw(0, 1)].truth
    assert pair is not None
    middles = torch.zeros(1, voxels, 3)
    middles[0, :, 0] = (2 * i + 1) / voxels - 1
    lattice = Truth(middles, pair.source, pair.driving).on_lattice(voxels)
    torch.testing.assert_close(lattice.canonical[0, :, 0], 2 * i / (voxels - 1) - 1)
    there = pair.on_lattice(voxels)
    expected = keypoints_of(pair.canonical, pair.driving) * voxels / (voxels - 1)
    torch.testing.assert_close(keypoints_of(there.canonical, there.driving), expected)
    assert torch.equal(there.driving.rotation, pair.driving.rotation)
    with pytest.raises(ValueError, match="2 voxels across or more, got 1"):
        pair.on_lattice(1)


# Pairs, performances


def test_a_pair_is_two_frames_of_one_head():
    pair, again, other = HEADS[Draw(2, 1)], HEADS[Draw(2, 1)], HEADS[Draw(2, 2)]
    assert pair.source.shape == pair.driving.shape == (1, 3, 32, 32)
    assert pair.source.dtype == torch.uint8
    assert torch.equal(pair.source, again.source)
    assert not torch.equal(pair.source, pair.driving)
    assert not torch.equal(pair.source, other.source)
    assert pair.truth is not None
    assert pair.truth.canonical.shape == (1, len(LANDMARKS), 3)
    assert pair.truth.driving.expression.shape == (1, len(LANDMARKS), 3)
    assert not torch.equal(pair.truth.source.rotation, pair.truth.driving.rotation)


def test_people_are_numbered_from_the_first():
    later = SyntheticHeads(32, 2, seed=5, first=3)
    assert torch.equal(later.identity(0).skin, HEADS.identity(3).skin)
    assert torch.equal(later[Draw(1, 4)].source, HEADS[Draw(4, 4)].source)
    assert not torch.equal(SyntheticHeads(32, 2, seed=6).identity(0).skin, HEADS.identity(0).skin)


def test_a_performance_is_smooth_and_blinks():
    expression, pose = performance(np.random.default_rng(0), 250)
    yaw, pitch = pose.degrees[1], pose.degrees[0]
    assert yaw.diff().abs().max() < 4
    assert pitch.diff().abs().max() < 4
    assert yaw.max() - yaw.min() > 15
    assert expression.blink_left.max() == 1
    assert expression.blink_left.median() == 0
    assert expression.jaw.max() > 0.4
    assert expression.jaw.diff().abs().max() < 0.5
    for f in fields(expression):
        assert getattr(expression, f.name).abs().max() <= 1, f.name


def test_a_clip_is_the_same_head_in_motion():
    first, second, *_ = frames = list(HEADS.clip(1, 5))
    assert len(frames) == 5
    assert first.shape == (32, 32, 3)
    assert first.dtype == np.uint8
    assert 0 < np.abs(first.astype(int) - second).mean() < 20


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: SyntheticHeads(32, 0, seed=0), "identities >= 1, .* got 0"),
        (lambda: SyntheticHeads(32, 1, seed=-1), "seed >= 0 .* got 1, -1"),
        (lambda: SyntheticHeads(33, 1, seed=0), r"multiple of 4, got 33 \* 2"),
        (lambda: render(people(2), Expression.neutral(1), lively(2)[1], 32), "got 2, 1 and 2"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        wrong()


def test_an_identity_that_is_not_there_is_refused():
    with pytest.raises(IndexError, match="from 0 to 11, got 12"):
        HEADS.identity(12)
