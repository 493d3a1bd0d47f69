# SPDX-License-Identifier: Apache-2.0
"""LivePortrait's crop from landmarks, against what its release computed (tests/data/lp_crop.*).

`pytest tests/face/test_landmarks.py` prints, for every entry, the largest error beside the one allowed. The
release's own float32 error is not among these records.
"""

import json
import math

import numpy as np
import parity
import pytest
from places import DATA

from fv2v.face.crop import cut, middle_square
from fv2v.face.landmarks import (
    EYES_AND_LIP,
    SAME,
    Square,
    crop_by_landmarks,
    crop_square,
    eye_and_lip,
    eye_ratios,
    lip_ratio,
    square_around,
    transform,
    upright_square,
)

SIZE = 512
SETS = [*EYES_AND_LIP, 140]
# They need the release's own mask picture: their arrays are not in the copy of lp_crop.npz here.
LEFT_OUT = {"crop.203.mask_ori", "crop.203.pasted"}
# Largest and mean error allowed. Pictures, in levels of 255: what two OpenCVs differ by, rounded up.
# Matrices and points: pixels. Angles and ratios: the same part of a pixel, over the crop's side.
PIXELS = 1e-3
TOLERANCES = {
    "img_": (8, 0.5),
    "ratio": (PIXELS / SIZE,) * 2,
    "angle": (PIXELS / SIZE,) * 2,
    "": (PIXELS,) * 2,
}


def record() -> dict[str, np.ndarray]:
    """All entries under their names."""
    landmarks = parity.fake_landmarks(203)
    image = crop_by_landmarks(parity.scene(), landmarks, SIZE).image
    recording = {
        "crop.203.img_crop": image,
        "crop.203.img_crop_256": cut(image, middle_square(image), 256),
        "ratio.eye": eye_ratios(landmarks)[None],
        "ratio.lip": np.array([[lip_ratio(landmarks)]]),
    }
    for count in (5, 9, 68, 101, 203):
        landmarks = parity.fake_landmarks(count)
        square = square_around(landmarks)
        crop = crop_by_landmarks(parity.scene(), landmarks, SIZE)
        recording |= {
            f"crop.{count}.center": np.array(square.centre),
            f"crop.{count}.size": np.array([square.side, square.side]),
            f"crop.{count}.angle": np.array(square.angle),
            f"crop.{count}.M_o2c": crop.to_crop,
            f"crop.{count}.M_c2o": crop.to_original,
            f"crop.{count}.pt_crop": crop.landmarks,
            f"crop.{count}.bbox_driving": upright_square([landmarks]).corners(),
        }
    return recording


def test_every_recorded_entry(capsys):
    """All entries are compared and printed before any fails."""
    recording = record()
    meta = json.loads((DATA / "lp_crop.json").read_text())
    assert recording.keys() == meta["entries"].keys() - LEFT_OUT
    failures = []
    with np.load(DATA / "lp_crop.npz") as stored, capsys.disabled():
        print(f"\nlp_crop\n{'entry':24}{'error':>10}{'allowed':>10}{'mean':>10}{'allowed':>10}")
        for entry, array in recording.items():
            facts = meta["entries"][entry]
            error, *sums = parity.compare(stored, meta, entry, array)
            sample = array.reshape(-1)[:: facts["stride"]].astype(np.float64)
            mean = np.abs(sample - stored[entry].reshape(-1)).mean()
            most, average = next(bounds for part, bounds in TOLERANCES.items() if part in entry)
            print(f"{entry:24}{error:10.1e}{most:10.1e}{mean:10.1e}{average:10.1e}")
            # sums are over the whole array, a sample is not: the mean error moves them by no more than this
            moved = average * array.size / facts["checksum"][1]
            if not (error <= most and mean <= average and max(sums) <= moved):
                failures.append(f"{entry}: {error:.1e}, mean {mean:.1e}, sums {sums}, allowed {moved:.1e}")
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("count", SETS)
def test_there_and_back_is_where_it_was(count):
    landmarks = parity.fake_landmarks(count)
    crop = crop_by_landmarks(parity.scene(), landmarks, SIZE)
    assert np.abs(transform(crop.landmarks, crop.to_original) - landmarks).max() < PIXELS
    assert np.abs(crop.to_original @ crop.to_crop - np.eye(3)).max() < PIXELS / SIZE


@pytest.mark.parametrize("count", SETS)
def test_the_crop_goes_with_the_face(count):
    landmarks = parity.fake_landmarks(count)
    expected = transform(landmarks, square_around(landmarks).to_crop(SIZE))
    for angle, scale, shift in [(0.0, 1.0, (300, -80)), (2.9, 0.3, (0, 0)), (-1.2, 7.0, (-50, 900))]:
        a, b = scale * math.cos(angle), scale * math.sin(angle)
        moved = landmarks @ np.array([[a, b], [-b, a]]) + shift
        square = square_around(moved)
        turned = square.angle - square_around(landmarks).angle - angle
        assert abs(math.remainder(turned, 2 * math.pi)) < PIXELS / SIZE
        assert np.abs(transform(moved, square.to_crop(SIZE)) - expected).max() < PIXELS


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_picture_turned_by_quarters_gives_the_same_crop(quarters):
    """Nothing is read between pixels that was not before: only the fractions' rounding differs."""
    image, landmarks = parity.scene(), parity.fake_landmarks(68)
    expected = crop_by_landmarks(image, landmarks, SIZE).image.astype(int)
    for _ in range(quarters):
        landmarks = np.stack([landmarks[:, 1], image.shape[1] - 1 - landmarks[:, 0]], axis=1)
        image = np.rot90(image)
    error = np.abs(crop_by_landmarks(image, landmarks, SIZE).image - expected)
    most, mean = TOLERANCES["img_"]
    assert expected.any()
    assert error.max() <= most
    assert error.mean() <= mean


@pytest.mark.parametrize("count", EYES_AND_LIP)
def test_the_crop_is_upright_and_holds_the_whole_face(count):
    landmarks = parity.fake_landmarks(count)
    there = square_around(landmarks).to_crop(SIZE)
    points = transform(landmarks, there)
    eye, lip = eye_and_lip(points)
    assert abs(eye[0] - lip[0]) < PIXELS
    assert eye[1] < lip[1]
    extent = points.max(axis=0) - points.min(axis=0)
    assert abs(extent.max() - SIZE / 2.3) < PIXELS
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    assert np.abs(middle - SIZE * np.array([0.5, 0.5 + 0.125])).max() < PIXELS


def test_a_square_of_whole_pixels_is_a_slice_and_black_beyond():
    image = parity.scene()
    square = Square((60 + 32, 40 + 32), 64)
    assert (crop_square(image, square, 64) == image[40:104, 60:124]).all()
    assert square.corners().tolist() == [[60, 40], [124, 40], [124, 104], [60, 104]]
    beyond = crop_square(image, Square((0, 0), 64), 64)
    assert (beyond[32:, 32:] == image[:32, :32]).all()
    assert not beyond[:32].any()
    assert not beyond[:, :32].any()


def test_a_larger_set_is_its_first_101_but_all_are_held():
    landmarks = parity.fake_landmarks(140)
    assert (eye_and_lip(landmarks) == eye_and_lip(landmarks[:101])).all()
    landmarks[120] += 1000
    assert square_around(landmarks).side > 2 * square_around(landmarks[:101]).side


def test_a_video_is_cropped_to_the_mean_of_its_squares():
    frames = [parity.fake_landmarks(203, seed) + 9 * i for i, seed in enumerate("abc")]
    corners = [upright_square([landmarks]).corners() for landmarks in frames]
    square = upright_square(frames)
    assert square.angle == 0
    assert np.abs(square.corners() - np.mean(corners, axis=0)).max() < PIXELS
    with pytest.raises(ValueError, match="expected the landmarks of one frame at least, got none"):
        upright_square([])


def test_ratios_are_height_over_width_and_zero_for_no_width():
    landmarks = np.zeros((203, 2))
    assert lip_ratio(landmarks) == 0
    assert eye_ratios(landmarks).tolist() == [0, 0]
    landmarks[[18, 12]] = (0, 3), (10, 0)
    landmarks[[42, 36]] = (4, 0), (0, 10)
    landmarks[[102, 66]] = (3, 4), (-8, 6)
    assert eye_ratios(landmarks) == pytest.approx([0.3, 0.4])
    assert lip_ratio(landmarks) == pytest.approx(0.5)


@pytest.mark.parametrize(("apart", "angle"), [(0.9 * SAME, 0.0), (1.1 * SAME, math.pi / 2)])
def test_a_face_whose_eyes_are_on_its_lips_is_taken_as_upright(apart, angle):
    landmarks = np.array([[10, 10], [30, 10], [20, 40], [10, 10], [30, 10]], float)
    landmarks[3:, 0] -= apart  # lips to the left of the eyes: lying on the side
    assert square_around(landmarks).angle == angle


FACE = parity.fake_landmarks(68)
BAD_LANDMARKS = {
    r"expected \(n, 2\), got \(68, 3\)": np.zeros((68, 3)),
    r"expected \(n, 2\), got \(1, 68, 2\)": FACE[None],
    r"expected one of the sets of 5, 9, 68, 101, 106, 203 points \(or more, .*\), got 67": FACE[:67],
    r"expected finite pixels, got NaN": np.where(np.arange(68)[:, None] == 7, np.nan, FACE),
    r"expected finite pixels, got .*infinity": np.where(np.arange(68)[:, None] == 7, np.inf, FACE),
    r"expected a face, got 68 points in one place": np.full((68, 2), 31.0),
}


@pytest.mark.parametrize("message", BAD_LANDMARKS)
def test_landmarks_that_are_none_are_refused(message):
    with pytest.raises(ValueError, match=f"^landmarks: {message}"):
        crop_by_landmarks(parity.scene(), BAD_LANDMARKS[message], SIZE)


def test_other_bad_input_is_refused():
    scene = parity.scene()
    with pytest.raises(ValueError, match=r"^image: expected \(H, W, 3\) uint8, got \(300, 400\) uint8"):
        crop_by_landmarks(scene[..., 0], FACE, SIZE)
    with pytest.raises(ValueError, match=r"^image: .* got \(300, 400, 3\) float64"):
        crop_by_landmarks(scene / 255, FACE, SIZE)
    for image, size in [(scene, 0), (scene, 40000), (scene[:0], 64), (np.zeros((1, 40000, 3), np.uint8), 64)]:
        with pytest.raises(ValueError, match=r"^expected 1 to 32766 pixels a side, got a picture of"):
            crop_by_landmarks(image, FACE, size)
    for scale in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"^expected a finite square with a side above 0, got Square"):
            crop_by_landmarks(scene, FACE, SIZE, scale=scale)
    for ratio in (eye_ratios, lip_ratio):
        with pytest.raises(ValueError, match="expected the set of 203 points for ratios, got 68"):
            ratio(FACE)
