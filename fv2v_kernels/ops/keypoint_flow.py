"""keypoint_flow: every keypoint's first-order flow, stored.

    out[b, 0, p] = p                                                       the background
    out[b, k, p] = A_k (p - x_d,k) + x_s,k        A_k = J_s,k J_d,k^-1     Sec. 3.3

p runs over the corner lattice: voxel i of n sits at 2 i / (n - 1) - 1, and at -1 where n = 1.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fv2v_kernels._check import check_coordinates, check_keypoints, check_same_device
from fv2v_kernels._native import native
from fv2v_kernels._op import choose, define, reference_gradients


def keypoint_flow(
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None = None,
    *,
    size: Sequence[int],
    backend: str | None = None,
) -> Tensor:
    """The K+1 flows from the driving frame to the source. Differentiable in every tensor.

    For training experiments and pictures; `warp_candidates` and `compose_flow` build these flows on the fly.

    Args:
        kp_source, kp_driving: (B, K, 3), (x, y, z) in [-1, 1]; float32 or float64.
        affine: None (identity), (B, 3, 3) shared by all keypoints, or (B, K, 3, 3).
        size: (D, H, W) of the volume.
        backend: a name from `fv2v_kernels.BACKENDS`; by default the best one this build has.

    Returns:
        (B, K+1, D, H, W, 3), where to read the source, in the dtype of the keypoints.

    Raises:
        ValueError, TypeError: shapes, devices or dtypes do not fit; the message says what was expected.
    """
    check_keypoints("keypoint_flow", kp_source, kp_driving, affine)
    check_same_device("keypoint_flow", kp_source=kp_source, kp_driving=kp_driving, affine=affine)
    check_coordinates("keypoint_flow", None, kp_source=kp_source, kp_driving=kp_driving, affine=affine)
    if len(size) != 3 or any(n < 1 for n in size):
        raise ValueError(f"keypoint_flow: expected size (D, H, W), each at least 1, got {tuple(size)}")
    return _keypoint_flow(
        kp_source, kp_driving, affine, list(size), choose("keypoint_flow", kp_source.device, backend)
    )


def lattice(size: Sequence[int], like: Tensor) -> Tensor:
    """(D, H, W, 3): the (x, y, z) of every voxel on the corner lattice."""
    axes = [2 * torch.arange(n, dtype=like.dtype, device=like.device) / max(n - 1, 1) - 1 for n in size]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack((x, y, z), dim=-1)


def reference(kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None, size: Sequence[int]) -> Tensor:
    """What keypoint_flow means, in stock PyTorch. Every kernel is tested against this."""
    B, K, _ = kp_source.shape
    background = lattice(size, kp_source)  # (D, H, W, 3)
    offset = background - kp_driving.view(B, K, 1, 1, 1, 3)
    if affine is not None:
        matrix = affine.view(B, K if affine.dim() == 4 else 1, 1, 1, 1, 3, 3)
        offset = (matrix @ offset.unsqueeze(-1)).squeeze(-1)
    flows = offset + kp_source.view(B, K, 1, 1, 1, 3)
    return torch.cat((background.expand(B, 1, -1, -1, -1, -1), flows), dim=1)


def _reference_backward(
    grad_out: Tensor, kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None, size: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = (kp_source, kp_driving, affine, size)
    grad_source, grad_driving, *rest = reference_gradients(reference, inputs, [grad_out])
    return grad_source, grad_driving, rest[0] if rest else kp_source.new_empty(0)


def _fake(
    kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None, size: Sequence[int], backend: str
) -> Tensor:
    return kp_source.new_empty(kp_source.shape[0], kp_source.shape[1] + 1, *size, 3)


def fake_gradients(kp_source: Tensor, affine: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Of x_s, x_d and A, as every op that builds flows returns them; A's is empty where A is None."""
    shape = (0,) if affine is None else affine.shape
    return (
        kp_source.new_empty(kp_source.shape),
        kp_source.new_empty(kp_source.shape),
        kp_source.new_empty(shape),
    )


def _fake_backward(
    grad_out: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None,
    size: Sequence[int],
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    return fake_gradients(kp_source, affine)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.size, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    grads = _keypoint_flow_backward(grad_out, *ctx.saved_tensors, ctx.size, ctx.backend)
    needed = ctx.needs_input_grad[:3]
    return *(grad if need else None for grad, need in zip(grads, needed, strict=True)), None, None


_keypoint_flow_backward = define(
    "keypoint_flow_backward(Tensor grad_out, Tensor kp_source, Tensor kp_driving, Tensor? affine, "
    "SymInt[] size, str backend) -> (Tensor, Tensor, Tensor)",
    kernels={
        "cpu": native("keypoint_flow_backward", "cpu", _fake_backward),
        "reference": _reference_backward,
    },
    fake=_fake_backward,
)
_keypoint_flow = define(
    "keypoint_flow(Tensor kp_source, Tensor kp_driving, Tensor? affine, SymInt[] size, str backend) "
    "-> Tensor",
    kernels={
        "cpu": native("keypoint_flow", "cpu", _fake),
        "reference": reference,
    },
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
)
