# SPDX-License-Identifier: Apache-2.0
"""Differentiable operators of face-vid2vid: first-order flows, mask blending and 3D feature warping.

Each operator is specified in its own file under `fv2v_kernels/ops/`: formula, public function, reference in
stock PyTorch, fake, gradient, kernel table; `help(fv2v_kernels.warp3d)` shows the first two. Importing this
compiles nothing, starts nothing and does not touch CUDA: kernels are looked for when they are first needed.
"""

from typing import TYPE_CHECKING

from fv2v_kernels._backends import BACKENDS, available, preferred_backend, use_backend
from fv2v_kernels.ops.compose_flow import ComposedFlow, compose_flow
from fv2v_kernels.ops.compose_warp import ComposedWarp, compose_warp
from fv2v_kernels.ops.keypoint_flow import keypoint_flow
from fv2v_kernels.ops.mask_head import mask_head
from fv2v_kernels.ops.modulate import modulate
from fv2v_kernels.ops.soft_argmax3d import SoftArgmax, soft_argmax3d
from fv2v_kernels.ops.warp3d import warp3d
from fv2v_kernels.ops.warp_candidates import warp_candidates
from fv2v_kernels.ops.winograd_conv import outputs_innermost, winograd_conv

OPS = (
    "keypoint_flow",
    "warp_candidates",
    "compose_flow",
    "warp3d",
    "compose_warp",
    "mask_head",
    "soft_argmax3d",
    "modulate",
)

__all__ = [
    "BACKENDS",
    "OPS",
    "ComposedFlow",
    "ComposedWarp",
    "SoftArgmax",
    "available",
    "compose_flow",
    "compose_warp",
    "keypoint_flow",
    "mask_head",
    "modulate",
    "outputs_innermost",
    "preferred_backend",
    "soft_argmax3d",
    "use_backend",
    "warp3d",
    "warp_candidates",
    "winograd_conv",
]

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        if name != "__version__":
            raise AttributeError(f"module 'fv2v_kernels' has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("fv2v")  # one distribution holds both packages
        except PackageNotFoundError:  # a checkout that was never installed
            return "0+unknown"
