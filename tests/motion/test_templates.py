# SPDX-License-Identifier: Apache-2.0
"""LivePortrait's motion templates: real ones from the folder FV2V_MEDIA, others made on the spot."""

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import clips
import numpy as np
import parity
import pytest
import torch
from motion_samples import K, assert_same_sequence, frame_with, moving, saved, sequence, template
from output_files import leftovers
from refusals import assert_refused
from tiny import TINY_LIVEPORTRAIT, TINY_VOX, pictures

from fv2v import Motion, Reenactor, Timing, extract, read_motion, render, write_motion
from fv2v.geometry import keypoints_of, place
from fv2v.io.image import write_image
from fv2v.io.video import read_video

REAL = {"talking.pkl": (100, 20), "shake_face.pkl": (93, 20), "d5.pkl": (148, 30)}


def older(stored: dict[str, Any]) -> dict[str, Any]:
    """In the names of the first version."""
    motion = [{"R_d" if name == "R" else name: frame[name] for name in frame} for frame in stored["motion"]]
    names = {"c_eyes_lst": "c_d_eyes_lst", "c_lip_lst": "c_d_lip_lst"}
    return {names.get(name, name): value for name, value in stored.items()} | {"motion": motion}


def without(stored: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in stored.items() if name not in names}


def assert_holds(path: Path, stored: dict[str, Any]) -> None:
    """What is read is what the template says, in columns."""
    read = read_motion(path)
    assert read.preset == "liveportrait"
    assert read.timing == Timing.even(len(stored["motion"]), stored.get("output_fps", 25))
    for i, frame in enumerate(stored["motion"]):
        R = frame.get("R", frame.get("R_d"))
        assert np.array_equal(read.motion.rotation[i].numpy(), R[0].T)
        assert np.array_equal(read.motion.expression[i].numpy(), frame["exp"][0])
        assert np.array_equal(read.motion.translation[i].numpy(), frame["t"][0])
        assert np.array_equal(read.motion.scale[i].numpy(), frame["scale"][0])
    for name, got in (("eyes", read.eyes), ("lip", read.lips)):
        rows = stored.get(f"c_{name}_lst", stored.get(f"c_d_{name}_lst"))
        assert (got is None) == (rows is None)
        assert got is None or np.array_equal(got.numpy(), np.concatenate(rows))


def completed(stored: dict[str, Any]) -> dict[str, Any]:
    """With a face at rest where a template says nothing of eyes and lips: so it is written again."""
    if "c_eyes_lst" in stored or "c_d_eyes_lst" in stored:
        return stored
    T = len(stored["motion"])
    eyes, lips = np.full((1, 2), 0.3, np.float32), np.zeros((1, 1), np.float32)
    return stored | {"c_eyes_lst": [eyes] * T, "c_lip_lst": [lips] * T}


def as_the_release_reads(path: Path) -> list[dict[str, Any]]:
    """What LivePortrait's scripts look up in a template, in its first version and now."""
    with path.open("rb") as file:
        stored = pickle.load(file)
    read = []
    for i in range(stored["n_frames"]):
        eyes, lips = stored["c_d_eyes_lst"][i], stored["c_d_lip_lst"][i]
        assert np.array_equal(stored["c_eyes_lst"][i], eyes)
        assert np.array_equal(stored["c_lip_lst"][i], lips)
        assert (eyes.shape, eyes.dtype, lips.shape, lips.dtype) == ((1, 2), np.float32, (1, 1), np.float32)
        read.append({**stored["motion"][i], "eyes": float(eyes[0][0]), "lips": float(lips[0][0])})
    assert all({"R", "t", "exp", "scale"} <= frame.keys() for frame in read)
    assert stored["output_fps"] > 0
    return read


SPELLINGS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "now": lambda stored: stored,
    "older": older,
    "oldest": lambda stored: without(stored, "c_eyes_lst", "c_lip_lst"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_read_written_and_read_it_is_the_same(spelling, tmp_path):
    stored = SPELLINGS[spelling](template())
    path = saved(tmp_path / "first.pkl", stored)
    assert_holds(path, stored)
    write_motion(tmp_path / "second.pkl", read_motion(path))
    stored = completed(stored)
    assert_holds(tmp_path / "second.pkl", stored)
    as_the_release_reads(tmp_path / "second.pkl")
    write_motion(tmp_path / "third.npz", read_motion(path))
    assert_same_sequence(read_motion(tmp_path / "third.npz"), read_motion(path))
    assert not leftovers(tmp_path, *(tmp_path / name for name in ("first.pkl", "second.pkl", "third.npz")))


@pytest.mark.parametrize("name", REAL)
def test_real_templates(name, tmp_path):
    path = clips.real(name)
    with path.open("rb") as file:
        stored = pickle.load(file)
    assert_holds(path, stored)
    read = read_motion(path)
    assert (len(read), read.timing.rate) == REAL[name]
    write_motion(tmp_path / name, read)
    assert_holds(tmp_path / name, completed(stored))
    as_the_release_reads(tmp_path / name)
    with (tmp_path / name).open("rb") as file:  # any reader of such files finds what it knows
        again = pickle.load(file)
    assert (again["n_frames"], again["output_fps"]) == (stored["n_frames"], stored["output_fps"])
    for frame, before in zip(again["motion"], stored["motion"], strict=True):
        for key, values in before.items():
            got = frame["R" if key == "R_d" else key]
            assert (got.dtype, got.shape) == (values.dtype, values.shape)
            assert np.array_equal(got, values)


@pytest.fixture(scope="module")
def portrait(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("portrait") / "portrait.png"
    write_image(path, pictures(1, size=64)[0])
    return path


@pytest.fixture(scope="module")
def reenactor() -> Reenactor:
    return moving(TINY_LIVEPORTRAIT)


@pytest.mark.parametrize("name", ["made", *REAL])
def test_a_template_drives_a_portrait(name, portrait, reenactor, tmp_path):
    """A frame for each of its frames, at its rate."""
    path = saved(tmp_path / "made.pkl", template()) if name == "made" else clips.real(name)
    report = render(portrait, path, tmp_path / "out.mp4", reenactor=reenactor, crop=False, batch_size=16)
    read, made = read_motion(path), read_video(tmp_path / "out.mp4")
    frames = list(made)
    assert report.frames == len(frames) == len(read)
    assert made.rate == read.timing.rate
    assert len({frame.tobytes() for frame in frames}) > len(frames) // 2


def test_it_moves_keypoints_as_the_release_does(reenactor, tmp_path):
    """Written out for rows, as the release multiplies: relative to the first frame, and absolute."""
    stored = template()
    sequence = read_motion(saved(tmp_path / "made.pkl", stored))
    source = reenactor.encode(pictures(1)[0])
    own, x_c = source.motion, source.canonical[0].double().numpy()
    R_s = own.rotation[0].double().numpy().T
    t_s, δ_s, s_s = (each[0].double().numpy() for each in (own.translation, own.expression, own.scale))
    first = {name: values[0].astype(float) for name, values in stored["motion"][0].items()}
    placed = place(
        source, sequence.motion, sequence.motion[:1], geometry=TINY_LIVEPORTRAIT.geometry
    ).kp_driving
    for frame, got in zip(stored["motion"], placed, strict=True):
        now = {name: values[0].astype(float) for name, values in frame.items()}
        R = now["R"] @ first["R"].T @ R_s
        δ = δ_s + now["exp"] - first["exp"]
        t = t_s + now["t"] - first["t"]
        t[2] = 0
        expected = s_s * now["scale"] / first["scale"] * (x_c @ R + δ) + t
        assert np.abs(got.numpy()[:, :2] - expected[:, :2]).max() < 1e-5
    turned = keypoints_of(source.canonical, sequence.motion)[2].numpy()
    last = {name: values[0] for name, values in stored["motion"][2].items()}
    assert np.abs(turned - (last["scale"] * (x_c @ last["R"] + last["exp"]) + last["t"])).max() < 1e-5


def test_what_is_extracted_into_a_template_is_the_same_motion(reenactor, tmp_path):
    """All but the time stamps, which go on at their average rate."""
    images = clips.moving_picture(clips.portrait(), 4, reach=0.2)
    driving = clips.write_clip(tmp_path / "driving.mp4", images, pts=clips.uneven_pts(4))
    for name in ("motion.npz", "motion.pkl"):
        extract(driving, tmp_path / name, reenactor=reenactor, crop=False)
    kept, even = (read_motion(tmp_path / f"motion.{end}") for end in ("npz", "pkl"))
    assert list(kept.timing.pts) == clips.uneven_pts(4)
    assert even.timing == Timing.even(4, kept.timing.rate)
    assert kept.eyes is kept.lips is None  # nothing is known, and a template says so as of a face at rest
    assert_same_sequence(replace(even, timing=kept.timing, preset=kept.preset, eyes=None, lips=None), kept)
    read = as_the_release_reads(tmp_path / "motion.pkl")
    assert [(frame["eyes"], frame["lips"]) for frame in read] == [(pytest.approx(0.3), 0.0)] * 4


def openness(face: np.ndarray) -> tuple[float, ...]:
    """Height over width of the left eye, the right eye and the lips of 203 landmarks."""
    pairs = ((6, 18, 0, 12), (30, 42, 24, 36), (90, 102, 48, 66))
    return tuple(math.dist(face[a], face[b]) / (math.dist(face[c], face[d]) + 1e-6) for a, b, c, d in pairs)


MARKED = np.stack([parity.fake_landmarks(203, seed) for seed in "abcd"]) * 0.6
HIDDEN = MARKED.copy()
HIDDEN[[0, 2]] = np.nan


@pytest.mark.parametrize(
    ("marks", "seen"),
    [(MARKED, [0, 1, 2, 3]), (MARKED[0], [0, 0, 0, 0]), (HIDDEN, [1, 1, 1, 3])],
    ids=["a frame", "for all", "hidden at times"],
)
def test_landmarks_tell_how_far_eyes_and_lips_are_open(marks, seen, reenactor, fv2v, tmp_path):
    driving = clips.write_clip(tmp_path / "driving.mp4", clips.moving_picture(clips.portrait(), 4))
    expected = np.array([openness(MARKED[i].astype(np.float64)) for i in seen])
    for name in ("motion.pkl", "motion.npz"):
        report = extract(driving, tmp_path / name, reenactor=reenactor, driving_face=marks)
        assert not report.notes
        kept = read_motion(tmp_path / name)
        assert np.abs(np.hstack([kept.eyes.numpy(), kept.lips.numpy()]) - expected).max() < 1e-6
    read = as_the_release_reads(tmp_path / "motion.pkl")
    assert [frame["eyes"] for frame in read] == pytest.approx(expected[:, 0])
    assert [frame["lips"] for frame in read] == pytest.approx(expected[:, 2])


@pytest.mark.parametrize("marks", [None, parity.fake_landmarks(68) * 0.6, [20, 20, 200, 200]], ids=str)
def test_a_line_tells_where_nothing_is_known_of_eyes_and_lips(marks, reenactor, fv2v, tmp_path):
    driving = clips.write_clip(tmp_path / "driving.mp4", clips.moving_picture(clips.portrait(), 2))
    reenactor.save(tmp_path / "live.safetensors")
    faces = ["--no-crop"]
    if marks is not None:
        np.save(tmp_path / "faces.npy", marks)
        faces = ["--driving-face", tmp_path / "faces.npy"]
    for name in ("motion.pkl", "motion.npz"):
        code, out, err = fv2v(
            "extract", driving, "-o", tmp_path / name, "-w", tmp_path / "live.safetensors", *faces
        )
        assert (code, out.count("\n")) == (0, 1)
        note = "fv2v: note: eyes and lips are as at rest throughout, since how far they are open needs 203 "
        assert err.startswith(note) if name.endswith("pkl") else not err


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("home", [b"numpy.core", b"numpy._core"])
def test_whichever_pickle_and_numpy_wrote_it(protocol, home, tmp_path):
    stored = template() | {"n_frames": np.int64(4), "output_fps": np.float64(29.97)}
    stored["motion"][0]["R"] = np.asfortranarray(stored["motion"][0]["R"])
    stored["motion"][1]["exp"] = stored["motion"][1]["exp"].astype(">f4")
    data = pickle.dumps(stored, protocol)
    for found in {b"numpy.core.", b"numpy._core."} - {home + b"."}:
        data = renamed(data, found, home + b".")
    (tmp_path / "made.pkl").write_bytes(data)
    assert {home.decode()} == {name for name in ("numpy.core", "numpy._core") if name.encode() in data}
    assert_holds(tmp_path / "made.pkl", stored)


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    """`data` with modules under another name, lengths of the text and of frames mended."""
    out = io.BytesIO()
    operations = list(pickletools.genops(data))
    ends = [position for *_, position in operations[1:]] + [len(data)]
    for (operation, _, start), end in zip(operations, ends, strict=True):
        part = data[start:end]
        if operation.name == "FRAME":  # frames are optional
            continue
        if operation.name == "SHORT_BINUNICODE" and old in part:
            text = part[2:].replace(old, new)
            part = part[:1] + bytes([len(text)]) + text
        elif operation.name == "GLOBAL":
            part = part.replace(old, new)
        out.write(part)
    return out.getvalue()


def test_what_generators_leave_out_or_add(tmp_path):
    """Audio-driven ones write no eyes and lips, or none yet, and angles beside rotations."""
    stored = without(template(), "n_frames", "output_fps") | {"c_eyes_lst": [], "c_lip_lst": [None] * 4}
    for i, frame in enumerate(stored["motion"]):
        del frame["kp"], frame["x_s"]
        frame |= {
            "pitch": np.zeros((1, 1)),
            "yaw": 3.5,
            "note": "as spoken",
            "exp": frame["exp"].astype(float),
        }
        frame["t"] = frame["t"][None] if i % 2 else frame["t"][0]
        frame["exp"] = frame["exp"].reshape(1, 3 * K)
    read = read_motion(saved(tmp_path / "made.pkl", stored))
    assert (read.eyes, read.lips, read.timing.rate) == (None, None, 25)
    expected = read_motion(saved(tmp_path / "plain.pkl", template())).motion
    assert torch.equal(read.motion.expression, expected.expression)
    assert torch.equal(read.motion.translation, expected.translation)


def test_rates_are_the_fractions_that_are_meant(tmp_path):
    for rate in (Fraction(30_000, 1001), Fraction(25), Fraction(25, 2)):
        ratios = {"eyes": torch.rand(3, 2), "lips": torch.rand(3, 1)}
        kept = sequence(K=K, preset="liveportrait", timing=Timing.even(3, rate), **ratios)
        write_motion(tmp_path / "made.pkl", kept)
        assert_same_sequence(read_motion(tmp_path / "made.pkl"), kept)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (frame_with(exp=np.zeros((1, 15, 3))), r"frame 2: expected exp \(1, 21, 3\), got \(1, 15, 3\)"),
        (frame_with(exp=np.zeros((1, 3, 21))), r"frame 2: expected exp \(1, 21, 3\), got \(1, 3, 21\)"),
        (frame_with(R=np.zeros((1, 3))), r"frame 2: expected R \(1, 3, 3\), got \(1, 3\)"),
        (frame_with(R=np.zeros((1, 3, 3))), "expected rotations, got at frame 2 a matrix that is none"),
        (frame_with(t=np.array([[0, np.nan, 0]])), "translation holds NaN or infinite numbers"),
        (frame_with(exp=np.full((1, K, 3), np.inf)), "expression holds NaN or infinite numbers"),
        (frame_with(scale=np.zeros((1, 1))), "expected positive scales"),
        (frame_with(scale="large"), "expected numbers for scale, got str"),
        (
            template() | {"motion": [{"R": np.eye(3)}], "n_frames": 1},
            "frame 0: expected R, t, exp, scale; it has R",
        ),
        (template(n_frames=5), "n_frames says 5, and there is motion of 4 frames"),
        (template(n_frames=0, motion=[]), "n_frames says 0, and there is motion of 0 frames"),
        (template(n_frames="four"), "expected numbers for n_frames, got str"),
        (template(output_fps=0), "frames a second, a number above 0, got 0"),
        (template(output_fps=float("nan")), "frames a second, a number above 0, got nan"),
        (template(c_eyes_lst=[np.zeros((1, 2))] * 3), "expected c_eyes_lst of 4 frames, 2 numbers each"),
        (template(c_lip_lst=[np.zeros((1, 2))] * 4), "expected c_lip_lst of 4 frames, 1 numbers each"),
        (template(motion="none"), "expected a motion template of LivePortrait: `motion`, a list"),
        (template(motion=[3]), "expected a motion template of LivePortrait: `motion`, a list"),
        ([template()], "expected a motion template of LivePortrait: `motion`, a list"),
        (3, "expected a motion template of LivePortrait: `motion`, a list"),
    ],
)
def test_what_is_no_template_is_refused(stored, message, tmp_path):
    with pytest.raises(ValueError, match=rf"made\.pkl: .*{message}"):
        read_motion(saved(tmp_path / "made.pkl", stored))


def test_a_damaged_template_is_told(tmp_path):
    whole = pickle.dumps(template(), 4)
    for content in (whole[:-1], whole[: len(whole) // 2], whole[:3], b"no pickle\n" * 40, b"\x80\x04"):
        (tmp_path / "made.pkl").write_bytes(content)
        with pytest.raises(
            ValueError, match=r"made\.pkl: expected a motion template .* cut short$"
        ) as raised:
            read_motion(tmp_path / "made.pkl")
        assert "\n" not in str(raised.value)
    random = np.random.default_rng(0)
    for _ in range(200):  # a byte anywhere: a sequence, or a ValueError
        content = bytearray(whole)
        content[random.integers(len(content))] = random.integers(256)
        (tmp_path / "made.pkl").write_bytes(content)
        with suppress(ValueError):
            assert len(read_motion(tmp_path / "made.pkl")) == 4


def test_only_liveportraits_motion_goes_in_and_only_it_is_moved(portrait, reenactor, fv2v, tmp_path):
    with pytest.raises(ValueError, match=r"made\.pkl: a template has 21 keypoints, motion of 'some' has 5"):
        write_motion(tmp_path / "made.pkl", sequence())
    path = saved(tmp_path / "made.pkl", template())
    vox = moving(TINY_VOX)
    vox.save(tmp_path / "vox.safetensors")
    message = "motion of 'liveportrait' with 21 keypoints cannot move 'tiny-vox', which has 5"
    with pytest.raises(ValueError, match=message):
        render(portrait, path, tmp_path / "out.mp4", reenactor=vox)
    command = ["render", clips.PORTRAIT, path, "-o", tmp_path / "out.mp4", "-w", tmp_path / "vox.safetensors"]
    assert_refused(fv2v(*command), message)
    driving = clips.write_clip(tmp_path / "driving.mp4", np.zeros((2, 64, 64, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"new\.pkl: templates hold LivePortrait's motion, this is 'tiny-vox'"
    ):
        extract(driving, tmp_path / "new.pkl", reenactor=vox)
    reenactor.save(tmp_path / "live.safetensors")
    code, out, err = fv2v(*command[:-1], tmp_path / "live.safetensors")
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'out.mp4'}: 4 frames in ")
    assert isinstance(read_motion(path).motion, Motion)
