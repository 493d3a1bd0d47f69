# SPDX-License-Identifier: Apache-2.0
"""A network with YuNet's inputs and outputs, as OpenCV runs it, whose faces are what is red.

Inputs are (1, 3, H, W), blue green red, 0 to 255, and sides multiples of 32. For strides 8, 16 and 32 outputs
are a score and a second, a box and five points for each cell; here the coarse ones see nothing.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fv2v.face.detectors.search import LOOK_FACE

STRIDES = (8, 16, 32)
SIDE = LOOK_FACE  # pixels of every face's box: as a second look has it
POINTS = [(-12, -10), (12, -10), (0, 4), (-9, 16), (9, 16)]  # pixels from its centre


def write_yunet(path: Path) -> Path:
    nodes, values, outputs = [], [], []

    def constant(name: str, array: np.ndarray) -> str:
        values.append(numpy_helper.from_array(array, name))
        return name

    def output(name: str, cells: str, channels: int, weight: float, bias: list[float]) -> None:
        w = constant(f"{name}_w", np.full((channels, 1, 1, 1), weight, np.float32))
        b = constant(f"{name}_b", np.array(bias, np.float32))
        nodes.append(helper.make_node("Conv", [cells, w, b], [f"{name}_conv"], kernel_shape=[1, 1]))
        nodes.append(helper.make_node("Transpose", [f"{name}_conv"], [f"{name}_last"], perm=[0, 2, 3, 1]))
        shape = constant(f"{name}_shape", np.array([1, -1, channels], np.int64))
        nodes.append(helper.make_node("Reshape", [f"{name}_last", shape], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, channels]))

    red = constant("red", np.array([0, -1, 1], np.float32).reshape(1, 3, 1, 1) / 255)
    nodes.append(helper.make_node("Conv", ["input", red], ["redness"], kernel_shape=[1, 1]))
    nodes.append(helper.make_node("Relu", ["redness"], ["seen"]))
    for stride in STRIDES:
        window = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
        nodes.append(helper.make_node("AveragePool", ["seen"], [f"cells_{stride}"], **window))
        box = [0.5, 0.5, *[float(np.log(SIDE / stride))] * 2]
        points = (np.array(POINTS) / stride + 0.5).ravel().tolist()
        sees = float(stride == STRIDES[0])
        output(f"cls_{stride}", f"cells_{stride}", 1, sees, [0.0])
        output(f"obj_{stride}", f"cells_{stride}", 1, sees, [0.0])
        output(f"bbox_{stride}", f"cells_{stride}", 4, 0.0, box)
        output(f"kps_{stride}", f"cells_{stride}", 10, 0.0, points)
    outputs.sort(key=lambda value: ["cls", "obj", "bbox", "kps"].index(value.name.split("_")[0]))
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 64, 64])
    graph = helper.make_graph(nodes, "yunet", [picture], outputs, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.save(model, str(path))
    return path
