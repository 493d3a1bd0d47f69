# SPDX-License-Identifier: Apache-2.0
"""Batch norm over the batches of all processes (Sec. 4 of the paper: synchronised batch norm)."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def synchronise_norms(model: nn.Module, device: torch.device) -> nn.Module:
    """`model` with every batch norm's statistics over all processes; its tensors keep their names.

    On a GPU these are torch's `SyncBatchNorm`, which does not run on a CPU: there `SharedBatchNorm` does the
    same.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, _shared(child))
    return model


class SharedBatchNorm(_BatchNorm):
    """Batch norm of (B, C, …) with the statistics of all processes' samples, forward and backward."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected (B, C, ...), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        others = [dim for dim in range(x.dim()) if dim != 1]
        own = x.new_tensor([x.numel() / x.shape[1]])
        count, total = _sum(torch.cat([own, x.sum(others)])).split([1, x.shape[1]])
        count = count.detach()
        mean = total / count  # (C,)
        # two passes: E x² − (E x)² would cancel
        centred = x - _along(mean, x)
        variance = _sum(centred.square().sum(others)) / count
        self._update_running(mean.detach(), variance.detach(), float(count))
        y = centred * _along((variance + self.eps).rsqrt() * self.weight, x) + _along(self.bias, x)
        return y.to(input.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor, count: float) -> None:
        """Update the running statistics as torch does, with the unbiased variance."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None  # every norm of the networks has these
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        unbiased = variance * (count / max(count - 1, 1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)


class _SumOfProcesses(torch.autograd.Function):
    """Σ over processes. The gradient is the sum of the gradients of all processes."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        dist.all_reduce(tensor)
        return tensor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _SumOfProcesses.apply(grad)


def _sum(tensor: Tensor) -> Tensor:
    return _SumOfProcesses.apply(tensor)


def _along(channels: Tensor, x: Tensor) -> Tensor:
    """(C,) -> (1, C, 1, …), with as many dimensions as x."""
    return channels.view(1, -1, *[1] * (x.dim() - 2))


def _shared(norm: _BatchNorm) -> SharedBatchNorm:
    shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, dtype=norm.weight.dtype)
    shared.weight, shared.bias = norm.weight, norm.bias
    for name, buffer in norm.named_buffers():
        setattr(shared, name, buffer)
    return shared.train(norm.training)
