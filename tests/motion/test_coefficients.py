# SPDX-License-Identifier: Apache-2.0
"""3DMM coefficients: what is done to them before H reads them, and files of them."""

import io
import math
import pickle
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat
from tiny import TINY_SADTALKER, coefficients

from fv2v import View, read_coefficients
from fv2v.motion.coefficients import (
    check_coefficients,
    driving_coefficients,
    pose_views,
    walk,
    windows,
)


@pytest.mark.parametrize("frames", [1, 2, 13, 14, 40])
@pytest.mark.parametrize("length", [1, 9, 27])
def test_windows_repeat_the_ends(frames, length):
    sequence = coefficients(frames)
    read = windows(sequence, length)
    assert read.shape == (frames, 70, length)
    for i in range(frames):
        for j in range(length):
            seen = min(max(i + j - length // 2, 0), frames - 1)
            assert np.array_equal(read[i, :, j], sequence[seen])


def test_the_releases_window_reaches_thirteen_frames():
    assert TINY_SADTALKER.head.window == 27
    read = windows(np.arange(100.0)[:, None], 27)
    assert read[50].tolist() == [list(range(37, 64))]


def test_the_driver_moves_and_the_source_keeps_its_crop():
    driven, own = coefficients(4), coefficients(1, seed=1, columns=73)[0]
    before = driven.copy(), own.copy()
    assert np.array_equal(driving_coefficients(driven, own[:70]), driven)
    full = driving_coefficients(driven, own)
    assert full.shape == (4, 73)
    assert np.array_equal(full[:, :70], driven)
    assert np.array_equal(full[:, 70:], np.tile(own[70:], (4, 1)))
    assert np.array_equal(driven, before[0])
    assert np.array_equal(own, before[1])


def test_a_drivers_own_crop_is_left_out():
    driven, own = coefficients(4, columns=73), coefficients(1, seed=1, columns=73)
    assert np.array_equal(driving_coefficients(driven, own), driving_coefficients(driven[:, :70], own))


@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("columns", [70, 73])
def test_expression_scale_is_for_the_drivers_expression_alone(columns, still):
    driven, own = coefficients(4), coefficients(1, seed=1, columns=columns)
    plain = driving_coefficients(driven, own, still=still)
    scaled = driving_coefficients(driven, own, still=still, expression_scale=1.5)
    assert np.array_equal(scaled[:, :64], driven[:, :64] * np.float32(1.5))
    assert np.array_equal(scaled[:, 64:], plain[:, 64:])


@pytest.mark.parametrize("columns", [70, 73])
def test_still_holds_all_but_the_expression(columns):
    driven, own = coefficients(4), coefficients(1, seed=1, columns=columns)[0]
    held = driving_coefficients(driven, own, still=True)
    assert np.array_equal(held[:, :64], driven[:, :64])
    assert np.array_equal(held[:, 64:], np.tile(own[64:], (4, 1)))


def by_release(stops: list[float], frames: int) -> list[float]:
    """SadTalker's sequence, one angle after the other."""
    step = sum(abs(b - a) for a, b in pairwise(stops)) / (frames - 1)
    walked = []
    for a, b in pairwise(stops):
        angle, taken = a, 0
        while (angle - a) * math.copysign(1, b - a) < abs(b - a):
            walked.append(angle)
            taken += 1
            angle = a + taken * math.copysign(step, b - a)
    return (walked + [walked[-1]] * frames)[:frames]


def test_a_walk_is_the_releases_sequence():
    assert walk([-30, 0, 30], 5).tolist() == [-30, -15, 0, 15, 15]
    assert walk([-30, 30, 0], 91).tolist() == [*range(-30, 30), *range(30, 0, -1), 1]
    assert walk([0, 10, -1], 7).tolist() == [0, 3.5, 7, 10, 6.5, 3, -0.5]  # each leg starts at its angle
    assert walk([0, 1, 0, 1, 0], 3).tolist() == [0, 1, 0]  # more legs than frames
    assert walk([5, 25], 2).tolist() == [5, 5]
    for stops in ([-20, 20], [3, -7.5, 12, 12.5], [0, 45, -45, 0], [1, 2, 1, 2, 1]):
        for frames in (2, 3, 8, 25, 100):
            np.testing.assert_allclose(walk(stops, frames), by_release(stops, frames), atol=1e-12)


@pytest.mark.parametrize("degrees", [20, [20], [20, 20], [20.0, 20.0, 20.0]])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_walk_that_goes_nowhere_stays(degrees, frames):
    assert walk(degrees, frames).tolist() == [20] * frames


def test_an_angle_said_twice_takes_no_time():
    assert walk([0, 10, 10, 20, 20], 5).tolist() == walk([0, 10, 20], 5).tolist() == [0, 5, 10, 15, 15]
    assert walk([5, 25], 1).tolist() == [5]


@pytest.mark.parametrize("degrees", [[], [np.nan], [0, np.inf], [[1, 2], [3, 4]]])
def test_a_walk_needs_angles(degrees):
    with pytest.raises(ValueError, match="expected an angle in degrees, or a list of them"):
        walk(degrees, 3)


def test_a_walk_needs_frames():
    with pytest.raises(ValueError, match="at least 1 frame to walk over, got 0"):
        walk([0, 1], 0)


def test_pose_views_set_what_is_given():
    assert pose_views(3) is None
    views = pose_views(3, yaw=[-30, 30], roll=4)
    assert views == [View(yaw=yaw, roll=4, mode="replace") for yaw in (-30, 0, 0)]


GOOD = coefficients(3)
BROKEN = GOOD.copy()
BROKEN[1, 5] = np.nan


@pytest.mark.parametrize(
    ("driven", "own", "message"),
    [
        (GOOD[:, :69], GOOD[0], r"driving coefficients: expected .* \(T, 70\) or \(T, 73\), got \(3, 69\)"),
        (GOOD[0], GOOD[0], r"driving coefficients: .* got \(70,\)"),
        (GOOD[:0], GOOD[0], "driving coefficients: .* at least one frame, got none"),
        (BROKEN, GOOD[0], "driving coefficients: frame 1 holds NaN"),
        (GOOD, BROKEN[1], "source coefficients: frame 0 holds NaN"),
        (GOOD, GOOD[0, :64], r"source coefficients: .* got \(1, 64\)"),
        (GOOD, GOOD, "source coefficients: expected a row a portrait, 1; got 3"),
        (GOOD.astype(np.float64) * 1e300, GOOD[0], "driving coefficients: frame 0 holds NaN or infinite"),
        ("driver.mat", GOOD[0], "driving coefficients: expected coefficients, an array .* got str"),
        (GOOD.astype(complex), GOOD[0], "driving coefficients: expected coefficients, an array"),
    ],
)
def test_what_is_no_sequence_is_refused(driven, own, message):
    with pytest.raises(ValueError, match=message):
        driving_coefficients(driven, own)


def test_a_scale_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="finite expression_scale, got nan"):
        driving_coefficients(GOOD, GOOD[0], expression_scale=float("nan"))


def test_the_wrong_of_two_widths_comes_with_advice():
    with pytest.raises(
        ValueError, match=r"\(T, 73\), got \(3, 70\): .*driving_coefficients\(driving, source\)"
    ):
        check_coefficients(GOOD, (73,), "driving coefficients")
    with pytest.raises(ValueError, match=r"\(T, 70\), got \(3, 73\): .*the first 70 columns"):
        check_coefficients(coefficients(3, columns=73), (70,), "driving coefficients")


def test_tensors_and_other_numbers_are_taken():
    for given in (GOOD.tolist(), torch.from_numpy(GOOD), torch.from_numpy(GOOD).double(), GOOD.astype(">f8")):
        taken = check_coefficients(given, (70,), "some")
        assert taken.dtype == np.float32
        assert np.array_equal(taken, GOOD)
    assert check_coefficients(torch.from_numpy(GOOD).bfloat16(), (70,), "some").shape == GOOD.shape


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".NPY"])
def test_files_give_back_what_they_were_given(suffix, tmp_path):
    path = tmp_path / f"talk{suffix}"
    write = {
        ".npy": lambda file: np.save(file, GOOD),
        ".npz": lambda file: np.savez(file, coeff_3dmm=GOOD, fps=25),
        ".mat": lambda file: savemat(file, {"coeff_3dmm": GOOD, "full_3dmm": np.zeros((3, 257))}),
    }[suffix.lower()]
    with path.open("wb") as file:
        write(file)
    read = read_coefficients(path)
    assert read.dtype == np.float32
    assert np.array_equal(read, GOOD)


def test_one_row_may_be_a_vector(tmp_path):
    np.save(tmp_path / "own.npy", coefficients(1, columns=73)[0])
    assert np.array_equal(read_coefficients(tmp_path / "own.npy"), coefficients(1, columns=73))


class Trap:
    """Read by an unwary unpickler, it makes a file."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self):
        return open, (self.target, "w")


def saved(array, **kwargs) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **kwargs)
    return file.getvalue()


def mat(**entries) -> bytes:
    file = io.BytesIO()
    savemat(file, entries)
    return file.getvalue()


def npz(**entries) -> bytes:
    file = io.BytesIO()
    np.savez(file, **entries)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.npy", b"", "the file is empty"),
        ("text.npy", b"no numbers\n" * 40, r"text\.npy: no \.npy file of numbers, or a damaged one"),
        ("text.npz", b"no numbers\n" * 40, r"no \.npz file of numbers"),
        ("text.mat", b"no numbers\n" * 40, r"no \.mat file of numbers"),
        ("cut.npy", saved(GOOD)[:-100], r"no \.npy file of numbers, or a damaged one"),
        ("cut.npz", npz(coeff_3dmm=GOOD)[:-100], r"no \.npz file of numbers"),
        ("cut.mat", mat(coeff_3dmm=GOOD)[:-100], r"no \.mat file of numbers"),
        ("other.npz", npz(motion=GOOD), "expected the array 'coeff_3dmm' in it; the file holds motion"),
        ("other.mat", mat(motion=GOOD), "expected the array 'coeff_3dmm' in it; the file holds motion"),
        ("wide.npy", saved(np.zeros((3, 257))), r"wide\.npy: .*\(T, 70\) or \(T, 73\), got \(3, 257\)"),
        ("nan.npy", saved(BROKEN), r"nan\.npy: frame 1 holds NaN"),
        ("none.npy", saved(GOOD[:0]), "at least one frame, got none"),
        ("cube.npy", saved(GOOD[None]), r"got \(1, 3, 70\)"),
        ("words.npy", saved(np.array(["a", "b"])), "expected coefficients, an array"),
        ("words.mat", mat(coeff_3dmm="seventy"), "expected 'coeff_3dmm' as an array of real numbers"),
        ("complex.mat", mat(coeff_3dmm=GOOD * 1j), "expected 'coeff_3dmm' as an array of real numbers"),
        ("cells.mat", mat(coeff_3dmm=np.array([GOOD, "a"], object)), "as an array of real numbers"),
        ("talk.csv", b"1,2,3\n", r"expected a file that ends in \.npy, \.npz or \.mat, got '\.csv'"),
    ],
)
def test_what_is_no_file_of_coefficients_is_refused(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_coefficients(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.npy: no such file"):
        read_coefficients(tmp_path / "absent.npy")


def test_code_in_a_file_is_not_run(tmp_path):
    """A pickle under three names, and numpy's own way to store one."""
    trap = Trap(str(tmp_path / "sprung"))
    stored = np.array([trap], dtype=object)
    contents = {"npz": npz(coeff_3dmm=stored), "npy": saved(stored, allow_pickle=True)}
    for name, content in [
        *contents.items(),
        *((suffix, pickle.dumps(trap)) for suffix in ("npy", "npz", "mat")),
    ]:
        path = tmp_path / f"trap.{name}"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="file of numbers, or a damaged one") as raised:
            read_coefficients(path)
        assert "pickle" not in str(raised.value)
        assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("compressed", [False, True], ids=["stored", "compressed"])
@pytest.mark.parametrize("kind", ["f4", "f8", "i1", "u2", "i4", "i8"])
def test_mat_files_are_read_as_scipy_reads_them(tmp_path, compressed, kind):
    """Among cells, structures and complex numbers, which are passed over."""
    values = (100 * np.random.default_rng(0).standard_normal((5, 70))).astype(kind)
    others = {"cells": np.array([1, "a"], object), "named": {"a": [1, 2]}, "waves": 1j, "text": "abc"}
    path = tmp_path / "talk.mat"
    savemat(path, others | {"coeff_3dmm": values}, do_compression=compressed)
    np.testing.assert_array_equal(read_coefficients(path), loadmat(path)["coeff_3dmm"].astype(np.float32))


def test_mat_files_need_no_scipy(tmp_path):
    (tmp_path / "talk.mat").write_bytes(mat(coeff_3dmm=GOOD))
    script = (
        "import sys\n"
        "sys.modules['scipy'] = sys.modules['scipy.io'] = None\n"  # as Python remembers what is not there
        "from fv2v import read_coefficients\n"
        "print(read_coefficients(sys.argv[1]).shape)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "talk.mat")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "(3, 70)\n"
