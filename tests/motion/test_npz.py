# SPDX-License-Identifier: Apache-2.0
"""Files of motion: which are refused. What comes back is in test_sequence.py."""

import io

import numpy as np
import pytest
from motion_samples import Trap, sequence

from fv2v import read_motion, write_motion
from fv2v.motion.coefficients import KEY

FRAMES = 6


@pytest.fixture(scope="module")
def arrays(tmp_path_factory) -> dict[str, np.ndarray]:
    """Of a file of FRAMES frames."""
    path = tmp_path_factory.mktemp("npz") / "motion.npz"
    write_motion(path, sequence(FRAMES))
    with np.load(path) as stored:
        return dict(stored)


def npz(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rotation": None}, r"expected motion, with the arrays rotation, .*; the file has no rotation"),
        ({"expression": np.zeros((FRAMES, 4, 3))}, r"expected expression \(T, 5, 3\), got \(6, 4, 3\)"),
        ({"keypoints": np.array(15)}, r"expected expression \(T, 15, 3\), got \(6, 5, 3\)"),
        ({"translation": np.full((FRAMES, 3), np.nan)}, "translation holds NaN or infinite"),
        ({"translation": np.full((FRAMES, 3), 1e300)}, "translation holds NaN or infinite"),
        ({"translation": np.array(["a"])}, "expected numbers for translation, got an array of <U1"),
        ({"pts": np.arange(FRAMES)[::-1]}, "time stamps that rise, got 5 and then 4"),
        ({"pts": np.arange(FRAMES + 1)}, "a time stamp for each of 6 frames, got 7"),
        ({"pts": np.arange(FRAMES) / 25}, r"whole numbers for pts, got \(6,\) of float64"),
        ({"rate": np.array([25, 0])}, "expected rate as numerator and denominator, got 25 and 0"),
        ({"time_base": np.array(25)}, r"expected 2 whole numbers for time_base, got \(\) of int64"),
        ({"version": np.array(2)}, "expected motion of version 1, got 2"),
        ({KEY: np.zeros((3, 70)), "scale": None}, "found SadTalker's coefficients: fv2v.read_coefficients"),
    ],
)
def test_what_is_no_file_of_motion_is_refused(changed, message, arrays, tmp_path):
    kept = {name: array for name, array in (arrays | changed).items() if array is not None}
    (tmp_path / "changed.npz").write_bytes(npz(**kept))
    with pytest.raises(ValueError, match=rf"changed\.npz: .*{message}"):
        read_motion(tmp_path / "changed.npz")


def test_damaged_files_and_other_names_are_refused(arrays, tmp_path):
    whole = npz(**arrays)
    for content in (whole[:-100], b"no numbers\n" * 40, npz(rotation=np.array([Trap(tmp_path / "sprung")]))):
        (tmp_path / "motion.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"motion\.npz: no \.npz file of motion, or a damaged") as raised:
            read_motion(tmp_path / "motion.npz")
        assert "pickle" not in str(raised.value)
    assert not (tmp_path / "sprung").exists()
    (tmp_path / "motion.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="the file is empty"):
        read_motion(tmp_path / "motion.npz")
    (tmp_path / "driving.mp4").write_bytes(whole)
    with pytest.raises(ValueError, match=r"a file that ends in \.npz, \.pkl; got '\.mp4'"):
        read_motion(tmp_path / "driving.mp4")
    with pytest.raises(FileNotFoundError, match=r"absent\.npz: no such file"):
        read_motion(tmp_path / "absent.npz")
    with pytest.raises(ValueError, match=r"ends in \.npz, \.pkl, got '\.csv'"):
        write_motion(tmp_path / "motion.csv", sequence())
