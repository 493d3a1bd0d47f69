# SPDX-License-Identifier: Apache-2.0
"""The network that is exported, and a context in which PyTorch's exporters are silent."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from fv2v.engine.frame import FrameKind, FrameNetwork
from fv2v.engine.passes.fold_norms import fold_norms
from fv2v.networks import FaceVid2Vid


def frame_network(model: FaceVid2Vid, kind: FrameKind, batch_size: int) -> FrameNetwork:
    """Of a copy of the model, norms folded, without the networks that run once a portrait."""
    kind = kind.check(model.config)
    if batch_size < 1:
        raise ValueError(f"expected batch_size >= 1, got {batch_size}")
    model = deepcopy(model).eval().requires_grad_(False)
    unused: Any = model  # no longer a model that can encode
    unused.appearance = None
    if not model.config.direct:  # there L reads driving frames
        unused.canonical = None
    fold_norms(model)
    return FrameNetwork(model, kind)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Without the exporters' warnings about optional packages."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
