# SPDX-License-Identifier: Apache-2.0
"""Still pictures: every kind people have comes in upright, 8 bit, RGB."""

import clips
import cv2
import numpy as np
import odd_files
import pytest

from fv2v.io.image import read_image, write_image


@pytest.fixture
def picture() -> np.ndarray:
    """(24, 40, 3) RGB, different in every corner."""
    y, x = np.mgrid[0:24, 0:40]
    return np.stack([x * 6, y * 10, 255 - x * 3 - y * 3], -1).astype(np.uint8)


def save(path, image: np.ndarray, *options: int):
    assert cv2.imwrite(str(path), image, options)
    return path


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF segment that holds this orientation and nothing else."""
    tiff = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00" + bytes(
        [orientation, 0, 0]
    )
    body = b"Exif\x00\x00" + tiff + b"\x00\x00\x00\x00"
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


# how EXIF's number says the stored rows were made from the upright picture
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_honoured(tmp_path, picture, orientation):
    stored = np.ascontiguousarray(STORED[orientation](picture)[..., ::-1])
    jpeg = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    (tmp_path / "in.jpg").write_bytes(with_orientation(jpeg, orientation))
    image = read_image(tmp_path / "in.jpg")
    assert image.shape == picture.shape
    assert np.abs(image.astype(int) - picture).max() < 16


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("little_endian", [False, True])
def test_exif_orientation_is_honoured_beside_transparency(tmp_path, picture, orientation, little_endian):
    """Bit-equal to the upright picture, in PNG and in WebP (whose EXIF may repeat JPEG's prefix)."""
    upright = np.dstack([picture[..., ::-1], np.full(picture.shape[:2], 255, np.uint8)])
    upright[:6, :9, 3] = 100
    stored = np.ascontiguousarray(STORED[orientation](upright))
    tiff = odd_files.tiff_with_orientation(orientation, little_endian)
    lossless = [cv2.IMWRITE_WEBP_QUALITY, 101]
    for suffix, options in ((".png", []), (".webp", lossless)):
        data = cv2.imencode(suffix, stored, options)[1].tobytes()
        if suffix == ".png":
            data = odd_files.png_with_exif(data, tiff)
        else:
            prefix = b"Exif\0\0" if little_endian else b""
            data = odd_files.webp_with_exif(data, prefix + tiff, stored.shape[:2], transparent=True)
        (tmp_path / f"turned{suffix}").write_bytes(data)
        (tmp_path / f"upright{suffix}").write_bytes(cv2.imencode(suffix, upright, options)[1].tobytes())
        expected = read_image(tmp_path / f"upright{suffix}")
        np.testing.assert_array_equal(read_image(tmp_path / f"turned{suffix}"), expected)


@pytest.mark.parametrize("marker", [b"\xff\xdb", b"\xff\xc0", b"\xff\xda"])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_fill_bytes_do_not_make_a_jpeg_truncated(tmp_path, picture, marker, count):
    plain = cv2.imencode(".jpg", picture)[1].tobytes()
    (tmp_path / "plain.jpg").write_bytes(plain)
    (tmp_path / "filled.jpg").write_bytes(odd_files.with_fill_bytes(plain, count, marker))
    np.testing.assert_array_equal(read_image(tmp_path / "filled.jpg"), read_image(tmp_path / "plain.jpg"))


def test_kinds_of_samples(tmp_path, picture):
    bgr = picture[..., ::-1]
    grey = picture[..., 0]
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", bgr)), picture)
    np.testing.assert_array_equal(read_image(save(tmp_path / "b.png", bgr.astype(np.uint16) * 257)), picture)
    np.testing.assert_array_equal(read_image(save(tmp_path / "c.png", grey)), np.stack([grey] * 3, -1))
    np.testing.assert_array_equal(read_image(save(tmp_path / "d.tiff", np.float32(bgr) / 255)), picture)


def test_transparent_pixels_are_laid_over_white(tmp_path, picture):
    opacity = np.full((24, 40, 1), 255, np.uint8)
    opacity[:, :10], opacity[:, 10:20] = 0, 128
    image = read_image(save(tmp_path / "a.png", np.concatenate([picture[..., ::-1], opacity], -1)))
    assert (image[:, :10] == 255).all()
    half = picture[:, 10:20] * (128 / 255) + 255 * (127 / 255)
    assert np.abs(image[:, 10:20] - half).max() <= 0.5 + 1e-3
    np.testing.assert_array_equal(image[:, 20:], picture[:, 20:])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_writing(tmp_path, picture, suffix):
    write_image(tmp_path / f"out{suffix}", picture)
    assert np.abs(read_image(tmp_path / f"out{suffix}").astype(int) - picture).mean() < 4
    assert len(list(tmp_path.iterdir())) == 1


def test_bad_pictures_are_named_in_one_line(tmp_path, capfd):
    whole = clips.PORTRAIT.read_bytes()
    thumbnail = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[
        1
    ].tobytes()  # has an end marker of its own
    with_thumbnail = whole[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + whole[2:]
    png = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))[1].tobytes()
    for name, data, message in [
        ("empty.jpg", b"", r"the file is empty \(0 bytes\)"),
        ("cut.jpg", whole[: len(whole) // 2], r"truncated: the picture has no end marker after \d+ bytes"),
        ("cut-with-thumbnail.jpg", with_thumbnail[: len(whole) // 2], "truncated"),
        ("cut.png", png[: len(png) // 2], "truncated"),
        ("text.jpg", b"this is no picture\n" * 9, "not a picture that OpenCV can read"),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=message) as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_image(tmp_path / "absent.jpg")
    assert capfd.readouterr().err == ""  # nor do the decoders talk to the terminal


def test_bad_outputs_are_refused(tmp_path, picture):
    with pytest.raises(ValueError, match=r"ends in \.png, \.jpg, \.jpeg, \.webp, got '\.gif'"):
        write_image(tmp_path / "out.gif", picture)
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8, got \(24, 40\)"):
        write_image(tmp_path / "out.png", picture[..., 0])
    with pytest.raises(FileNotFoundError, match="make it first"):
        write_image(tmp_path / "absent" / "out.png", picture)
    assert not list(tmp_path.iterdir())
