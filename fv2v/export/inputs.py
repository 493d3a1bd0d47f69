# SPDX-License-Identifier: Apache-2.0
"""What an exported frame takes, as numpy arrays by name."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fv2v.engine.frame import MOTION, source_inputs
from fv2v.geometry import Motion, Source
from fv2v.geometry.view import ViewTensors
from fv2v.io.resize import TRIANGLE
from fv2v.io.tensors import as_batch, to_images


def known_inputs(
    source: Source,
    anchor: Motion | None = None,
    *,
    movement: Tensor | None = None,
    view: ViewTensors | None = None,
) -> dict[str, np.ndarray]:
    """All inputs of an exported frame except `driving`, by name, in float32 as ONNX files take them.

    Args:
        source: one portrait, from `Reenactor.encode`.
        anchor: with relative motion: one frame's, from `Reenactor.extract`.
        movement: with `adapt_scale`: from `fv2v.geometry.hull.movement_scale(source, anchor)`.
        view: with views, one for each frame of the batch: from `fv2v.geometry.view.view_tensors([view],
            source.keypoints, "compose")`, or "replace".
    """
    known = source_inputs(source)
    known |= {f"anchor_{name}": getattr(anchor, name, None) for name in MOTION}
    known |= {"movement": movement}
    known |= {f"view_{name}": getattr(view, name, None) for name in ViewTensors._fields}
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
        for name, tensor in known.items()
        if tensor is not None
    }


def driving_input(pictures: Sequence[Any], size: int, resize: str = TRIANGLE) -> np.ndarray:
    """`driving` of a batch, (B, 3, size, size) float32, from pictures as `Reenactor.extract` takes them.

    `size` and `resize` are the preset's, `image_size` and `resize` of the config in the file's metadata.
    """
    return to_images(as_batch(pictures, size, torch.device("cpu"), resize), size, resize).numpy()
