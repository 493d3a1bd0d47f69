# SPDX-License-Identifier: Apache-2.0
"""The kernels of a frame on a GPU, counted without one: both stages run on tensors without data.

An operation counts as one kernel; views, and memory that is only reserved, as none. A convolution's bias is a
kernel of its own in PyTorch, and its input or output in another layout than cuDNN's, in half precision
channels-last, is one more each. So are others that PyTorch's CUDA code launches inside one operation, see
`_launched`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fv2v.config import ModelConfig
from fv2v.engine.passes.fused_convolution import LAST
from fv2v.engine.stages import extract
from fv2v.io.tensors import to_uint8
from fv2v.networks import FaceVid2Vid

aten = torch.ops.aten
NO_KERNEL = {"aten::empty.memory_format", "aten::empty_like", "aten::empty_strided", "aten::_unsafe_view"}
CONVOLUTIONS = {aten.convolution.default, torch.ops.fv2v.convolution_relu.default}


@dataclass
class Launches:
    """Kernels, and the 10⁶ bytes that they read and write."""

    convolutions: int = 0
    biases: int = 0
    layouts: int = 0  # transforms of a convolution's input or output
    others: int = 0
    convolved: float = 0.0
    moved: float = 0.0  # by all that are no convolutions

    @property
    def kernels(self) -> int:
        return self.convolutions + self.biases + self.layouts + self.others


class Counter(TorchDispatchMode):
    """Counts what runs while it is entered, into `launches`; of tensors on any device, also "meta"."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = Launches()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is aten.convolution.default and any(map(_is_last, args[:2])):
            result = torch.empty_like(result, memory_format=LAST.get(result.dim()))  # as cuDNN does it
        if function.name() in NO_KERNEL or function.is_view:
            return result
        read = {name: each for name, each in (kwargs or {}).items() if name != "out"}
        inputs = [
            each
            for each in tree_leaves((args[function is aten.copy_.default :], read))
            if isinstance(each, Tensor)
        ]
        outputs = [each for each in tree_leaves(result) if isinstance(each, Tensor)]
        megabytes = 1e-6 * sum(map(_nbytes, (*inputs, *outputs)))
        launches = self.launches
        if function not in CONVOLUTIONS:
            launches.others += _launched(function, inputs)
            launches.moved += megabytes
            return result
        launches.convolutions += 1
        launches.convolved += megabytes
        if function is aten.convolution.default and args[2] is not None:
            launches.biases += 1
            launches.moved += 2e-6 * _nbytes(outputs[0])
        for each in (args[0], outputs[0]):
            if each.dim() in LAST and not _is_last(each):
                launches.layouts += 1
                launches.moved += 2e-6 * _nbytes(each)
        return result


def count(config: ModelConfig, passes: tuple[Callable[[Any], None], ...]) -> Launches:
    """Of one frame of a preset, arranged by `passes`, in half precision: a picture of its size, absolute."""
    with torch.device("meta"), torch.no_grad():
        networks = FaceVid2Vid(config).eval().requires_grad_(False)
        for each in passes:
            each(networks)
        networks.half()
        n, depth, side = config.image_size, config.volume_depth, config.image_size // config.volume_stride
        features = torch.empty(1, config.volume_channels, depth, side, side, dtype=torch.half)
        compressed = networks.dense_motion.compress(features, torch.empty(1, 3, n, n, dtype=torch.half))
        points = torch.empty(1, config.keypoints, 3)
        affine = torch.empty(1, 3, 3) if config.geometry.transfer == "pose" else None
        if config.jacobian:
            affine = torch.empty(1, config.keypoints, 3, 3)
        driving = torch.empty(1, n, n, 3, dtype=torch.uint8)
        channels = config.generator.detail_channels
        detail = [torch.empty(1, channels, side, side, dtype=torch.half) for side in config.detail_sizes]
        if config.head.window:
            driving = torch.empty(1, config.head.inputs, config.head.window)
        with Counter() as counter:
            extract(networks, driving, torch.half, None)
            image = networks.synthesize(features, compressed, points, points, affine, detail)
            to_uint8(image, truncate=config.truncates, inside=True)
    return counter.launches


def _launched(function: Any, inputs: Sequence[Tensor]) -> int:
    """Kernels of an operation that is no convolution."""
    if function is aten.cat.default and inputs[0].dim() > 4:
        return len(inputs)  # volumes: each is copied by itself
    if function is aten.native_batch_norm.default:
        return 2  # one of them for 1 / sqrt(var + eps) of the channels
    if function is aten.col2im.default and not inputs[0].is_contiguous():
        return 2
    return 1


def _is_last(tensor: Tensor) -> bool:
    return tensor.dim() in LAST and tensor.is_contiguous(memory_format=LAST[tensor.dim()])


def _nbytes(tensor: Tensor) -> int:
    """That are read or written: what is expanded counts once."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    total = tensor.element_size()
    for size in sizes:
        total *= size
    return total
