# SPDX-License-Identifier: Apache-2.0
"""A driving frame beside what people would take instead: the exported frame in other runtimes.

Extra `[peers]`: onnxruntime and OpenVINO; a runtime that is not installed has no row. On a CPU OpenVINO runs
in float32 and, where the processor has it, in bfloat16; on a GPU onnxruntime's CUDA provider runs alone. Each
row times the frame path in turns with one peer: `ratio` is how many times faster the frame path is.
"""

import importlib.util
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from frames import EAGER, PATH, WHOLE, Scene, config_of, reenactor_of, whole_of
from measuring import DEVICE, Run, wall

from fv2v.export import check_installed, driving_input, export_onnx, known_inputs
from fv2v.io.tensors import to_uint8

pytestmark = pytest.mark.benchmark(timer=wall)

PRESET = "vox-256"
ONNXRUNTIME = "CUDAExecutionProvider" if DEVICE == "cuda" else "CPUExecutionProvider"
Infer = Callable[[dict[str, np.ndarray]], np.ndarray]


def onnxruntime(path: Path) -> Infer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=[ONNXRUNTIME])
    if session.get_providers()[0] != ONNXRUNTIME:
        pytest.skip(f"this onnxruntime has no {ONNXRUNTIME}")
    return lambda inputs: session.run(None, inputs)[0]


def openvino(path: Path, precision: str) -> Infer:
    import openvino

    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16")
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    model = core.compile_model(path, "CPU", hints)
    return lambda inputs: model(inputs)[0]


class Peer(NamedTuple):
    package: str
    reads: str  # how the exported file reads volumes: OpenVINO's GridSample is of pictures alone
    load: Callable[[Path], Infer]


PEERS = {
    "onnxruntime": Peer("onnxruntime", "grid_sample", onnxruntime),
    "OpenVINO": Peer("openvino", "gather", partial(openvino, precision="f32")),
    "OpenVINO, bfloat16": Peer("openvino", "gather", partial(openvino, precision="bf16")),
}
STOCK = "stock PyTorch"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    installed = [
        name
        for name, peer in PEERS.items()
        if importlib.util.find_spec(peer.package) and (DEVICE == "cpu" or peer.package == "onnxruntime")
    ]
    metafunc.parametrize("peer", [STOCK, *installed])


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with torch.inference_mode():
        yield Scene(reenactor_of(config_of(PRESET), PATH), batch=1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """exported(reads): the frame as a file of ONNX."""
    check_installed()
    model, folder = reenactor_of(config_of(PRESET), EAGER).model, tmp_path_factory.mktemp("peers")

    @cache
    def export(reads: str) -> Path:
        return export_onnx(model, folder / f"{reads}.onnx", reads=reads, relative=True)

    return export


def frame_of(scene: Scene, infer: Infer) -> Run:
    """As a frame of the frame path: uint8 pictures in and out."""
    known, config = known_inputs(scene.source, scene.anchor), scene.config

    def frame() -> np.ndarray:
        driving = driving_input(scene.frames, config.image_size, config.resize)
        return to_uint8(torch.from_numpy(infer({"driving": driving, **known}))).numpy()

    return frame


def test_peers(benchmark, beside, scene, peer, request):
    benchmark.group = f"{PRESET}, {WHOLE}, beside other runtimes"
    if peer == STOCK:
        other = whole_of(reenactor_of(scene.config, EAGER), EAGER).run
    else:
        path = request.getfixturevalue("exported")(PEERS[peer].reads)
        other = frame_of(scene, PEERS[peer].load(path))
    ours = scene.film()
    shown, theirs = (np.stack(run()).astype(int) for run in (ours, other))
    assert np.abs(shown - theirs).mean() < 1, "not the same picture: a ratio means nothing"
    benchmark.extra_info |= {"peer": peer, "preset": PRESET}
    beside(ours, other, None)
