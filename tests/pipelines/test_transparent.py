# SPDX-License-Identifier: Apache-2.0
"""A transparent portrait stays so, wherever the file that is written holds opacity."""

from pathlib import Path

import av
import clips
import cv2
import numpy as np
import pytest
from PIL import Image
from tiny import TINY_SADTALKER, TINY_VOX, coefficients, lively

from fv2v.face.crop import cut, middle_square
from fv2v.io.image import read_image, read_with_opacity, write_image
from fv2v.io.opacity import with_opacity
from fv2v.io.video import write_video
from fv2v.reenactor import Reenactor

FRAMES = 4
H, W = 64, 90
SIZE = TINY_VOX.image_size
ENDS = {  # how it is encoded, and how far opacity and colours may be off: means over pixels
    "out/%02d.png": ((), 0, 0.5),
    "out.webp": ((), 0, 4),
    "out.gif": ((), 0, 8),
    "out.webm": (("--crf", "10"), 6, 8),
    "out.mkv": (("--codec", "vp9", "--crf", "10"), 6, 8),
    "out.mov": (("--codec", "prores"), 1, 4),
}


def outline() -> np.ndarray:
    """(H, W): an ellipse with a soft rim."""
    y, x = np.mgrid[:H, :W]
    far = np.hypot((x - W / 2) / (0.42 * W), (y - H / 2) / (0.46 * H))
    return np.rint(255 * np.clip((1.05 - far) / 0.3, 0, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    for name, config in (("vox", TINY_VOX), ("sadtalker", TINY_SADTALKER)):
        lively(Reenactor(config, weights="random")).save(folder / f"{name}.safetensors")
    picture = cv2.resize(clips.portrait(), (W, H), interpolation=cv2.INTER_AREA)
    write_image(folder / "cut-out.png", np.dstack([picture, outline()]))
    write_image(folder / "on-white.png", read_image(folder / "cut-out.png"))
    moves = clips.moving_picture(clips.portrait(), FRAMES, size=64, reach=0.3)
    clips.write_clip(folder / "driving.mp4", moves, fps=10)
    np.save(folder / "rows.npy", coefficients(FRAMES))
    np.save(folder / "own.npy", coefficients(1, seed=1))
    return folder


def frames_of(path: Path) -> np.ndarray:
    """(T, H, W, 4) of what was written; libvpx decodes VP9's opacity, FFmpeg's own decoder does not."""
    if path.suffix in (".webp", ".gif"):
        with Image.open(path) as film:
            frames = []
            for number in range(film.n_frames):
                film.seek(number)
                frames.append(np.array(film.convert("RGBA")))
            return np.stack(frames)
    if path.suffix == ".png":
        return np.stack([np.array(Image.open(each)) for each in sorted(path.parent.iterdir())])
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        decoder = stream.codec_context
        if decoder.name == "vp9":
            decoder = av.CodecContext.create("libvpx-vp9", "r")
            decoder.extradata = stream.codec_context.extradata
        shown = [frame for packet in film.demux(stream) for frame in decoder.decode(packet)]
        return np.stack([frame.to_ndarray(format="rgba") for frame in shown])


def over_white(frames: np.ndarray) -> np.ndarray:
    share = frames[..., 3:] / 255
    return frames[..., :3] * share + 255 * (1 - share)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "crop"])
@pytest.mark.parametrize("end", ENDS)
def test_a_film_is_as_transparent_as_its_portrait(fv2v, files, tmp_path, end, whole):
    """And over white it shows what the film of the portrait over white does."""
    encoding, apart, off = ENDS[end]
    known = (files / "driving.mp4", "--no-crop", "-w", files / "vox.safetensors", "--multiplier", "9")
    known += ("--paste-back",) if whole else ()
    code, _, err = fv2v("reenact", files / "cut-out.png", *known, "-o", tmp_path / end, *encoding)
    assert (code, err) == (0, "")
    assert fv2v("reenact", files / "on-white.png", *known, "-o", tmp_path / "opaque")[0] == 0
    opaque = np.stack([read_image(each) for each in sorted((tmp_path / "opaque").iterdir())])
    opacity = outline()
    if not whole:
        grey = np.repeat(opacity[..., None], 3, axis=2)
        opacity = cut(grey, middle_square(grey), SIZE)[..., 0]
    found = frames_of(tmp_path / end)
    assert found.shape == (FRAMES, *opacity.shape, 4)
    shown = np.ones(opacity.shape, bool)
    if end == "out.gif":  # there or not
        shown, opacity = opacity == 255, np.where(opacity >= 128, 255, 0)
    wrong = np.abs(found[..., 3].astype(int) - opacity)
    assert wrong.mean() <= apart
    assert (wrong[:, opacity == 255] <= 10 * apart).all()
    seen = np.maximum(opaque, 255 - opacity[..., None].astype(float))  # what is beyond the outline is not
    assert np.abs(over_white(found) - seen)[:, shown].mean() <= off
    assert np.abs(np.diff(opaque.astype(int), axis=0)).mean() > 0.3, "nothing moves: the test would be blind"


@pytest.mark.parametrize(
    ("end", "more", "why"),
    [
        ("out.mp4", (), "libx264 in .mp4 holds no opacity"),
        ("out.webm", ("--codec", "av1"), "av1 in .webm holds no opacity"),
        ("out.mkv", (), "libx264 in .mkv holds no opacity"),
    ],
)
def test_elsewhere_it_is_white_and_a_line_says_so(fv2v, files, tmp_path, end, more, why):
    known = (files / "driving.mp4", "--no-crop", "-w", files / "vox.safetensors", "--paste-back", "-n", "2")
    code, _, err = fv2v("reenact", files / "cut-out.png", *known, "-o", tmp_path / end, *more)
    assert code == 0
    (note,) = err.splitlines()
    assert note.startswith("fv2v: note: what is transparent in the portrait is white: ")
    assert why in note
    frames = frames_of(tmp_path / end)
    assert (frames[..., 3] == 255).all()
    assert (frames[:, :2, :2, :3] > 245).all()
    assert fv2v("reenact", files / "on-white.png", *known, "-o", tmp_path / f"b{end}", *more)[2] == ""


def test_every_command_that_shows_a_portrait(fv2v, files, tmp_path):
    """`talk` and pictures too; beside its driver the result has a ground."""
    portrait, vox = files / "cut-out.png", ("--no-crop", "--paste-back", "-w", files / "vox.safetensors")
    own = ("--source-coefficients", files / "own.npy", "-w", files / "sadtalker.safetensors", "--no-crop")
    runs = {
        "talk/%d.png": ("talk", portrait, files / "rows.npy", *own, "--paste-back"),
        "a.png": ("imitate", portrait, clips.PORTRAIT, *vox),
        "b.webp": ("frontalize", portrait, *vox),
    }
    for name, words in runs.items():
        assert fv2v(*words, "-o", tmp_path / name)[0] == 0
        path = tmp_path / name
        path = sorted(path.parent.iterdir())[0] if "%" in name else path
        assert np.array_equal(np.array(Image.open(path).convert("RGBA"))[..., 3], outline()), name
    assert fv2v("frontalize", portrait, *vox, "-o", tmp_path / "c.jpg")[0] == 0
    beside = ("--compare", "-o", tmp_path / "beside")
    assert fv2v("reenact", portrait, files / "driving.mp4", *vox, *beside)[0] == 0
    with Image.open(tmp_path / "beside" / "0000.png") as shown:
        assert shown.mode == "RGB"


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "crop"])
def test_a_folder_of_transparent_pictures(fv2v, files, tmp_path, whole):
    """Each frame has an outline of its own."""
    outlines = [np.roll(outline(), 9 * number, axis=1) for number in range(FRAMES)]
    (tmp_path / "in").mkdir()
    picture = read_image(files / "on-white.png")
    for number, each in enumerate(outlines):
        write_image(tmp_path / "in" / f"{number}.png", np.dstack([picture, each]))
    known = ("--no-crop", "-w", files / "vox.safetensors", *(("--paste-back",) if whole else ()))
    code, _, err = fv2v("reenact", tmp_path / "in", files / "driving.mp4", *known, "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    for each, found in zip(outlines, frames_of(tmp_path / "out" / "0.png"), strict=False):
        grey = np.repeat(each[..., None], 3, axis=2)
        expected = each if whole else cut(grey, middle_square(grey), SIZE)[..., 0]
        assert np.array_equal(found[..., 3], expected)


def test_colours_come_back_from_white(tmp_path):
    generator = np.random.default_rng(0)
    picture = generator.integers(0, 256, (20, 30, 4), np.uint8)
    picture[:5, :, 3], picture[5:9, :, 3] = 255, 0
    write_image(tmp_path / "a.png", picture)
    shown, opacity = read_with_opacity(tmp_path / "a.png")
    assert np.array_equal(opacity, picture[..., 3])
    again = with_opacity(shown, opacity)
    assert np.array_equal(again[:5], picture[:5])
    assert (again[5:9] == (255, 255, 255, 0)).all()
    solid = opacity > 100
    assert np.abs(again.astype(int) - picture)[solid].max() <= 2
    assert np.abs(over_white(again) - shown).max() <= 1.01
    write_image(tmp_path / "b.png", np.dstack([picture[..., :3], np.full((20, 30), 255, np.uint8)]))
    assert read_with_opacity(tmp_path / "b.png")[1] is None


def test_what_holds_no_opacity_is_not_given_any(tmp_path):
    frames = np.zeros((2, 64, 64, 4), np.uint8)
    with pytest.raises(ValueError, match=r"out\.mp4: libx264 holds no opacity there; expected"):
        write_video(tmp_path / "out.mp4", frames)
    with pytest.raises(ValueError, match=r"write_image: expected \(H, W, 3\) uint8, got \(64, 64, 4\)"):
        write_image(tmp_path / "out.jpg", frames[0])
    assert not list(tmp_path.iterdir())
