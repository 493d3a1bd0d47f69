# SPDX-License-Identifier: Apache-2.0
"""Exported frames show in onnxruntime what the Reenactor shows, and say what they are."""

import importlib.util
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exporting import BOUND, awake, fed_and_shown
from tiny import (
    TINY,
    TINY_DETAIL,
    TINY_DETAIL_SPADE,
    TINY_FOMM,
    TINY_LIVEPORTRAIT,
    TINY_SADTALKER,
    TINY_SPADE,
    TINY_VOX_JACOBIAN,
    pictures,
)

import fv2v.export.onnx
from fv2v import ModelConfig, Reenactor
from fv2v.export import export_onnx, export_torch

# every family, relative and absolute, by both reads between them: an export takes seconds
CASES = [
    (TINY, "gather", {"relative": True, "view": "compose", "batch_size": 2}),
    (TINY_SPADE, "grid_sample", {"relative": True}),
    (TINY_SADTALKER, "gather", {"relative": False, "batch_size": 2}),
    (TINY_LIVEPORTRAIT, "grid_sample", {"relative": False, "stitch": False}),
    (TINY_FOMM, "gather", {"relative": True, "adapt_scale": True, "batch_size": 2}),
]
MORE = [
    (TINY_DETAIL, "gather", {"relative": True, "batch_size": 2}),
    (TINY_VOX_JACOBIAN, "gather", {"relative": True, "adapt_scale": True}),
    (TINY_DETAIL_SPADE, "grid_sample", {"relative": False}),
    (TINY, "grid_sample", {"relative": False}),
    (TINY_VOX_JACOBIAN, "grid_sample", {"relative": False, "view": "replace"}),
    (TINY_LIVEPORTRAIT, "gather", {"relative": True, "view": "replace", "batch_size": 2}),
    (TINY_FOMM, "grid_sample", {"relative": False}),
]
# what every runtime has
PLAIN = {
    *("Add", "Sub", "Mul", "Div", "Min", "Max", "Clip", "Exp", "Floor", "Sqrt", "Reciprocal", "Neg", "Pow"),
    *("Sin", "Cos", "Atan", "Greater", "Less", "And", "Not", "Where", "Cast", "Equal", "Or", "IsNaN"),
    *("Gather", "Slice", "Concat", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Expand", "Pad", "Split"),
    *("ReduceSum", "ReduceMean", "ReduceL2", "Softmax", "MatMul", "Gemm"),
    *("Conv", "Relu", "LeakyRelu", "Sigmoid", "MaxPool", "AveragePool", "Resize", "DepthToSpace"),
    *("BatchNormalization", "LayerNormalization", "Gelu", "Identity"),
}


@pytest.mark.parametrize(
    ("config", "reads", "options"),
    [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)],
    ids=[f"{c.name}-{r}-{o['relative']}" for c, r, o in CASES + MORE],
)
def test_onnxruntime_shows_the_same(config, reads, options, tmp_path):
    reenactor = awake(config, pictures(4))
    fed, shown = fed_and_shown(reenactor, options)
    path = export_onnx(reenactor.model, tmp_path / "frame.onnx", reads=reads, **options)
    assert list(tmp_path.iterdir()) == [path]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert {each.name for each in session.get_inputs()} == set(fed)
    (image,) = session.run(["image"], fed)
    assert image.shape == shown.shape
    assert np.abs(image - shown.numpy()).max() <= BOUND

    metadata = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert ModelConfig.from_dict(metadata["config"]) == config
    assert (metadata["preset"], metadata["reads"]) == (config.name, reads)
    assert metadata["options"].items() >= options.items()
    for each in session.get_inputs():
        described = metadata["inputs"].pop(each.name)
        assert each.shape == described["shape"] == list(fed[each.name].shape)
        assert described["dtype"] == str(fed[each.name].dtype)
        assert described["meaning"]
    assert not metadata["inputs"]
    assert metadata["outputs"]["image"]["shape"] == list(shown.shape)

    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    kinds = [node.op_type for node in graph.node]
    if reads == "grid_sample":
        assert kinds.count("GridSample") == 2 + len(config.detail_sizes)
    else:
        assert set(kinds) <= PLAIN
        assert max(len(value.type.tensor_type.shape.dim) for value in graph.value_info) <= 5


@pytest.fixture
def model():
    return Reenactor(TINY, weights="random", device="cpu").model


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reads": "cubic"}, "expected reads, one of grid_sample, gather; got 'cubic'"),
        ({"view": "turn"}, "expected a view, 'compose' or 'replace', or None; got 'turn'"),
        ({"batch_size": 0}, "expected batch_size >= 1, got 0"),
        ({"adapt_scale": True}, "adapt_scale needs relative motion and a preset with `keypoint` transfer"),
    ],
)
def test_options_that_do_not_fit(model, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        export_onnx(model, tmp_path / "frame.onnx", **options)
    if "reads" not in options:
        with pytest.raises(ValueError, match=message):
            export_torch(model, tmp_path / "frame.pt2", **options)
    assert not list(tmp_path.iterdir())


def test_a_file_that_would_be_too_large(model, tmp_path, monkeypatch):
    monkeypatch.setattr(fv2v.export.onnx, "LARGEST", 1000)
    with pytest.raises(ValueError, match=r"the weights have 0\.0 GB, and a file of ONNX holds 2$"):
        export_onnx(model, tmp_path / "frame.onnx")
    assert not list(tmp_path.iterdir())


def test_the_command(fv2v, tmp_path):
    model = Reenactor(TINY, weights="random", device="cpu")
    weights, one, other = (tmp_path / name for name in ("tiny.safetensors", "frame.onnx", "frame.pt2"))
    model.save(weights)
    command = ["export", "-w", weights, "--onnx", one, "--gather", "--absolute", "--batch-size", 2]
    code, out, err = fv2v(*command, "--torch", other, "--dtype", "float64", "--device", "cpu")
    assert (code, out, err) == (0, f"{one}: 1 MB\n{other}: 1 MB\n", "")
    metadata = onnxruntime.InferenceSession(one).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["reads"]) == "gather"
    options = json.loads(metadata["options"])
    assert (options["relative"], options["batch_size"]) == (False, 2)
    extra = {"fv2v.json": ""}
    torch.export.load(other, extra_files=extra)
    assert json.loads(extra["fv2v.json"])["options"] == options
    assert json.loads(extra["fv2v.json"])["outputs"]["image"]["dtype"] == "float64"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected --onnx FILE.onnx, --torch FILE.pt2, or both; got neither"),
        (["--onnx", "frame.pb"], "frame.pb: expected a name that ends in .onnx, got '.pb'"),
        (["--onnx", "frame.onnx", "--torch", "frame.pt"], "expected a name that ends in .pt2, got '.pt'"),
        (["--onnx", "absent/frame.onnx"], "the folder absent does not exist"),
        (["--torch", "frame.pt2", "--dtype", "int8"], "expected a dtype"),
        (["--onnx", "frame.onnx", "-p", "vox-256"], "no weights given"),
        (["--onnx", "frame.onnx", "-w", "absent.safetensors"], "absent.safetensors: no such file"),
        (["--onnx", "frame.onnx", "-w", "random", "-p", "vox"], "expected a preset, one of"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(fv2v, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = fv2v("export", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not list(tmp_path.iterdir())


def test_what_is_not_installed_is_named(fv2v, tmp_path, monkeypatch):
    find = importlib.util.find_spec

    def without(name, *more):
        return None if name == "onnxscript" else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    code, _, err = fv2v("export", "-w", "random", "--onnx", tmp_path / "frame.onnx")
    hint = "pip install '.[export]' in the folder of fv2v's sources"
    assert (code, err) == (2, f"fv2v: writing .onnx needs onnxscript: {hint}\n")
    assert not list(tmp_path.iterdir())
