# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for the three ONNX files by which LivePortrait finds and marks faces, of simple known functions.

A "face" is a red patch. Each function is written twice: as an ONNX graph with the inputs and outputs of the
release's file, and in numpy, for what a test expects.
"""

from pathlib import Path

import numpy as np
import onnx
import parity
from onnx import TensorProto, helper, numpy_helper

from fv2v.face.detectors.liveportrait import COARSE, DETECTOR, FINE
from fv2v.face.landmarks import square_around, transform

SIZE = 512  # of the detector's picture
STRIDES = (8, 16, 32)
BOX = np.array([[2.5, 3.0, 2.5, 4.0], [2.0, 2.25, 1.75, 2.5]])  # of either anchor, in strides: left, top, ...
POINTS = np.array(  # seen from the front
    [[-1, -0.9, 1, -0.9, 0.1, 0.1, -0.8, 1, 0.8, 1], [-0.9, -1, 0.8, -0.9, 0, 0, -0.7, 0.9, 0.7, 1]]
)


def _upright(count: int, extent: float) -> np.ndarray:
    """(count, 2) about (0, 0), as wide or high as `extent`, the lips below the eyes."""
    landmarks = parity.fake_landmarks(count)
    return extent * (transform(landmarks, square_around(landmarks, 1.0, 0.0).to_crop(1)) - 0.5)


TILTED = parity.fake_landmarks(106) / 400 - 0.5  # in units of the crop
UPRIGHT = _upright(203, 1 / 1.5)  # so that a face that stands still keeps its size from frame to frame


def write_faces(
    folder: Path, box: tuple[int, int, int, int] | None = None, landmarks: np.ndarray | None = None
) -> Path:
    """The three files, below `folder` as in the release.

    With a box (left, top, right, bottom) in a picture of 400 x 300 pixels, and 106 landmarks, the first two
    find that face in any picture.
    """
    detector, coarse = (_detector(), _coarse()) if box is None else _fixed(np.array(box), landmarks)
    for name, model in ((DETECTOR, detector), (COARSE, coarse), (FINE, _fine())):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, folder / name)
    return folder


def detections(picture: np.ndarray) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Score, box and points, in pixels, of each anchor of (512, 512, 3) in [-1, 1] whose score is above 0."""
    found = []
    for stride in STRIDES:
        cells = SIZE // stride
        means = picture.reshape(cells, stride, cells, stride, 3).mean(axis=(1, 3))
        for row, column in np.argwhere(means[..., 0] > 0):
            red, green, blue = means[row, column]
            x, y = column * stride, row * stride
            for anchor in (0, 1):
                left, top, right, bottom = (BOX[anchor] + green) * stride
                box = np.array([x - left, y - top, x + right, y + bottom])
                points = (POINTS[anchor] + blue).reshape(5, 2) * stride + (x, y)
                found.append((red / (1 + anchor), box, points))
    return found


def coarse(picture: np.ndarray) -> np.ndarray:
    """(106, 2) in -1 to 1 of (192, 192, 3) in 0 to 255."""
    return 2 * (_centroid(picture[..., 0] + 1) / 192 + picture[..., 1].mean() / 2550 + TILTED) - 1


def fine(picture: np.ndarray) -> np.ndarray:
    """(203, 2) in 0 to 1 of (224, 224, 3) in 0 to 1."""
    return _centroid(picture[..., 0] + 0.004) / 224 + picture[..., 2].mean() / 10 + UPRIGHT


def _centroid(weight: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


class _Graph:
    """Nodes of an ONNX graph of one picture, one after the other."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: object, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def __call__(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def channel(self, picture: str, index: int) -> str:
        return self("Gather", picture, self.constant([index], np.int64), axis=1)

    def model(self, outputs: list[str]) -> onnx.ModelProto:
        given = helper.make_tensor_value_info(self.name, TensorProto.FLOAT, [1, 3, self.size, self.size])
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "standin", [given], made, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _detector() -> onnx.ModelProto:
    g = _Graph("input.1", SIZE)
    outputs: list[list[str]] = [[], [], []]
    for stride in STRIDES:
        pooled = g("AveragePool", g.name, kernel_shape=[stride] * 2, strides=[stride] * 2)
        cells = g("Transpose", pooled, perm=[0, 2, 3, 1])
        red, green, blue = (
            g(
                "Reshape",
                g("Gather", cells, g.constant([i], np.int64), axis=3),
                g.constant([-1, 1, 1], np.int64),
            )
            for i in range(3)
        )
        rows = (
            (g("Mul", red, g.constant([[[1.0], [0.5]]])), 1),
            (g("Add", green, g.constant(BOX[None])), 4),
            (g("Add", blue, g.constant(POINTS[None])), 10),
        )
        for kind, (values, width) in enumerate(rows):
            outputs[kind].append(g("Reshape", values, g.constant([-1, width], np.int64)))
    return g.model([name for kind in outputs for name in kind])


def _fixed(box: np.ndarray, landmarks: np.ndarray) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A detector of one box, and its landmarks: neither looks at the picture."""
    g = _Graph("input.1", SIZE)
    counts = [2 * (SIZE // stride) ** 2 for stride in STRIDES]
    scores = [np.zeros((count, 1)) for count in counts]
    distances = [np.ones((count, 4)) for count in counts]
    # the second anchor of the stride of 32 in row 5, column 6
    index, (x, y) = 2 * (5 * (SIZE // 32) + 6) + 1, (6 * 32, 5 * 32)
    left, top, right, bottom = box * SIZE / 400
    scores[2][index], distances[2][index] = 0.9, np.array([x - left, y - top, right - x, bottom - y]) / 32
    values = [*scores, *distances, *(np.zeros((count, 10)) for count in counts)]
    detector = g.model([g("Identity", g.constant(each)) for each in values])
    g = _Graph("data", 192)
    in_crop = (landmarks - (box[:2] + box[2:]) / 2) * 192 / (1.5 * max(box[2:] - box[:2]))
    return detector, g.model([g("Identity", g.constant((in_crop / 96).reshape(1, 212)))])


def _marks(g: _Graph, spare: float, channel: int, part: float, template: np.ndarray) -> str:
    """The template about the centroid of red in units of the size, which another channel's mean shifts."""
    weight = g("Add", g.channel(g.name, 0), g.constant(spare))
    y, x = np.mgrid[: g.size, : g.size] / g.size
    sums = [
        g("ReduceSum", g("Mul", weight, g.constant(by)), g.constant([2, 3], np.int64), keepdims=0)
        for by in (x, y, np.ones_like(x))
    ]
    centre = g("Concat", *(g("Div", along, sums[2]) for along in sums[:2]), axis=1)
    mean = g("ReduceMean", g.channel(g.name, channel), axes=[1, 2, 3], keepdims=0)
    shift = g("Mul", mean, g.constant(part))
    return g("Add", g("Add", centre, shift), g.constant(template))


def _coarse() -> onnx.ModelProto:
    g = _Graph("data", 192)
    marks = _marks(g, 1.0, 1, 1 / 2550, TILTED)
    scaled = g("Add", g("Mul", marks, g.constant(2.0)), g.constant(-1.0))  # from the middle, in half sizes
    return g.model([g("Reshape", scaled, g.constant([1, 212], np.int64))])


def _fine() -> onnx.ModelProto:
    g = _Graph("input", 224)
    marks = g("Reshape", _marks(g, 0.004, 2, 0.1, UPRIGHT), g.constant([1, 406], np.int64))
    others = [g("Mul", marks, g.constant(factor)) for factor in (0.0, 2.0)]
    return g.model([*others, marks])
