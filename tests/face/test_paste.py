# SPDX-License-Identifier: Apache-2.0
"""Pasting back: the picture outside the mask, the crop's own content, and whole files of a large picture."""

import clips
import cv2
import numpy as np
import pytest
from output_files import audio_codec, packets
from tiny import TINY, TINY_VOX

from fv2v.face.crop import Box, cut
from fv2v.face.find import find_first_face
from fv2v.face.landmarks import RELEASE_SIZE, Square, crop_square
from fv2v.face.paste import feathered_mask, paste_back
from fv2v.face.portrait import crop_portrait
from fv2v.face.steady_crop import SteadyCrop
from fv2v.io.image import read_image, write_image
from fv2v.io.video import read_video, write_video
from fv2v.pipelines.reenact import reenact
from fv2v.pipelines.stills import frontalize, imitate
from fv2v.reenactor import Reenactor

HD = (1080, 1920)
NOISE = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
BLACK = np.zeros((64, 64, 3), np.uint8)
CROPS = {
    "inside": Box(90, 60, 128),
    "over a border": Box(-40, 200, 150),
    "over all of them": Box(-50, -50, 500),
    "turned": Square((200.3, 140.7), 160, 0.5),
    "turned, over a border": Square((380, 20), 200.5, -2.0),
}


@pytest.fixture(scope="module")
def tiny() -> Reenactor:
    return Reenactor(TINY_VOX, weights="random")


def smooth(size: tuple[int, int] = (300, 400)) -> np.ndarray:
    """(H, W, 3): a picture so smooth that reading between its pixels loses next to nothing."""
    y, x = np.mgrid[: size[0], : size[1]] / 60
    waves = np.stack([np.sin(x + y), np.cos(x - 0.5 * y), np.sin(0.7 * x) * np.cos(y)], axis=-1)
    return np.rint(127 + 100 * waves).astype(np.uint8)


def touched(full: np.ndarray, crop: Box | Square, **options: np.ndarray) -> np.ndarray:
    """(H, W): where pasting changes anything: there is nothing that both black and white leave as it is."""
    return np.any(
        [(paste_back(full, BLACK + level, crop, **options) != full).any(axis=2) for level in (0, 255)], axis=0
    )


@pytest.mark.parametrize("name", CROPS)
def test_outside_the_crop_every_bit_stays(name):
    crop = CROPS[name]
    corners = np.array([[-0.5, -0.5], [63.5, -0.5], [63.5, 63.5], [-0.5, 63.5]])
    if isinstance(crop, Box):
        corners = np.array([crop.left, crop.top]) - 0.5 + (corners + 0.5) * crop.side / 64
    else:
        corners = crop.corners()
    inside = cv2.fillConvexPoly(np.zeros(NOISE.shape[:2], np.uint8), np.rint(corners).astype(int), 1)
    before = NOISE.copy()
    changed = touched(NOISE, crop)
    assert changed.sum() > 0.5 * inside.sum()
    assert not changed[cv2.dilate(inside, np.ones((5, 5))) == 0].any()
    assert (before == NOISE).all()


def test_outside_the_mask_every_bit_stays():
    mask = np.zeros((128, 128), np.float32)
    mask[32:96, 48:80] = 1
    changed = touched(NOISE, CROPS["inside"], mask=mask)
    assert changed[60 + 32 : 60 + 96, 90 + 48 : 90 + 80].all()
    changed[60 + 32 : 60 + 96, 90 + 48 : 90 + 80] = False
    assert not changed.any()


@pytest.mark.parametrize("name", ["inside", "over a border", "over all of them"])
def test_the_crops_own_content_is_the_picture_again(name):
    """Of one size, and not turned: nothing is read between pixels."""
    box = CROPS[name]
    assert (paste_back(NOISE, cut(NOISE, box, box.side), box) == NOISE).all()


@pytest.mark.parametrize("size", [100, 128, 300])
@pytest.mark.parametrize("name", ["inside", "over a border"])
def test_resized_content_comes_back_within_a_level(name, size):
    """Interpolation aside: of a picture that is smooth enough to lose nothing by it."""
    box, picture = CROPS[name], smooth()
    error = np.abs(paste_back(picture, cut(picture, box, size), box).astype(int) - picture)
    assert error.max() <= 1


@pytest.mark.parametrize("size", [256, RELEASE_SIZE, 700])
def test_turned_content_comes_back_within_a_level(size):
    """What networks of another output size would make of the release's crop of 512 pixels, too."""
    picture, square = smooth(), CROPS["turned"]
    crop = crop_square(picture, square, RELEASE_SIZE)
    rendered = cut(crop, Box(0, 0, RELEASE_SIZE), size)
    error = np.abs(paste_back(picture, rendered, square).astype(int) - picture)
    assert error.max() <= 1
    shifted = paste_back(picture, np.roll(rendered, size // 64, axis=1), square)
    assert np.abs(shifted.astype(int) - picture).max() > 3, "the test would see no shift"


def painted(picture: np.ndarray, crop: Box | Square, gain: float, lift: tuple[int, int, int]) -> np.ndarray:
    """(512, 512, 3): the crop as a network paints it whose contrast and black are not the picture's."""
    exact = cut(picture, crop, 512) if isinstance(crop, Box) else crop_square(picture, crop, 512)
    return np.rint(np.clip(exact * gain + lift, 0, 255)).astype(np.uint8)


def dark(noise: float = 0.0) -> np.ndarray:
    """(400, 400, 3): a light face on a dark ground, with shoulders that go on below."""
    y, x = np.mgrid[:400, :400]
    picture = np.full((400, 400, 3), (7.0, 6.0, 20.0))
    picture[np.hypot((x - 200) / 0.8, y - 190) < 70] = (190, 150, 130)
    picture[(np.abs(x - 200) < 120) & (y > 300)] = (90, 40, 30)
    picture += np.random.default_rng(0).normal(scale=noise, size=picture.shape)
    return np.rint(picture.clip(0, 255)).astype(np.uint8)


def lit(noise: float = 0.0) -> np.ndarray:
    """The same with a ground that grows lighter to the right."""
    picture = dark(noise).astype(float)
    picture += np.where(picture.max(axis=2) < 60, np.linspace(0, 60, 400), 0)[..., None]
    return np.rint(picture).astype(np.uint8)


SEAMS = {  # picture, crop, contrast and lift of what is pasted
    "a dark ground": (dark(), Box(60, 50, 280), 1.0, (14, 9, 1)),
    "a dark ground with grain": (dark(3), Box(60, 50, 280), 1.0, (14, 9, 12)),
    "less contrast": (dark(2), Box(40, 40, 320), 0.85, (18, 18, 18)),
    "turned": (dark(2), Square((200, 200), 290, 0.3), 0.9, (15, 12, 15)),
    "over a border": (dark(2), Box(-20, 20, 440), 1.0, (14, 14, 14)),
    "a ground with a gradient": (lit(2), Box(60, 50, 280), 0.9, (16, 12, 16)),
    "too dark and blue": (lit(2), Box(60, 50, 280), 1.0, (-6, -6, 25)),
}


@pytest.mark.parametrize("name", SEAMS)
def test_no_box_shows_around_the_face(name):
    """The ground inside of the square is the picture's within 3 levels; it was off by all of the lift."""
    picture, crop, gain, lift = SEAMS[name]
    rendered = painted(picture, crop, gain, lift)
    made = paste_back(picture, rendered, crop).astype(int)
    y, x = np.mgrid[:400, :400]
    ground = (np.hypot(x - 200, y - 190) > 95) & (y < 290)
    inside = touched(picture, crop) & ground
    assert inside.sum() > 5000
    error = np.abs((made - picture)[inside].reshape(-1, 3)).mean(axis=0)
    assert error.max() < 4, error
    face = np.hypot(x - 200, y - 190) < 12
    exact = picture[face] * gain + lift
    assert np.abs(made[face] - exact.clip(0, 255)).mean() < 4, "the face is as it was painted"


def test_a_crop_beside_the_picture_changes_nothing():
    for crop in (Box(-200, 0, 100), Box(0, 400, 50), Square((1000, 1000), 90, 0.3)):
        pasted = paste_back(NOISE, BLACK, crop)
        assert (pasted == NOISE).all()
        assert pasted is not NOISE


def test_the_mask_rises_smoothly_from_nothing_to_all():
    mask = feathered_mask(200, 0.25)
    assert mask.shape == (200, 200)
    assert not mask[[0, -1]].any()
    assert not mask[:, [0, -1]].any()
    assert (mask[50:150, 50:150] == 1).all()
    assert (mask == mask.T).all()
    assert (mask == mask[::-1]).all()
    steps = np.diff(mask[100])
    assert (steps[:100] >= 0).all()
    assert steps.max() < 0.035
    with pytest.raises(ValueError, match=r"expected .* 0 < feather <= 0.5, got 8, 0.6"):
        feathered_mask(8, 0.6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"full": NOISE / 255}, r"^full: expected \(H, W, 3\) uint8, got \(300, 400, 3\) float64"),
        ({"rendered": BLACK[:50]}, r"^rendered: expected a square, \(n, n, 3\), got \(50, 64, 3\)"),
        ({"rendered": BLACK[:0, :0]}, r"^rendered: expected"),
        ({"mask": np.ones((3, 4))}, r"^mask: expected \(m, m\), got \(3, 4\)"),
        ({"mask": np.full((4, 4), 1.5)}, r"^mask: expected numbers from 0 to 1"),
        ({"mask": np.full((4, 4), np.nan)}, r"^mask: expected numbers from 0 to 1"),
    ],
)
def test_what_does_not_fit_is_told(arguments, message):
    given = {"full": NOISE, "rendered": BLACK, "crop": Box(0, 0, 64)} | arguments
    with pytest.raises(ValueError, match=message):
        paste_back(**given)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A picture of 1920 x 1080 with the portrait in its middle."""
    picture = np.full((*HD, 3), 90, np.uint8)
    face = cv2.resize(clips.portrait(), None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)
    H, W = face.shape[:2]
    picture[200 : 200 + H, 700 : 700 + W] = face
    path = tmp_path_factory.mktemp("large") / "large.png"
    write_image(path, picture)
    return path


@pytest.fixture(scope="module")
def driving(tmp_path_factory):
    images = clips.moving_picture(clips.portrait(), 6)
    path = tmp_path_factory.mktemp("driving") / "driving.mp4"
    return clips.write_clip(path, images, audio="aac")


def test_a_large_picture_keeps_its_size_and_the_drivers_rate_and_sound(tiny, large, driving, tmp_path):
    output = tmp_path / "out.mp4"
    reenact(large, driving, output, reenactor=tiny, paste_back=True)
    source, made = read_video(driving), read_video(output)
    frames = list(made)
    assert len(list(source)) == len(frames) == 6
    assert made.size == HD
    assert (made.times, made.rate) == (source.times, source.rate)
    assert packets(output) == packets(driving)
    framed = crop_portrait(large)
    images = tiny.animate(
        tiny.encode(framed.image), SteadyCrop(source, find_first_face(source), TINY.image_size)
    )
    expected = [framed.with_face(image) for image in images]
    assert np.abs(np.stack(frames).astype(int) - expected).mean() < 2  # H.264
    box = framed.crop
    whole = framed.picture.astype(int)
    beside = np.abs(frames[3] - whole)[:, : box.left - 16]
    assert beside.mean() < 2  # H.264 again
    assert np.abs(frames[3] - whole)[box.top : box.top + box.side, box.left : box.left + box.side].mean() > 10


def test_pictures_are_pasted_too(tiny, large, tmp_path):
    framed, output = crop_portrait(large), tmp_path / "out.png"
    source = tiny.encode(framed.image)
    frontalize(large, output, reenactor=tiny, paste_back=True)
    assert (read_image(output) == framed.with_face(tiny.frontalize(source))).all()
    imitate(large, clips.PORTRAIT, output, reenactor=tiny, paste_back=True)
    made = tiny.imitate(source, crop_portrait(clips.PORTRAIT).image)
    assert (read_image(output) == framed.with_face(made)).all()


def test_a_large_clip_with_its_own_face_pasted_keeps_size_rate_and_sound(tmp_path):
    """Every frame's crop goes back to where it was cut: the clip is itself again."""
    base = cv2.resize(clips.portrait(), None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)
    wide = cv2.copyMakeBorder(
        base, 200, HD[0] - 200 - len(base), 700, HD[1] - 700 - base.shape[1], cv2.BORDER_REPLICATE
    )
    images = np.stack([np.roll(wide, 30 * i, axis=1) for i in range(4)])
    path = clips.write_clip(tmp_path / "clip.mp4", images, fps=30, audio="aac")
    reader, output = read_video(path), tmp_path / "out.mp4"
    crops = SteadyCrop(reader, find_first_face(reader), 256)
    frames = (paste_back(frame, cut(frame, box, box.side), box) for frame, box in crops.boxes())
    write_video(output, frames, like=reader)
    made = read_video(output)
    written = np.stack(list(made))
    assert (made.size, made.times, made.rate) == (HD, reader.times, reader.rate)
    assert audio_codec(output) == "aac"
    assert packets(output) == packets(path)
    assert np.abs(written.astype(int) - list(read_video(path))).mean() < 2
