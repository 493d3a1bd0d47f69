# SPDX-License-Identifier: Apache-2.0
"""The weights that ship: what their card says is what they are."""

import hashlib
import json
import re
from dataclasses import asdict

import pytest
import torch

from fv2v import Reenactor, View
from fv2v.checkpoints import SHIPPED
from fv2v.data.synthetic import LANDMARKS
from fv2v.geometry import Motion
from fv2v.metrics.evaluation import evaluate
from fv2v.metrics.held_out import HeldOut
from fv2v.presets import STARTER

WEIGHTS = SHIPPED["starter"]
CARD = WEIGHTS.with_name("MODEL_CARD.md")
SCENES = {"identities": 2, "frames": 4, "pairs": 1}  # the first of those that the card's table is of


@pytest.fixture(scope="module")
def starter() -> Reenactor:
    return Reenactor("starter")


def test_the_card_is_of_this_file():
    said = re.search(r"SHA-256 `([0-9a-f]{64})`", CARD.read_text())
    assert said is not None
    assert said[1] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()


def test_it_is_small_and_half(starter):
    assert WEIGHTS.stat().st_size <= 16e6
    assert starter.config == STARTER
    assert len(LANDMARKS) == STARTER.keypoints


@pytest.mark.slow
def test_the_card_says_what_it_scores(starter):
    """On the first heads of its table, number by number."""
    found = re.search(r"<!-- (\{.*?\}) -->", CARD.read_text(), flags=re.DOTALL)
    assert found is not None
    said = json.loads(found[1])
    results = asdict(evaluate(starter, HeldOut(size=STARTER.output_size, **SCENES)).results)
    got = {
        "l1": results["model"]["same_identity"]["l1"],
        "psnr": results["model"]["same_identity"]["psnr"],
        "free_view_gain": results["model"]["free_view"]["psnr_gain"],
        "cross_l1": results["model"]["cross_absolute"]["l1"],
    } | results["motion"]
    assert got == pytest.approx(said, rel=0.01)
    assert results["model"]["same_identity"]["l1_ratio"] < 1


def test_a_view_that_asks_for_nothing_changes_nothing(starter):
    picture = HeldOut(size=STARTER.output_size, identities=1, frames=2, pairs=0)[0].frames
    source = starter.encode(picture[:1])
    plain = starter.render(source, source.motion)
    for view in (View(), View(yaw=0.0), View(pitch=0.0, yaw=0.0, roll=0.0, translation=(0.0, 0.0, 0.0))):
        assert torch.equal(starter.render(source, source.motion, view=view), plain)
    several = starter.render(source, Motion.cat([source.motion] * 2), view=[View(yaw=0), View(yaw=25)])
    assert float((several[0] - several[1]).abs().mean()) > 0.01
