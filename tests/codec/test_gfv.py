# SPDX-License-Identifier: Apache-2.0
"""GFV and GFVE messages, against a reader written from the table of the syntax, bit by bit."""

import random

import av
import clips
import numpy as np
import pytest
from codec_cases import one_by_one, talking

import fv2v
from fv2v.codec import CodecError
from fv2v.codec.gfv import GfvReader, GfvWriter, gfv_of, motion_of
from fv2v.codec.gfv_types import (
    GFV,
    GFVE,
    Coordinates,
    Enhancement,
    Matrices,
    Message,
    Network,
)
from fv2v.codec.h265 import messages_of, read_h265, suffix_sei, write_h265


class Table:
    """A message read bit by bit, field by field, as the table lists them: (name, value) each."""

    def __init__(self, payload: bytes) -> None:
        self.bits = [byte >> (7 - i) & 1 for byte in payload for i in range(8)]
        self.at, self.fields = 0, []

    def u(self, name, count):
        value = 0
        for _ in range(count):
            value, self.at = 2 * value + self.bits[self.at], self.at + 1
        self.fields.append((name, value))
        return value

    def ue(self, name):
        zeros = 0
        while self.bits[self.at] == 0:
            zeros, self.at = zeros + 1, self.at + 1
        value = 0
        for _ in range(zeros + 1):
            value, self.at = 2 * value + self.bits[self.at], self.at + 1
        self.fields.append((name, value - 1))
        return value - 1

    def signed(self, name, precision, golomb=None):
        if golomb is None:
            size = self.ue(name) / 2**precision
        else:
            high = self.ue(name)
            low = self.ue(name + "_dec") if golomb else self.u(name + "_dec", precision)
            size = high + low / 2**precision
        return -size if size and self.u(name + "_sign", 1) else size

    def text(self):
        while self.at % 8:
            assert self.bits[self.at] == 0
            self.at += 1
        made = b""
        while (byte := self.u("char", 8)) != 0:
            made += bytes([byte])
        return made.decode()

    def network(self):
        if not self.u("nn_present_flag", 1):
            return None
        if self.ue("nn_mode_idc") == 1:
            return self.text(), self.text()
        return "data"

    def data(self, network):
        if network != "data":
            return b""
        while self.at % 8:
            assert self.u("alignment", 1) == 0
        return bytes(self.u("byte", 8) for _ in range((len(self.bits) - self.at) // 8))


def by_table(payload, state):
    """GFV; `state` is a dict that lasts from message to message."""
    t, out = Table(payload), {}
    out["id"], out["cnt"] = t.ue("gfv_id"), t.ue("gfv_cnt")
    base = out["base"] = bool(out["cnt"] == 0 and t.u("base_picture_flag", 1))
    network = None
    if base:
        network = out["network"] = t.network()
        if t.u("chroma_key_info_present_flag", 1):
            key = [t.u("value", 8) if t.u("flag", 1) else default for default in (50, 220, 100)]
            key += [t.ue("threshold") if t.u("flag", 1) else default for default in (48, 75)]
            out["chroma_key"] = tuple(key)
    else:
        out["fusion"] = bool(t.u("drive_picture_fusion_flag", 1))
    out["low"] = bool(t.u("low_confidence_face_parameter_flag", 1))
    which = "base" if out["cnt"] == 0 else "before"
    K = axes = 0
    if t.u("coordinate_present_flag", 1):
        predicted = t.u("kps_pred_flag", 1)
        if base or not predicted:
            precision = t.ue("coordinate_precision_factor_minus1") + 1
            K = t.ue("num_kps_minus1") + 1
            axes = 2 + t.u("coordinate_z_present_flag", 1)
            if axes == 3:
                out["z_max"] = t.ue("z_max_value_minus1") + 1
        else:
            precision = state["base_precision"]
            K, axes = state["base"]["points"].shape
        points = np.zeros((K, axes))
        for k in range(K):
            for axis in range(axes):
                start = 0
                if predicted and base:
                    start = points[k - 1, axis] if k else 0
                elif predicted:
                    start = state[which]["points"][k, axis]
                points[k, axis] = start + t.signed("coordinate", precision)
        out["points"] = points
        if base:
            state["base_precision"] = precision
    if t.u("matrix_present_flag", 1):
        predicted = 0 if base else t.u("matrix_pred_flag", 1)
        if predicted:
            precision = state["matrix_precision"]
            shapes = [(kind, values.shape) for kind, values in state["base"]["matrices"]]
        else:
            precision = t.ue("matrix_element_precision_factor_minus1") + 1
            shapes = []
            for _ in range(t.ue("num_matrix_types_minus1") + 1):
                kind, number = t.u("matrix_type_idx", 6), 1
                if kind in (0, 1):
                    width = height = axes
                    if t.u("num_matrices_equal_to_num_kps_flag", 1):
                        number = K
                    else:
                        info = t.ue("num_matrices_info")
                        number = info + 1 if info < K - 1 else info + 2
                elif kind in (4, 5, 6):
                    height = axes if K else 2 + t.u("3d_flag", 1)
                    width = height if kind == 4 else 1
                else:
                    number = t.ue("num_matrices_minus1") + 1 if kind >= 7 else 1
                    width = t.ue("matrix_width_minus1") + 1
                    height = t.ue("matrix_height_minus1") + 1
                shapes.append((kind, (number, height, width)))
        out["matrices"] = []
        for i, (kind, shape) in enumerate(shapes):
            values = np.zeros(shape)
            for at in np.ndindex(*shape):
                start = state[which]["matrices"][i][1][at] if predicted else 0
                values[at] = start + t.signed("element", precision, golomb=bool(predicted))
            out["matrices"].append((kind, values))
        if base:
            state["matrix_precision"] = precision
    out["data"] = t.data(network)
    if base:
        state["base"] = out
    state["before"] = out
    rest = t.bits[t.at :]
    assert not rest or (rest[0] == 1 and not any(rest[1:]) and len(rest) < 8)
    return out


def enhancement_by_table(payload, state):
    t, out = Table(payload), {}
    out["id"], out["gfv_id"], out["cnt"] = t.ue("id"), t.ue("gfv_id"), t.ue("gfv_cnt")
    base = out["base"] = bool(out["cnt"] == 0 and t.u("base_picture_flag", 1))
    network = t.network() if base else None
    which = "base" if out["cnt"] == 0 else "before"
    if t.u("matrix_present_flag", 1):
        predicted = 0 if base else t.u("matrix_pred_flag", 1)
        if predicted:
            precision = state["matrix_precision"]
            shapes = [values.shape for values in state["base"]["matrices"]]
        else:
            precision = t.ue("precision_minus1") + 1
            count = t.ue("num_matrices_minus1") + 1
            shapes = [(1, t.ue("height_minus1") + 1, t.ue("width_minus1") + 1) for _ in range(count)]
        out["matrices"] = []
        for i, shape in enumerate(shapes):
            values = np.zeros(shape)
            for at in np.ndindex(*shape):
                start = state[which]["matrices"][i][at] if predicted else 0
                values[at] = start + t.signed("element", precision, golomb=False)
            out["matrices"].append(values)
        if base:
            state["matrix_precision"] = precision
    present = t.u("pupil_coordinate_present_idx", 2)
    if present and base:
        state["pupil_precision"] = t.ue("pupil_precision_minus1") + 1
    start = {"left": np.zeros(2), "right": np.zeros(2)} if base else state[which].get("pupils")
    if start:
        left = right = None
        left = start["left"] + (
            [t.signed("pupil", state["pupil_precision"]) for _ in "xy"] if present & 1 else [0, 0]
        )
        right = left if base else start["right"]
        right = right + (
            [t.signed("pupil", state["pupil_precision"]) for _ in "xy"] if present & 2 else [0, 0]
        )
        if present or not base:
            out["pupils"] = {"left": left, "right": right}
    out["data"] = t.data(network)
    if base:
        state["base"] = out
    state["before"] = out
    return out


def drawn(rng, number, base, axes=3, K=5):
    """A message of number `number` with whatever the syntax allows."""

    def values(*shape):
        return rng.normal(0, 1.5, shape) * (rng.random(shape) > 0.2)

    coordinates = None
    if rng.random() < 0.8 or base:
        coordinates = Coordinates(
            values(K, axes), int(rng.integers(1, 20)), bool(rng.random() < 0.6), 3 if axes == 3 else 1
        )
        if not base and coordinates.predicted is False:
            coordinates.precision = int(rng.integers(1, 20))
    matrices = [
        Matrices(values(int(rng.choice([K, K - 1, K + 2, 1])), axes, axes), int(rng.integers(0, 2))),
        Matrices(values(1, 2, 4), int(rng.integers(2, 4))),
        Matrices(values(1, axes, axes), 4),
        Matrices(values(1, axes, 1), 5),
        Matrices(values(1, axes, 1), 6),
        Matrices(values(3, 2, 5), int(rng.integers(7, 64))),
    ]
    if coordinates is None:
        matrices = matrices[1:]
    return Message(
        number=number,
        id=int(rng.integers(0, 300)),
        base=base,
        network=[None, Network("tag:x", "https://x.org/ü"), Network(data=b"\0\0\1weights")][number % 3]
        if base
        else None,
        chroma_key=(50, 7, 100, 48, 1000) if base and rng.random() < 0.5 else None,
        fusion=not base and bool(rng.random() < 0.5),
        low_confidence=bool(rng.random() < 0.5),
        coordinates=coordinates,
        matrices=matrices,
        matrix_precision=int(rng.integers(1, 20)),
    )


def assert_same(message, out):
    assert (message.id, message.number, message.base) == (out["id"], out["cnt"], out["base"])
    if message.base:
        found = message.network
        said = None if found is None else (found.tag, found.uri) if found.uri is not None else "data"
        assert said == out["network"]
        assert (found.data if said == "data" else b"") == out["data"]
        assert message.chroma_key == out.get("chroma_key")
    else:
        assert message.fusion == out["fusion"]
    assert message.low_confidence == out["low"]
    assert (message.coordinates is None) == ("points" not in out)
    if message.coordinates is not None:
        assert np.array_equal(message.coordinates.values, out["points"])
    assert [each.kind for each in message.matrices] == [kind for kind, _ in out.get("matrices", [])]
    for each, (_, values) in zip(message.matrices, out.get("matrices", []), strict=True):
        assert np.array_equal(each.values, values)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_written_is_read_by_the_table_and_by_ours(seed):
    rng = np.random.default_rng(seed)
    writer, reader, state = GfvWriter(), GfvReader(), {}
    axes = 2 + seed % 2
    first = drawn(rng, 0, True, axes)
    first.network = [None, Network("tag:x", "https://x.org/ü"), Network(data=b"\0\0\1weights")][seed % 3]
    for message in [first, *(drawn(rng, number, False, axes) for number in (0, 1, 2, 3))]:
        if message.coordinates is not None and not message.base:
            message.coordinates.predicted = message.number in (0, 1)
        payload = writer.write(message)
        out, got = by_table(payload, state), reader.read(payload)
        assert_same(got, out)
        assert got.coordinates is None or np.allclose(
            got.coordinates.values, message.coordinates.values, atol=2.0**-got.coordinates.precision
        )
        if got.coordinates is None:
            break  # what follows could not be predicted


@pytest.mark.parametrize("precision", [6, 11])
def test_motion_in_messages(precision):
    config = fv2v.preset("liveportrait")
    writer, reader, state, sizes = GfvWriter(), GfvReader(), {}, []
    for number, motion in enumerate(one_by_one(talking(config, 12))):
        payload = writer.write(gfv_of(motion, number, precision=precision))
        out, got = by_table(payload, state), reader.read(payload)
        assert_same(got, out)
        back = motion_of(got)
        for name in ("rotation", "translation", "expression", "scale"):
            assert (getattr(back, name) - getattr(motion, name)).abs().max() <= 0.51 / 2**precision
        sizes.append(len(payload))
    assert max(sizes[1:]) < sizes[0]


@pytest.mark.parametrize("pupils", [0, 1, 2, 3])
def test_enhancements(pupils):
    rng = np.random.default_rng(pupils)
    writer, reader, state = GfvWriter(), GfvReader(), {}
    for number, base in ((0, True), (0, False), (1, False), (2, False)):
        points = tuple(rng.uniform(-0.9, 0.9, 2) if pupils >> i & 1 else None for i in range(2))
        message = Enhancement(
            number=number,
            gfv_id=3,
            base=base,
            network=Network(data=b"abc") if base and pupils else None,
            matrices=[Matrices(rng.normal(size=(1, 2, 3))), Matrices(rng.normal(size=(1, 4, 1)))],
            matrix_precision=9,
            matrices_predicted=number == 1,
            pupils=points,
        )
        payload = writer.write_enhancement(message)
        out, got = enhancement_by_table(payload, state), reader.read_enhancement(payload)
        assert (got.gfv_id, got.number, got.base) == (out["gfv_id"], out["cnt"], out["base"])
        for each, values in zip(got.matrices, out["matrices"], strict=True):
            assert np.array_equal(each.values, values)
        for name, true, found in zip(("left", "right"), points, got.pupils, strict=True):
            assert (true is None) == (found is None)
            if found is not None:
                assert np.array_equal(found, out["pupils"][name])
                assert np.abs(found - true).max() <= 2**-8
        assert out["data"] == (b"abc" if base and pupils else b"")


def test_nonsense_is_refused():
    with pytest.raises(CodecError, match="neither"):
        GfvWriter().write(Message(base=True))
    with pytest.raises(CodecError, match="not there"):
        GfvWriter().write(gfv_of(talking(fv2v.preset("starter"), 1), 1))
    with pytest.raises(CodecError, match="types"):
        motion_of(Message(matrices=[Matrices(np.zeros((1, 1, 1)))]))


def test_damage_is_refused_or_read_never_more():
    rng = random.Random(0)
    writer, message = GfvWriter(), drawn(np.random.default_rng(0), 0, True)
    whole = writer.write(message)
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        for read in (GfvReader().read, GfvReader().read_enhancement):
            try:
                read(bytes(data[: rng.randrange(len(data) + 1)]))
            except CodecError:
                continue


def test_a_stream_of_h265(tmp_path):
    config, path = fv2v.preset("starter"), tmp_path / "talk.h265"
    writer = GfvWriter()
    motions = list(one_by_one(talking(config, 8)))
    payloads = [[(GFV, writer.write(gfv_of(motion, number)))] for number, motion in enumerate(motions)]
    payloads[3].append((GFVE, bytes(600) + b"\0\0\3\0\0\1"))  # bytes that need protection, and a long size
    portrait = clips.portrait()[:97, :128]
    write_h265(path, portrait, payloads)
    read = list(read_h265(path))
    assert read == payloads
    with av.open(str(path)) as container:  # as a player that knows nothing of the messages
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == 8
    for picture in shown:
        error = np.square(picture[:97].astype(float) - portrait).mean()
        assert 10 * np.log10(255**2 / error) > 30
    reader = GfvReader()
    for messages, motion in zip(read, motions, strict=True):
        got = motion_of(reader.read(messages[0][1]))
        assert (got.expression - motion.expression).abs().max() <= 0.51 / 2**11
    with pytest.raises(CodecError):
        list(messages_of(suffix_sei(GFV, b"abc")[:-3]))
