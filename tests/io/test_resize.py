# SPDX-License-Identifier: Apache-2.0
"""Pictures resized as the releases resize them: by OpenCV, and by scikit-image's way of using scipy."""

import clips
import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from tiny import TINY_LIVEPORTRAIT, TINY_VOX, uncaptured

from fv2v import Reenactor
from fv2v.export import driving_input
from fv2v.face.crop import Box, cut
from fv2v.io.tensors import as_batch, to_images, to_uint8
from fv2v.presets import PRESETS

SIZES = [  # (H, W): a half, other parts, each axis by itself, larger, mixed, and hardly anything
    (512, 512), (600, 600), (1080, 1920), (300, 400), (257, 700),
    (256, 512), (100, 120), (700, 200), (255, 300), (3, 5), (1, 1),
]  # fmt: skip
OURS = ("face-vid2vid", "starter")


def noise(H: int, W: int) -> np.ndarray:
    return np.random.default_rng(H * W).integers(0, 256, (H, W, 3), dtype=np.uint8)


def opencv(image: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA).astype(float)


def scikit_image(image: np.ndarray, size: int) -> np.ndarray:
    """What `skimage.transform.resize(image, (size, size))` does, times 255."""
    factors = np.array([*image.shape[:2], size]) / size
    smooth = ndimage.gaussian_filter(
        image.astype(float), np.maximum(0, (factors - 1) / 2), mode="mirror", truncate=4
    )
    return ndimage.zoom(smooth, 1 / factors, order=1, mode="mirror", grid_mode=True)


RELEASES = {"area": opencv, "gaussian": scikit_image}


def levels(images: torch.Tensor) -> np.ndarray:
    return 255 * images[0].permute(1, 2, 0).double().numpy()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("resize", RELEASES)
def test_the_releases_kernels(resize, size):
    image = noise(*size)
    expected = RELEASES[resize](image, 256)
    found = levels(to_images(torch.from_numpy(image)[None], 256, resize))
    assert np.abs(found - expected).max() <= 1.001
    as_floats = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    assert np.abs(levels(to_images(as_floats, 256, resize)) - expected).max() <= 1.001
    if size == (512, 512):  # LivePortrait's crops: the same to the level
        assert np.abs(found - expected).max() < 1e-3


def test_the_kernels_differ_by_more_than_that():
    half = torch.from_numpy(clips.portrait()[:400, :400].copy())[None]
    seen = [levels(to_images(half, 256, resize)) for resize in ("triangle", "area", "gaussian")]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(seen[one] - seen[other]).max() > 3


def test_presets_have_their_releases_kernel():
    for name, config in PRESETS.items():
        if name.startswith(OURS):
            assert (config.resize, config.truncates) == ("triangle", False)
        elif name in ("liveportrait", "performrecast"):
            assert (config.resize, config.truncates) == ("area", True)
        else:
            assert (config.resize, config.truncates) == ("gaussian", False)


@pytest.mark.parametrize("config", [TINY_VOX, TINY_LIVEPORTRAIT], ids=lambda config: config.name)
def test_the_networks_see_the_releases_pixels(config):
    """A portrait's and a driver's, alone, in batches of one size or several, and as floats."""
    reenactor = Reenactor(config, weights="random", optimize=False)
    seen: list[torch.Tensor] = []
    reenactor.model.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    large, wide, small = noise(64, 64), noise(50, 81), noise(20, 20)
    reenactor.encode(large)
    reenactor.extract([large, large[::-1].copy()])
    reenactor.extract([wide, small])
    reenactor.extract(torch.from_numpy(wide).permute(2, 0, 1) / 255)
    source = reenactor.encode(small)
    list(reenactor.animate(source, [wide]))
    wanted = [[large], [large, large[::-1]], [wide, small], [wide], [small], [wide]]
    for images, pictures in zip(seen, wanted, strict=True):
        for image, picture in zip(images.split(1), pictures, strict=True):
            expected = RELEASES[config.resize](picture, 32)
            assert np.abs(levels(image) - expected).max() <= 1.001
    given = driving_input([wide], 32, config.resize)
    assert np.abs(levels(torch.from_numpy(given)) - RELEASES[config.resize](wide, 32)).max() <= 1.001


@pytest.mark.parametrize("side", [64, 81, 20])
@pytest.mark.parametrize("resize", RELEASES)
def test_crops_are_resized_so_too(resize, side):
    picture = noise(100, 120)
    found = cut(picture, Box(7, 9, side), 32, resize)
    assert found.dtype == np.uint8
    expected = RELEASES[resize](picture[9 : 9 + side, 7 : 7 + side], 32)
    assert np.abs(found - expected).max() <= 1


def test_our_own_presets_keep_theirs():
    picture = noise(100, 120)
    for side, how in ((64, cv2.INTER_AREA), (20, cv2.INTER_CUBIC)):
        inside = picture[9 : 9 + side, 7 : 7 + side]
        assert (cut(picture, Box(7, 9, side), 32) == cv2.resize(inside, (32, 32), interpolation=how)).all()
    images = torch.from_numpy(picture)[None].permute(0, 3, 1, 2).float() / 255
    torchs = torch.nn.functional.interpolate(images, (32, 32), mode="bilinear", antialias=True)
    assert torch.equal(to_images(torch.from_numpy(picture)[None], 32), torchs.clamp(0, 1))
    assert torch.equal(as_batch([picture, picture[1:]], 32, torch.device("cpu"))[:1], torchs.clamp(0, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("side", [32, 40])
def test_images_of_another_dtype_are_rounded_once(side, dtype):
    picture = torch.from_numpy(noise(side, side))[None]
    for levels in (picture, picture.permute(0, 3, 1, 2).float() / 255):
        assert torch.equal(to_images(levels, 32, dtype=dtype), to_images(levels, 32).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("truncate", [True, False])
def test_what_is_inside_needs_no_clipping(truncate, dtype):
    images = torch.cat([torch.linspace(0, 1, 1530), torch.randn(6)]).to(dtype).view(1, 3, 32, 16)
    inside = images.clamp(0, 1)
    assert torch.equal(to_uint8(inside, truncate=truncate, inside=True), to_uint8(images, truncate=truncate))


def test_a_frame_runs_the_same_however_it_runs():
    reenactor = Reenactor(TINY_LIVEPORTRAIT, weights="random")
    source, frames = reenactor.encode(noise(48, 48)), [noise(47, 70), noise(33, 20)]
    for one, other in zip(
        reenactor.animate(source, frames), uncaptured(reenactor).animate(source, frames), strict=True
    ):
        assert np.abs(one.astype(int) - other).max() <= 1
