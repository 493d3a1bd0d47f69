# SPDX-License-Identifier: Apache-2.0
"""Pickles of plain values, as motion templates are: numbers come as they went, and nothing is run."""

import pickle

import numpy as np
import pytest
import torch
from motion_samples import Trap, frame_with, saved, template
from output_files import leftovers

from fv2v import Timing, read_motion
from fv2v.io.restricted_pickle import RefusedError, read_plain


class Foreign:
    pass


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_nothing_in_a_template_is_run(protocol, tmp_path):
    """Code and classes are refused in one line; the numbers beside them are not read either."""
    trap, target = Trap(tmp_path / "sprung"), tmp_path / "made.pkl"
    for stored, asked in (
        (template(n_frames=trap), "'_?io.open'"),
        (frame_with(exp=trap), "'_?io.open'"),
        (template(note=Foreign()), "'test_restricted_pickle.Foreign'|'copy_?reg._reconstructor'"),
        (template(note={1, 2}), "'builtins.set'|'__builtin__.set'"),
        (template(note=torch.nn.Identity), "'torch.nn.modules.linear.Identity'"),
        (template(note=Timing), "'fv2v.io.timing.Timing'"),
        (template(note=np.array([trap], dtype=object)), "'_?io.open'|an array of 'O8'"),
        (template(note=np.array(["text"])), "an array of 'U4'"),
        (template(note=np.rec.array([(1, 2.0)])), "'numpy.*rec|numpy.record'|an array of 'V16'"),
    ):
        if protocol >= 4 and asked == "'builtins.set'|'__builtin__.set'":
            continue  # sets are values there
        with pytest.raises(
            ValueError, match=rf"made\.pkl: refused, nothing in it was run: .*({asked})"
        ) as raised:
            read_motion(saved(target, stored, protocol))
        assert "\n" not in str(raised.value)
    assert not leftovers(tmp_path, target)


def assembled(*parts: bytes) -> bytes:
    return b"".join((*parts, b"."))


@pytest.mark.parametrize(
    "data",
    [
        assembled(b"cnumpy\nndarray\n((K\x01tcnumpy\ndtype\n(Vf8\ntRC\x08\x00\x00\x00\x00\x00\x00\x00\x00tR"),
        assembled(b"cnumpy\ndtype\n}Vdtype\nVO8\nsb"),  # another state for the class
        assembled(b"cnumpy\ndtype\n(Vf4\ntR(K\x03Vf4,O\nNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ftb"),
        assembled(b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(Vf4\ntRC\x04aaaatR}b"),
        assembled(b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01(K\x09tNNC\x04aaaatb"),
        assembled(b"c_codecs\nencode\n(Vx\nVrot13\nt\x81}b"),
        assembled(b"cnumpy.core.numeric\n_frombuffer\n(Nctest_restricted_pickle\nForeign\ntR"),
        assembled(b"\x82\x01"),  # of the registry of extensions
        assembled(b"Pname\n"),  # by a name that only its writer knows
    ],
)
def test_pickles_put_together_by_hand_come_to_nothing(data):
    with pytest.raises(ValueError):  # noqa: PT011 - refused or damaged, as it may be
        read_plain(data)


def test_numbers_and_arrays_come_as_they_went():
    for value in (
        np.arange(6.0).reshape(2, 3).T,
        np.float32(3),
        np.int8(-3),
        np.ones(2, bool),
    ):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            read = np.asarray(read_plain(pickle.dumps([value], protocol))[0])
            assert read.dtype == value.dtype
            assert np.array_equal(read, value)
    plain = {"a": [1, 2.5, None, True, "ü", b"\xff"], "b": ({}, (), -(10**30))}
    assert read_plain(pickle.dumps(plain)) == plain
    with pytest.raises(
        RefusedError, match=r"it asks for 'test_restricted_pickle\.Foreign', expected dicts, lists"
    ):
        read_plain(pickle.dumps(Foreign))
