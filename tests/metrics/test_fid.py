# SPDX-License-Identifier: Apache-2.0
"""FID against scipy's matrix square root, and where that is not exact against singular values of the data."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from fv2v.metrics.fid import FeatureStatistics, FrechetDistance, frechet_distance


def statistics(features: np.ndarray, batches: int = 1) -> FeatureStatistics:
    gathered = FeatureStatistics()
    for batch in np.array_split(features, batches):
        gathered.add(torch.from_numpy(batch))
    return gathered


def draw(count: int, features: int, seed: int) -> np.ndarray:
    """Correlated, off centre, and of uneven size, as a network's are."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((features, features)) * np.geomspace(1, 1e-2, features)
    return rng.standard_normal((count, features)) @ mixing + rng.standard_normal(features)


def by_matrix_root(one: np.ndarray, other: np.ndarray) -> float:
    first, second = (np.cov(x, rowvar=False) for x in (one, other))
    means = one.mean(0) - other.mean(0)
    return float(means @ means + np.trace(first + second - 2 * sqrtm(first @ second).real))


def by_singular_values(one: np.ndarray, other: np.ndarray) -> float:
    """tr (Σ₁ Σ₂)^½ = |X₁ X₂ᵀ|_* of the centred data: no covariance, so exact for few pictures, too."""
    centred = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (one, other)]
    means = one.mean(0) - other.mean(0)
    common = np.linalg.norm(centred[0] @ centred[1].T, "nuc")
    return float(means @ means + sum((x**2).sum() for x in centred) - 2 * common)


@pytest.mark.parametrize(("counts", "features"), [((200, 300), 24), ((40, 500), 16), ((65, 65), 64)])
def test_it_is_scipys_square_root(counts, features):
    one, other = (draw(count, features, seed) for seed, count in enumerate(counts))
    expected = by_matrix_root(one, other)
    assert expected > 1, "the test would see nothing"
    assert frechet_distance(statistics(one), statistics(other)) == pytest.approx(expected, rel=1e-4, abs=0)


def test_fewer_pictures_than_features():
    one, other = draw(10, 64, 0), draw(25, 64, 1)
    expected = by_singular_values(one, other)
    assert frechet_distance(statistics(one), statistics(other)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [2, 10, 64, 500])
def test_a_set_against_itself_is_0_to_rounding(count):
    features = 100 + draw(count, 64, 0)
    gathered = statistics(features)
    assert frechet_distance(gathered, statistics(features)) < 1e-12 * float(gathered.covariance.trace())
    reordered = statistics(features[::-1].copy(), batches=min(count, 7))
    assert frechet_distance(gathered, reordered) < 1e-9 * float(gathered.covariance.trace())


def test_batches_are_one_set():
    """Whatever the batches' sizes; a large common offset costs no digits."""
    features = 1e4 + draw(101, 8, 0)
    gathered = statistics(features, batches=13)
    np.testing.assert_allclose(gathered.mean, features.mean(0), rtol=1e-14)
    np.testing.assert_allclose(gathered.covariance, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-12)


def test_the_network_is_an_argument():
    images, true = torch.rand(2, 9, 3, 8, 8)

    def colours(pictures: torch.Tensor) -> torch.Tensor:
        return pictures.mean((2, 3))

    distance = FrechetDistance(colours)
    distance.add(images[:4], true[:5])
    distance.add(images[4:], true[5:])
    expected = by_matrix_root(colours(images).double().numpy(), colours(true).double().numpy())
    assert distance.value() == pytest.approx(expected, rel=1e-4)


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="at least 2 pictures in each set, got 1"):
        frechet_distance(statistics(draw(1, 4, 0)), statistics(draw(5, 4, 0)))
    with pytest.raises(ValueError, match=r"expected features of one length, got 4 and 5"):
        frechet_distance(statistics(draw(9, 4, 0)), statistics(draw(9, 5, 0)))
    gathered = statistics(draw(9, 4, 0))
    with pytest.raises(ValueError, match=r"expected features \(B, 4\), got \(2, 5\)"):
        gathered.add(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"NaN"):
        gathered.add(torch.full((2, 4), torch.nan))
