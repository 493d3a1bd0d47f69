# SPDX-License-Identifier: Apache-2.0
"""A film that is moved: LivePortrait's formulas for source films, and what all presets have in common."""

import gc
import weakref

import numpy as np
import pytest
import torch
from tiny import (
    SEEING,
    TINY_LIVEPORTRAIT,
    TINY_SADTALKER,
    TINY_VOX,
    assert_frames_close,
    encoded,
    lively,
    pictures,
)

from fv2v import Edit, Motion, Reenactor, View
from fv2v.motion.kalman import AHEAD, smoothed
from fv2v.motion.ratios import Openness
from fv2v.reenactor.placement import place_edited

FRAMES = 2 * AHEAD + 3
REGIONS = {  # what of the driver's goes over: its pose, and these keypoints' expression
    "all": (True, range(21)),
    "expression": (False, range(21)),
    "pose": (True, ()),
    "lips": (False, (6, 12, 14, 17, 19, 20)),
    "eyes": (False, (11, 13, 15, 16, 18)),
}
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def liveportrait() -> Reenactor:
    return lively(Reenactor(TINY_LIVEPORTRAIT, weights="random"))


def rows(motions: list[Motion]) -> Arrays:
    """As LivePortrait's templates have them, of T frames, in float64: R is the transpose of ours."""
    motion = Motion.cat(motions)
    return {
        "R": motion.rotation.mT.double().cpu().numpy(),
        "exp": motion.expression.double().cpu().numpy(),
        "t": motion.translation.double().cpu().numpy()[:, None],
        "scale": motion.scale.double().cpu().numpy()[..., None],
    }


def kalman(read: np.ndarray) -> np.ndarray:
    """The Kalman smoother of any textbook, for (T, ...): states that stay, observed as they are."""
    values = read.reshape(len(read), -1)
    count = values.shape[1]
    one, moves, noise = np.eye(count), 1e-5 * np.eye(count), 3e-7 * np.eye(count)
    predicted = [(values[0], one)]  # mean and covariance of each frame, by those before it
    filtered = []
    for value in values:
        mean, covariance = predicted[-1]
        gain = covariance @ np.linalg.inv(covariance + noise)
        filtered.append((mean + gain @ (value - mean), covariance - gain @ covariance))
        predicted.append((filtered[-1][0], filtered[-1][1] + moves))
    means = [filtered[-1][0]]
    for i in range(len(values) - 2, -1, -1):
        back = filtered[i][1] @ np.linalg.inv(predicted[i + 1][1])
        means.insert(0, filtered[i][0] + back @ (means[0] - predicted[i + 1][0]))
    return np.reshape(means, read.shape)


def release_keypoints(
    canonical: np.ndarray, own: Arrays, driver: Arrays, relative: bool, region: str
) -> np.ndarray:
    """(T, 21, 3): x_d of LivePortrait's release for a source film, before stitching."""
    posed, members = REGIONS[region]
    if relative:
        turned = np.stack(
            [(R_d @ driver["R"][0].T) @ R_s for R_d, R_s in zip(driver["R"], own["R"], strict=True)]
        )
        expression = own["exp"] + driver["exp"] - driver["exp"][0]
    else:
        turned, expression = driver["R"], driver["exp"]
    turned, expression = kalman(turned), kalman(expression)
    taken = own["exp"].copy()
    for k in members:
        if k in (1, 2, 6, *range(11, 21)):
            taken[:, k] = expression[:, k]
        elif k in (3, 4):
            taken[:, k, 1] = expression[:, k, 1]
        elif k in (5, 8):
            taken[:, k, 2] = expression[:, k, 2]
        elif k == 9:
            taken[:, k, 1:] = expression[:, k, 1:]
    moved = (own["t"] if relative or not posed else driver["t"]).copy()
    moved[..., 2] = 0
    return own["scale"] * (canonical @ (turned if posed else own["R"]) + taken) + moved


@pytest.fixture
def placed(liveportrait, monkeypatch) -> list[torch.Tensor]:
    """Where the keypoints of each picture go that is made from now on."""
    found, begin = [], liveportrait.runner.begin

    def begun(frames, edits=()):
        found.append(place_edited(liveportrait.networks, frames, edits).kp_driving)
        return begin(frames, edits)

    monkeypatch.setattr(liveportrait.runner, "begin", begun)
    return found


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
def test_liveportraits_formulas(liveportrait, placed, relative, region, batch_size):
    film, driver = pictures(FRAMES, seed=1), pictures(FRAMES, seed=2)
    sources = [liveportrait.encode(picture) for picture in film]
    motions = [liveportrait.extract(picture) for picture in driver]
    options = {"relative": relative, "stitch": False, "edit": Edit(region=region)}
    shown = liveportrait.animate_film(zip(sources, driver, strict=True), batch_size=batch_size, **options)
    assert len(list(shown)) == FRAMES
    canonical = np.concatenate([source.canonical.double().cpu().numpy() for source in sources])
    own, driving = rows([source.motion for source in sources]), rows(motions)
    expected = release_keypoints(canonical, own, driving, relative, region)
    apart = np.abs(torch.cat(placed).double().cpu().numpy() - expected).max()
    assert apart <= 1e-5
    unmoved = np.concatenate([source.keypoints.double().cpu().numpy() for source in sources])
    assert np.abs(expected - unmoved).max() > 1e-3  # or it would be no test


def test_the_smoother_sees_as_far_as_it_must():
    """Of leaps as large as there are, seen over the window alone and over all frames."""
    generator = torch.Generator().manual_seed(0)
    read = [
        Motion(
            torch.randn(1, 3, 3, generator=generator),
            torch.randn(1, 3),
            torch.randn(1, 4, 3),
            torch.ones(1, 1),
        )
        for _ in range(30)
    ]
    found = list(smoothed(read))
    for name in ("rotation", "expression"):
        given, made = (torch.cat([getattr(each, name) for each in which]) for which in (read, found))
        assert np.abs(kalman(given.double().numpy()) - made.numpy()).max() < 2e-6
        assert (made - given).abs().max() > 0.01
    assert all(a.translation is b.translation for a, b in zip(read, found, strict=True))
    assert list(smoothed([])) == []


@pytest.mark.parametrize("config", SEEING, ids=lambda config: config.name)
@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
def test_a_film_of_one_picture_is_that_portrait(config, relative):
    """Without LivePortrait's smoothing, and without the scale and the place that its films keep."""
    reenactor = lively(Reenactor(config, weights="random"))
    source, drivers = encoded(reenactor), pictures(5, seed=1)
    views = [View(yaw=5 * i) for i in range(5)]
    known = {"relative": relative, "view": views, "batch_size": 2}
    film = list(reenactor.animate_film(((source, driver) for driver in drivers), **known))
    portrait = list(reenactor.animate(source, drivers, **known))
    if config is not TINY_LIVEPORTRAIT:
        assert_frames_close(film, portrait)
    else:
        assert len(film) == len(portrait)


def test_each_frame_is_its_own_source_and_rests_where_nothing_drives():
    reenactor = lively(Reenactor(TINY_VOX, weights="random"))
    film, drivers = pictures(4), pictures(4, seed=1)
    pairs = [(reenactor.encode(picture), driver) for picture, driver in zip(film, drivers, strict=True)]
    first = reenactor.extract(drivers[0])
    made = list(reenactor.animate_film(pairs, relative=True))
    for (source, driver), found in zip(pairs, made, strict=True):
        assert_frames_close([found], list(reenactor.animate(source, [driver], relative=True, anchor=first)))
    for relative in (True, False):
        resting = list(reenactor.animate_film(((source, None) for source, _ in pairs), relative=relative))
        own = [next(reenactor.animate(source, source.motion, relative=False)) for source, _ in pairs]
        assert_frames_close(resting, own)


def test_eyes_and_lips_drop_relative_motion_as_in_the_release(liveportrait, placed):
    edit = Edit(eyes=0.2, portrait=Openness(0.31, 0.29, 0.02))
    sources = [liveportrait.encode(picture) for picture in pictures(3)]
    list(liveportrait.animate_film(zip(sources, pictures(3, seed=1), strict=True), stitch=False, edit=edit))
    ratios = torch.tensor([[0.31, 0.29, 0.2]])
    for source, found in zip(sources, placed, strict=True):
        delta = liveportrait.networks.retargeting.eye_delta(source.keypoints, ratios)
        torch.testing.assert_close(found, source.keypoints + delta, atol=1e-5, rtol=0)


def test_sources_are_let_go_as_pictures_come(liveportrait):
    alive: list[weakref.ref] = []

    def pairs():
        for driver in pictures(40, seed=1):
            source = liveportrait.encode(driver)
            alive.append(weakref.ref(source.features))
            yield source, driver

    most = 0
    for number, _ in enumerate(liveportrait.animate_film(pairs())):
        if number % 10 == 9:  # seconds each, of all that the tests before left behind
            gc.collect()
            most = max(most, sum(each() is not None for each in alive))
    assert len(alive) == 40
    assert 0 < most <= AHEAD + 3


def test_refusals(liveportrait):
    sadtalker = Reenactor(TINY_SADTALKER, weights="random")
    with pytest.raises(ValueError, match="'tiny-sadtalker' is driven by 3DMM coefficients, which move a pic"):
        sadtalker.animate_film([])
    with pytest.raises(ValueError, match="an anchor needs relative=True"):
        liveportrait.animate_film([], relative=False, anchor=liveportrait.extract(pictures(1)[0]))
    two = liveportrait.encode(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match="expected one source for each frame of a film, got 2"):
        list(liveportrait.animate_film([(two, pictures(1)[0])]))
    views = [View()]
    source = liveportrait.encode(pictures(1)[0])
    with pytest.raises(ValueError, match="the views ended after 1"):
        list(liveportrait.animate_film([(source, each) for each in pictures(2)], view=views))
