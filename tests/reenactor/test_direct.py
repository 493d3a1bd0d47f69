# SPDX-License-Identifier: Apache-2.0
"""Models that read keypoints in each picture (First Order Motion), and flat ones, from end to end."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from graphs import on_the_path
from tiny import DIRECTS, TINY, TINY_2D, TINY_FOMM, assert_frames_close, encoded, lively, pictures

from fv2v import Edit, MotionSequence, Reenactor, Stream, View, read_motion, write_motion
from fv2v.codec import MotionEncoder
from fv2v.engine.frame import FrameKind, FrameNetwork
from fv2v.geometry import Motion, Source, direct_motion, place
from fv2v.geometry.hull import hull_area, movement_scale
from fv2v.geometry.plane import embedded
from fv2v.io.timing import Timing
from fv2v.pipelines.anchor import nearest

ALL = pytest.mark.parametrize("config", DIRECTS, ids=lambda config: config.name)
WAYS = {
    "absolute": {},
    "relative": {"relative": True},
    "scaled": {"relative": True, "adapt_scale": True},
    "steady": {"relative": True, "steady": True},
    "multiplied": {"edit": Edit(multiplier=1.5)},
}


def made(config, **options) -> Reenactor:
    return lively(Reenactor(config, weights="random", device="cpu", **options))


@pytest.mark.parametrize("way", WAYS)
@ALL
def test_arranged_networks_animate_alike(config, way):
    frames = pictures(4, seed=1)
    found = [
        list(each.animate(encoded(each), frames, **WAYS[way]))
        for each in (made(config), made(config, optimize=False))
    ]
    assert_frames_close(*found)
    assert not np.array_equal(*found[0][-2:]), "no motion would be seen"


@ALL
def test_motion_goes_through_a_file(config, tmp_path):
    reenactor = made(config)
    motion = reenactor.extract(pictures(3, seed=1))
    assert motion.jacobians.shape == (3, 5, 3, 3)
    sequence = MotionSequence(motion, Timing.even(3, Fraction(25)), config.name)
    write_motion(tmp_path / "motion.npz", sequence)
    read = read_motion(tmp_path / "motion.npz").motion
    assert torch.equal(read.jacobians, motion.jacobians)
    source = encoded(reenactor)
    found, expected = (list(reenactor.animate(source, each, relative=True)) for each in (read, motion))
    assert_frames_close(found, expected)
    without = replace(motion, jacobians=None)
    with pytest.raises(ValueError, match="frames: expected one with Jacobians, got one without"):
        next(reenactor.animate(source, without))
    with pytest.raises(ValueError, match="frames: expected one without Jacobians, got one with"):
        next(made(TINY).animate(encoded(made(TINY)), motion))


@ALL
def test_what_needs_a_pose_is_refused(config):
    reenactor = made(config)
    source, frame = encoded(reenactor), pictures(1)[0]
    motion = reenactor.extract(frame)
    refused = rf"^'{config.name}' reads keypoints .* no pose of the head: it cannot show "
    for call in (
        lambda: next(reenactor.animate(source, [frame], view=View(yaw=10))),
        lambda: reenactor.render(source, motion, view=View(yaw=10)),
        lambda: reenactor.imitate(source, frame, view=View(yaw=10)),
        lambda: FrameKind(view="compose").check(config),
    ):
        with pytest.raises(ValueError, match=refused + "a view"):
            call()
    with pytest.raises(ValueError, match=refused + "a frontal face"):
        reenactor.frontalize(source)
    for edit in (Edit(region="pose"), Edit(strength=0.5), Edit(still=motion)):
        with pytest.raises(ValueError, match=refused + "an expression without it"):
            next(reenactor.animate(source, [frame], edit=edit))
    with pytest.raises(ValueError, match="which the bitstream does not carry"):
        MotionEncoder(config)


@ALL
def test_live_frames_by_graphs(config):
    found = []
    for reenactor in (made(config), on_the_path(config, "cpu")):
        stream = Stream(reenactor, encoded(reenactor), relative=True)
        images = []
        with stream:
            for i, frame in enumerate(pictures(4, seed=1)):
                stream.push(frame, time=i / 25)
                images.append(stream.get().image)
        found.append(images)
    assert_frames_close(*found)
    assert reenactor.runner.graphs.capture.count == 2


@pytest.mark.parametrize("extract", [True, False])
@ALL
def test_a_frame_as_a_function_of_tensors(config, extract):
    reenactor = made(config, optimize=False)
    source, motion = encoded(reenactor), reenactor.extract(pictures(2, seed=1))
    anchor, frame = motion[:1], motion[1:]
    kind = FrameKind(relative=True, adapt_scale=True, extract=extract)
    network = FrameNetwork(reenactor.model, kind)
    assert "source_jacobians" in network.inputs
    assert "anchor_jacobians" in network.inputs
    driving = reenactor.runner.images(torch.from_numpy(pictures(2, seed=1)[1][None])) if extract else frame
    movement = movement_scale(source, anchor)
    with torch.inference_mode():
        found = network(*network.arguments(driving, source, anchor, movement))
        placed = reenactor.model.place(source, frame, anchor, movement=movement)
        torch.testing.assert_close(found, reenactor.model.render(source, placed))


def flat_source(keypoints: torch.Tensor, jacobians: torch.Tensor) -> Source:
    motion = direct_motion(keypoints, jacobians)
    nothing, volume = torch.zeros_like(keypoints), torch.zeros(1, 4, 1, 2, 2, dtype=keypoints.dtype)
    return Source(volume, volume, nothing, None, motion, keypoints)


def drawn(count: int, seed: int) -> Motion:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 6, 2, generator=generator, dtype=torch.float64) * 2 - 1
    turns = torch.eye(2, dtype=torch.float64) + 0.2 * torch.randn(
        count, 6, 2, 2, generator=generator, dtype=torch.float64
    )
    return direct_motion(torch.nn.functional.pad(points, (0, 1)), embedded(turns))


def test_transfer_is_the_releases_formula():
    """In its own two dimensions."""
    own, driver = drawn(1, 0), drawn(2, 1)
    source = flat_source(own.expression, own.jacobians)
    anchor, frame = driver[:1], driver[1:]
    movement = movement_scale(source, anchor)
    s, d, d0 = (each.expression[..., :2] for each in (own, frame, anchor))
    J_s, J_d, J_0 = (each.jacobians[..., :2, :2] for each in (own, frame, anchor))
    a = (hull_area(s[0].numpy()) / hull_area(d0[0].numpy())) ** 0.5
    assert movement.item() == pytest.approx(a, rel=1e-12)
    geometry = TINY_FOMM.geometry
    absolute = place(source, frame, geometry=geometry)
    relative = place(source, frame, anchor, geometry=geometry, movement=movement)
    torch.testing.assert_close(absolute.kp_driving[..., :2], d)
    torch.testing.assert_close(absolute.affine[..., :2, :2], J_s @ J_d.inverse())
    torch.testing.assert_close(relative.kp_driving[..., :2], s + a * (d - d0))
    moved = J_d @ J_0.inverse() @ J_s
    torch.testing.assert_close(relative.affine[..., :2, :2], J_s @ moved.inverse())
    assert not relative.kp_driving[..., 2].any()


def test_areas_of_hulls():
    square = np.array([(0, 0), (2, 0), (2, 2), (0, 2), (1, 1), (1, 0), (0.5, 1.5), (2, 0)], dtype=float)
    assert hull_area(square) == 4
    assert hull_area(square[::-1] @ [[0, 1], [-1, 0]] + 5) == pytest.approx(4)
    assert hull_area(square[:1]) == hull_area(np.linspace(0, 1, 9)[:, None] * [1, 3]) == 0
    own = drawn(1, 0)
    line = direct_motion(own.expression * torch.tensor([1.0, 0, 0]), own.jacobians)
    with pytest.raises(ValueError, match="keypoints that span an area, got them in one line"):
        movement_scale(flat_source(own.expression, own.jacobians), line)


def test_the_best_anchor_lies_as_the_source_does():
    """Wherever it is in the picture, and however large."""
    own, others = drawn(1, 0), drawn(3, 1)
    points = own.expression * 0.5 + torch.tensor([0.3, -0.2, 0.0], dtype=torch.float64)
    like = direct_motion(points, own.jacobians)
    motion = Motion.cat([others[:2], like, others[2:]])
    assert nearest(motion, flat_source(own.expression, own.jacobians), TINY_FOMM.geometry) == 2


def test_flat_models_see_keypoints_in_the_picture():
    """And have views all the same: a head turns in depth, the flow does not."""
    model = made(TINY_2D, optimize=False).model
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        source = model.encode(picture)
        assert source.canonical[..., 2].any()
        front, turned = (model.place(source, source.motion, view=view) for view in (None, View(yaw=30)))
        image = model.render(source, turned)
        assert not torch.allclose(image, model.render(source, front))
        raised = replace(source, keypoints=source.keypoints + torch.tensor([0, 0, 0.7]))
        torch.testing.assert_close(model.render(raised, turned), image)
