# SPDX-License-Identifier: Apache-2.0
"""Measures of pictures against their formulas in NumPy."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from fv2v.metrics.akd import akd
from fv2v.metrics.csim import csim
from fv2v.metrics.pictures import gradient_distance, l1, ms_ssim, ms_ssim_scales, psnr, ssim

MEASURES = (l1, psnr, ssim, ms_ssim, gradient_distance)


def batch(count: int = 3, side: int = 32, seed: int = 0) -> torch.Tensor:
    """Smooth pictures, which have a structure to be similar in."""
    noise = np.random.default_rng(seed).random((count, 3, side, side))
    smooth = gaussian_filter(noise, (0, 0, 2, 2))
    return torch.from_numpy((smooth - smooth.min()) / np.ptp(smooth)).float()


def test_l1_is_on_the_scale_of_levels():
    images, true = batch(), batch(seed=1)
    expected = np.abs(255.0 * images.double().numpy() - 255.0 * true.double().numpy()).mean((1, 2, 3))
    np.testing.assert_allclose(l1(images, true), expected, rtol=1e-5)
    assert l1(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)).tolist() == [255]


def test_psnr_of_each_picture():
    images, true = batch(), batch(seed=1)
    squares = ((images.double() - true.double()) ** 2).numpy().mean((1, 2, 3))
    np.testing.assert_allclose(psnr(images, true), 10 * np.log10(1 / squares), rtol=1e-5)
    assert psnr(images, images).tolist() == [100] * 3, "finite, so that it can be averaged"


def ssim_by_scipy(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Of (3, H, W): SSIM, mirrored at the edges; its contrast term, over the windows that lie inside."""

    def blur(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, (0, 1.5, 1.5), truncate=5 / 1.5, mode="mirror")

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    contrast = (2 * (blur(a * b) - mean_a * mean_b) + 0.03**2) / (var_a + var_b + 0.03**2)
    light = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    return float((light * contrast).mean()), float(contrast[:, 5:-5, 5:-5].mean())


def test_ssim_of_each_picture():
    images, true = batch(), batch(seed=1)
    pairs = zip(images.double().numpy(), true.double().numpy(), strict=True)
    expected = [ssim_by_scipy(a, b)[0] for a, b in pairs]
    np.testing.assert_allclose(ssim(images, true), expected, atol=1e-4)


def test_ms_ssim_of_few_scales_has_the_whole_weight():
    """32 px take two scales of the five, weighted 0.0448 to 0.2856."""
    images = batch()
    true = (images + 0.1 * batch(seed=1)).clamp(0, 1)
    assert ms_ssim_scales(32) == 2
    weights = np.array([0.0448, 0.2856]) / (0.0448 + 0.2856)
    pairs = zip(images.double().numpy(), true.double().numpy(), ms_ssim(images, true), strict=True)
    for a, b, found in pairs:
        halves = [x.reshape(3, 16, 2, 16, 2).mean((2, 4)) for x in (a, b)]
        expected = ssim_by_scipy(a, b)[1] ** weights[0] * ssim_by_scipy(*halves)[0] ** weights[1]
        assert float(found) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("side", "scales"), [(11, 1), (32, 2), (64, 3), (96, 3), (99, 4), (128, 4), (176, 5), (256, 5)]
)
def test_ms_ssim_takes_the_scales_that_fit(side, scales):
    assert ms_ssim_scales(side) == scales
    images = batch(1, side)
    assert ms_ssim(images, images).tolist() == pytest.approx([1])


def test_gradient_distance_in_numpy():
    images, true = batch(), batch(seed=1)
    a, b = images.double().numpy(), true.double().numpy()
    expected = 0.0
    for _ in range(3):
        for axis in (2, 3):
            expected = expected + np.abs(np.diff(a, axis=axis) - np.diff(b, axis=axis)).mean((1, 2, 3))
        n = a.shape[-1] // 2
        a, b = (x.reshape(3, 3, n, 2, n, 2).mean((3, 5)) for x in (a, b))
    np.testing.assert_allclose(gradient_distance(images, true), expected, rtol=1e-5)
    brighter = 0.5 * images + 0.1
    assert torch.allclose(gradient_distance(brighter, brighter + 0.3), torch.zeros(3), atol=1e-5)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)
def test_measures_look_at_each_picture_alone(measure):
    images, true = batch(), batch(seed=1)
    found = measure(images, true)
    assert found.shape == (3,)
    alone = [float(measure(images[i : i + 1], true[i : i + 1])) for i in range(3)]
    torch.testing.assert_close(found, torch.tensor(alone), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)
def test_pictures_that_do_not_fit(measure):
    with pytest.raises(ValueError, match=r"of one size, got \(3, 3, 32, 32\) and \(1, 3, 32, 32\)"):
        measure(batch(), batch(1))
    with pytest.raises(ValueError, match=r"in \[0, 1\], floating point; got torch.uint8"):
        measure(batch().byte(), batch())


def test_too_small_for_ssim():
    with pytest.raises(ValueError, match="at least 11 pixels on a side, got 8"):
        ms_ssim(batch(side=8), batch(side=8))


def test_torchmetrics_is_imported_when_it_is_asked_for():
    program = "import sys, fv2v.metrics; sys.exit('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_torchmetrics(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    assert l1(batch(), batch()).tolist() == [0] * 3
    with pytest.raises(ValueError, match=r"needs torchmetrics: pip install '\.\[train\]' in the"):
        ssim(batch(), batch())


def brightest(pictures: torch.Tensor) -> torch.Tensor:
    """A detector: where each colour is brightest, (B, 3, 2) x and y."""
    place = pictures.flatten(2).argmax(-1)
    return torch.stack([place % pictures.shape[3], place // pictures.shape[3]], dim=-1)


def test_akd_is_the_mean_distance_in_pixels():
    images = torch.zeros(2, 3, 16, 16)
    images[:, :, 5, 5] = 1
    moved = images.roll((3, 4), dims=(2, 3))  # 3 down, 4 to the right
    assert akd(brightest, images, moved).tolist() == [5, 5]
    moved[1] = images[1]
    moved[0, 0] = images[0, 0]
    found = akd(brightest, images, moved).tolist()
    assert found == pytest.approx([10 / 3, 0])
    points = [brightest(x).double().numpy() for x in (images, moved)]
    expected = np.sqrt(((points[0] - points[1]) ** 2).sum(-1)).mean(-1)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    with pytest.raises(ValueError, match=r"expected landmarks \(B, N, 2\) of both batches, B=2"):
        akd(lambda pictures: brightest(pictures)[:, 0], images, moved)


def test_csim_is_the_cosine():
    pictures = torch.zeros(3, 3, 4, 4)
    for i, angle in enumerate((0, 60, 90)):  # in the plane of red and green
        pictures[i, 0], pictures[i, 1] = math.cos(math.radians(angle)), math.sin(math.radians(angle))

    def embedding(images: torch.Tensor) -> torch.Tensor:
        return 3 * images[:, :, 0, 0]

    assert csim(embedding, pictures, pictures[:1]).tolist() == pytest.approx([1, 0.5, 0], abs=1e-6)
    assert csim(embedding, pictures, pictures).tolist() == pytest.approx([1, 1, 1])
    with pytest.raises(ValueError, match="and of 1 or as many sources"):
        csim(embedding, pictures, pictures[:2])
