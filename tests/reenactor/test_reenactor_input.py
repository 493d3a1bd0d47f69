# SPDX-License-Identifier: Apache-2.0
"""What the Reenactor says to input that it cannot use: one clear line, before work is lost."""

import warnings
from dataclasses import replace

import clips
import numpy as np
import pytest
import torch
from motion_samples import moving
from tiny import TINIES, TINY, TINY_VOX, assert_frames_close, driving, encoded, pictures

from fv2v import Reenactor, View
from fv2v.face.portrait import crop_portrait
from fv2v.io.image import write_image


@pytest.fixture(scope="module")
def reenactors() -> dict[str, Reenactor]:
    return {config.name: Reenactor(config, weights="random") for config in (TINY, TINY_VOX)}


def test_without_weights_it_says_where_they_come_from():
    with pytest.raises(
        ValueError, match=r"weights=PATH \(--weights PATH\) .*github.com/zhanglonghao1992.*\"random\".*grey"
    ) as told:
        Reenactor("vox-256")
    assert "timing and plumbing" in str(told.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"preset": "vox", "weights": "random"}, "one of face-vid2vid-256"),
        ({"weights": "random"}, "needs one of .*; got no preset"),
        ({"preset": TINY, "weights": "random", "device": "cuda:99"}, "cannot run on the device 'cuda:99'"),
        ({"preset": TINY, "weights": "random", "device": "abacus"}, "cannot run on the device 'abacus'"),
        ({"preset": TINY, "weights": "random", "dtype": "int8"}, "float32, float16, bfloat16, float64"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments, told):
    with pytest.raises(ValueError, match=told):
        Reenactor(**arguments)


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (np.zeros((4, 4, 4), np.uint8), r"\(H, W, 3\) uint8 array, got \(4, 4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), r"got .* float32"),
        (np.zeros((0, 4, 3), np.uint8), r"got \(0, 4, 3\)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), r"float tensor .* got \(3, 4, 4\) torch.uint8"),
        (torch.zeros(1, 4, 4), r"got \(1, 4, 4\)"),
        (torch.full((3, 4, 4), 255.0), r"in \[0, 1\], got values from 255 to 255"),
        (torch.full((3, 4, 4), torch.nan), "got values from nan"),
        (None, "a path, a PIL image, .* got NoneType"),
    ],
)
def test_a_picture_that_is_none_is_refused(reenactors, picture, told):
    with pytest.raises(ValueError, match=told):
        reenactors["tiny"].encode(picture)


@pytest.mark.parametrize("kind", ["array", "tensor", "path", "PIL"])
@pytest.mark.parametrize(("width", "height"), [(400, 300), (31, 33), (512, 1)])
def test_a_squeezed_picture_is_warned_of_once_with_its_size(reenactors, tmp_path, kind, width, height):
    """Here, where the caller stands; nothing is said of squares, nor of a size again."""
    reenactor, pixels = Reenactor(TINY, weights="random"), np.zeros((height, width, 3), np.uint8)
    write_image(tmp_path / "wide.png", pixels)
    shown = {
        "array": pixels,
        "tensor": torch.zeros(3, height, width),
        "path": tmp_path / "wide.png",
        "PIL": Converts(pixels),
    }[kind]
    told = rf"{width}x{height} pixels is squeezed to 32x32.*fv2v\.crop_face\(picture\)"
    with pytest.warns(UserWarning, match=told) as caught:
        reenactor.encode(shown)
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = reenactor.encode(shown)
        reenactor.encode(pictures(1, size=48)[0])
        reenactor.extract([shown, shown])
        list(reenactor.animate(source, [shown] * 3))


@pytest.mark.parametrize(
    "drive",
    [
        lambda reenactor, source, wide: reenactor.extract([wide, wide]),
        lambda reenactor, source, wide: list(reenactor.animate(source, [wide] * 3)),
        lambda reenactor, source, wide: reenactor.imitate(source, wide),
    ],
    ids=["extract", "animate", "imitate"],
)
def test_squeezed_drivers_are_warned_of_too(drive):
    reenactor = Reenactor(TINY, weights="random")
    source, wide = reenactor.encode(pictures(1)[0]), np.zeros((20, 40, 3), np.uint8)
    with pytest.warns(UserWarning, match="40x20 pixels is squeezed") as caught:
        drive(reenactor, source, wide)
    assert len(caught) == 1


def test_what_the_warning_names_crops():
    image = crop_portrait(clips.PORTRAIT).image
    assert image.shape[0] == image.shape[1]


class Converts:
    """What is known of a PIL image: that it converts itself."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def convert(self, mode: str) -> np.ndarray:
        assert mode == "RGB"
        return self.pixels


def test_a_missing_portrait_is_named(reenactors):
    with pytest.raises(FileNotFoundError, match=r"nobody\.png"):
        reenactors["tiny"].encode("nobody.png")


def test_bad_arguments_to_animate_are_told_before_a_frame_is_read(reenactors):
    pose, keypoint = reenactors["tiny"], reenactors["tiny-vox"]
    source = pose.encode(pictures(1)[0])
    anchor = pose.extract(pictures(2))

    def never():
        raise AssertionError("a frame was read")
        yield

    for arguments, told in (
        ({"batch_size": 0}, "batch_size >= 1, got 0"),
        ({"view": 20}, "expected a View, or an iterable of them, got 20"),
        ({"relative": False, "anchor": anchor[:1]}, "an anchor needs relative=True"),
        ({"anchor": anchor}, "an anchor of one frame, got 2"),
        ({"anchor": None, "adapt_scale": True}, "`keypoint` transfer"),
    ):
        with pytest.raises(ValueError, match=told):
            pose.animate(source, never(), **arguments)
    with pytest.raises(ValueError, match=r"expected a View, .* got 20"):
        list(pose.animate(source, pictures(1), view=[20]))
    with pytest.raises(ValueError, match="relative=False"):
        keypoint.animate(keypoint.encode(pictures(1)[0]), never(), relative=False, adapt_scale=True)
    with pytest.raises(ValueError, match=r"the path 'driving\.mp4'; fv2v\.read_video"):
        pose.animate(source, "driving.mp4")
    two = pose.encode(torch.zeros(2, 3, 32, 32))
    for method in (lambda: pose.animate(two, never()), lambda: pose.frontalize(two)):
        with pytest.raises(ValueError, match=r"expected one source .* got 2"):
            method()
    with pytest.raises(ValueError, match="at least one picture"):
        pose.extract([])


def test_nan_in_a_given_motion_is_refused(reenactors):
    reenactor = reenactors["tiny"]
    source, motion = reenactor.encode(pictures(1)[0]), reenactor.extract(pictures(1, seed=1)[0])
    broken = replace(motion, translation=torch.full((1, 3), torch.nan))
    with pytest.raises(ValueError, match="motion of the frames: translation holds NaN"):
        reenactor.render(source, broken)
    with pytest.raises(ValueError, match="motion of the anchor: translation holds NaN"):
        reenactor.render(source, motion, broken)
    with pytest.raises(ValueError, match="motion of the anchor"):
        reenactor.animate(source, [], anchor=broken)


def test_batches_that_do_not_meet_are_refused(reenactors):
    reenactor = reenactors["tiny"]
    sources, motion = reenactor.encode(torch.zeros(2, 3, 32, 32)), reenactor.extract(pictures(3))
    with pytest.raises(ValueError, match="a source of 1 or 3, as the motion has, got 2"):
        reenactor.render(sources, motion)
    assert reenactor.render(sources, motion[:2], motion[2:]).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("config", TINIES, ids=lambda config: config.name)
def test_motion_moves_as_what_it_was_read_from(config):
    reenactor = moving(config)
    source, drivers = encoded(reenactor), driving(config, 5, seed=1)
    motion = reenactor.extract(drivers)
    for options in ({}, {"relative": False, "view": View(yaw=9)}, {"batch_size": 2}):
        expected = list(reenactor.animate(source, drivers, **options))
        assert_frames_close(list(reenactor.animate(source, motion, **options)), expected)
    with pytest.raises(ValueError, match="motion of the frames: translation holds NaN"):
        reenactor.animate(source, replace(motion, translation=motion.translation * torch.nan))
