# SPDX-License-Identifier: Apache-2.0
"""Drawn heads that look photographed: the same people, wider expressions, and what hides them is known."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from fv2v.data.pairs import Draw
from fv2v.data.shards import HeadShards, write_shards
from fv2v.data.synthetic import (
    LANDMARKS,
    REGIONS,
    Expression,
    Identity,
    Pose,
    SyntheticHeads,
    landmarks,
    regions,
    render,
    truth,
    without_occluders,
)
from fv2v.data.synthetic.hand import Hand
from fv2v.data.synthetic.photo import Camera, Photo, photographed

PLAIN = SyntheticHeads(32, 12, seed=5)
PHOTOGRAPHS = SyntheticHeads(32, 12, seed=5, look="photograph")
# the first of PLAIN[Draw(3, 11)] as 4 × 4 means of its green, of 255
OLD = (
    145.7,
    131.5,
    127.7,
    139.2,
    133.2,
    108.5,
    128.7,
    121.0,
    132.8,
    123.1,
    117.0,
    112.4,
    126.5,
    122.8,
    119.7,
    118.0,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def some(count: int, **hats: Tensor) -> tuple[Identity, Pose]:
    """Photographed people who look ahead, with hats and hands."""
    rng = np.random.default_rng(2)
    photo = replace(Photo.sample(rng, count), hat=torch.ones(count), **hats)
    hand = replace(Hand.sample(rng, count), shown=torch.ones(count))
    still = torch.zeros(count)
    pose = replace(Pose.at(still, still, still), hand=hand)
    return replace(Identity.sample(rng, count), photo=photo), pose


def test_the_plain_look_stays_as_it_was():
    """Scores of older models are of these pictures."""
    picture = PLAIN[Draw(3, 11)].source[0, 1].float()
    found = avg_pool2d(picture[None], 8).flatten()
    torch.testing.assert_close(found, torch.tensor(OLD), rtol=0, atol=0.3)


def test_the_same_people_are_photographed():
    """Their landmarks too; the pictures are other ones, and the same each time."""
    plain, photo = PLAIN.identity(4), PHOTOGRAPHS.identity(4)
    assert plain.photo is None
    for each in fields(Identity):
        if each.name != "photo":
            assert torch.equal(getattr(photo, each.name), getattr(plain, each.name)), each.name
    assert [PHOTOGRAPHS.identity(i).photo is None for i in range(8)] == [False, False, False, True] * 2
    neutral = Expression.neutral(1)
    assert torch.equal(landmarks(photo, neutral), landmarks(plain, neutral))
    pair, again = (PHOTOGRAPHS[Draw(4, 9)] for _ in range(2))
    assert torch.equal(pair.driving, again.driving)
    assert not torch.equal(pair.driving, PLAIN[Draw(4, 9)].driving)
    with pytest.raises(ValueError, match="expected a look, one of plain, photograph; got 'film'"):
        SyntheticHeads(32, 1, 0, look="film")


def test_expressions_are_wider():
    rng = np.random.default_rng(0)
    plain, wide = Expression.sample(rng, 500), Expression.sample(rng, 500, wide=True)
    assert max(each.abs().max() for each in (plain.teeth, plain.tongue, plain.frown)) == 0
    for name in ("teeth", "tongue", "frown"):
        assert 0.2 < (getattr(wide, name) > 0).float().mean() < 0.5
    assert plain.smile.max() <= 1 < 1.3 < wide.smile.max()
    assert plain.gaze_x.abs().max() <= 1 < 1.3 < wide.gaze_x.abs().max()


def test_what_new_expressions_do_their_landmarks_do():
    identity = PHOTOGRAPHS.identity(0).repeat(3)
    neutral, one = Expression.neutral(3), torch.ones(3)
    at = {name: i for i, name in enumerate(LANDMARKS)}
    still = landmarks(identity, neutral)
    bared = landmarks(identity, replace(neutral, teeth=one)) - still
    assert (bared[:, at["lip_upper"], 1] < -0.02).all()
    assert (bared[:, at["lip_lower"], 1] > 0.02).all()
    frowning = landmarks(identity, replace(neutral, frown=one)) - still
    assert (frowning[:, at["brow_inner_left"], 1] > 0.02).all()
    assert frowning[:, at["brow_outer_right"], 1].abs().max() < 0.01
    straight = Pose.at(*torch.zeros(3, 3))
    closed, smiling = (
        render(identity, each, straight, 64) for each in (neutral, replace(neutral, teeth=one))
    )
    mouth = regions(identity, replace(neutral, teeth=one), straight, 64) == REGIONS.index("mouth")
    brighter = (smiling - closed).amin(1)[mouth]
    assert (brighter > 0.2).float().mean() > 0.03, "teeth are seen"


def test_what_hats_and_hands_hide_is_known():
    """Where they are is in the map of regions; without them the same person is drawn, and nothing else."""
    identity, pose = some(4)
    expression = Expression.neutral(4)
    shown = regions(identity, expression, pose, 64) == REGIONS.index("occluder")
    assert (shown.flatten(1).float().mean(1) > 0.08).all()
    bare = without_occluders(identity, pose)
    assert not (regions(bare[0], expression, bare[1], 64) == REGIONS.index("occluder")).any()
    changed = (
        (render(identity, expression, pose, 64) - render(bare[0], expression, bare[1], 64)).abs().amax(1)
    )
    assert (changed[shown] > 0.02).float().mean() > 0.9
    assert (changed[~shown] > 0.25).float().mean() < 0.03, "but for edges and shadows"
    for ours, plain in zip(
        truth(identity, expression, pose), truth(bare[0], expression, bare[1]), strict=True
    ):
        ours, plain = (each if isinstance(each, Tensor) else each.expression for each in (ours, plain))
        assert torch.equal(ours, plain), "what is hidden is where it was"


def test_a_camera():
    """Each of its faults alone; without any it changes little but the brightest."""
    picture = render(PLAIN.identity(1), Expression.neutral(1), Pose.at(*torch.zeros(3, 1)), 64)
    one = torch.ones(1)
    none = Camera(one, torch.ones(1, 3), 0 * one, 0 * one, 100 * one, 0 * one)
    clean = photographed(picture, none)
    assert (clean - picture).abs().max() < 0.06
    assert photographed(picture, replace(none, exposure=0.7 * one)).mean() < clean.mean() - 0.05

    def roughness(found: Tensor) -> float:
        return float(found.diff(dim=-1).square().mean())

    assert roughness(photographed(picture, replace(none, blur=1.5 * one))) < 0.8 * roughness(clean)
    noisy = photographed(picture, replace(none, noise=0.05 * one)) - clean
    assert 0.02 < float(noisy.std()) < 0.08
    assert not torch.equal(noisy, photographed(picture, replace(none, noise=0.05 * one, seed=one)) - clean)
    stored = (photographed(picture, replace(none, quality=quality * one)) - clean for quality in (95, 40))
    better, worse = (float(each.abs().mean()) for each in stored)
    assert 0 < better < worse < 0.05


def test_a_clip_has_one_camera():
    """Or a frame could not be foretold from another; its noise is its own."""
    cameras = Camera.sample(np.random.default_rng(0), 20)
    clip = cameras[:1].of_a_clip(np.random.default_rng(1), 5)
    assert torch.equal(clip.quality, cameras.quality[:1].expand(5))
    assert len(set(clip.seed.tolist())) == 5
    assert (clip.exposure / cameras.exposure[0] - 1).abs().max() < 0.04 < cameras.exposure.std()


def test_shards_know_their_look(tmp_path):
    write_shards(tmp_path / "new", SyntheticHeads(16, 2, seed=1, look="photograph"), frames=2)
    new = HeadShards(tmp_path / "new")
    assert new.index.look == new.heads.look == "photograph"
    drawn = new.heads.pictures(1, 0, *new.heads.frames(1, 2, 0))
    stored = new[Draw(1, 3)]
    assert any(torch.equal(stored.source[0], each) for each in drawn)
    with pytest.raises(ValueError, match="was begun with look photograph, not plain"):
        write_shards(tmp_path / "new", SyntheticHeads(16, 2, seed=1), frames=2)
    described = json.loads((tmp_path / "new" / "heads.json").read_text())
    del described["look"]
    (tmp_path / "new" / "heads.json").write_text(json.dumps(described))
    assert HeadShards(tmp_path / "new").index.look == "plain", "as earlier versions wrote it"
    (tmp_path / "new" / "heads.json").write_text(json.dumps(described | {"look": "film"}))
    with pytest.raises(ValueError, match="expected a look, one of plain, photograph; got film"):
        HeadShards(tmp_path / "new")
