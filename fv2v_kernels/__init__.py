"""Differentiable operators of face-vid2vid: first-order flows, mask blending and 3D feature warping.

Each operator is specified in its own file under `fv2v_kernels/ops/`: formula, public function, reference in
stock PyTorch, fake, gradient, kernel table.
"""

from fv2v_kernels._op import BACKENDS, available, preferred_backend, use_backend
from fv2v_kernels.ops.compose_flow import compose_flow
from fv2v_kernels.ops.compose_warp import compose_warp
from fv2v_kernels.ops.keypoint_flow import keypoint_flow
from fv2v_kernels.ops.mask_head import mask_head
from fv2v_kernels.ops.modulate import modulate
from fv2v_kernels.ops.soft_argmax3d import soft_argmax3d
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
