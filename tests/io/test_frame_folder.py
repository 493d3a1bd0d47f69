# SPDX-License-Identifier: Apache-2.0
"""Folders and patterns of frames that are none: one error that says why."""

import hostile_folders
import pytest

from fv2v.io.frame_folder import FrameFolder


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("gap", "number 2 is missing"),
        ("twice", "expected a file a number, got 0?1.png and 0?1.png"),
        ("twice-in-other-digits", "expected a file a number"),
        ("none", "no file has such a name"),
        ("pipe", "got a pipe"),
        ("loop", "no such file"),
    ],
)
def test_patterns(tmp_path, case, said):
    hostile_folders.unpacked(hostile_folders.PATTERNS[case](), tmp_path)
    with pytest.raises((ValueError, OSError), match=said):
        list(FrameFolder(tmp_path / "%d.png"))
