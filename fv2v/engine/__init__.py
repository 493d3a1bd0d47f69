# SPDX-License-Identifier: Apache-2.0
"""The networks arranged for inference: the same function, from fewer operations.

`arrange(model)` applies these passes to trained modules, each a file of passes/:

1. fold_norms.py: batch norms go into the convolutions before them, spectral norms into their weights;
2. join_spades.py: SPADE's convolutions that read the same picture become one;
3. join_heads.py: the heads of H and Δ become one matrix product and a dozen operations;
4. double_in_phases.py: a convolution of a picture enlarged twice becomes one of four phases on the small one;
   or, on a CPU in float32 or float64, settle_on_cpu.py: most convolutions use Winograd's algorithm and the
   others oneDNN, with enlarging, sums, activations and pooling inside them, on channels-last memory;
5. on a GPU, taps_in_channels.py: M's mask convolution gives the taps of its logits, which G sums as it warps;
   then settle_on_gpu.py, in place of 4: channels-last memory, and what follows a convolution inside its call.

Every pass is exact: in float64 the result differs by rounding alone. The result cannot be trained, and its
weights are not a checkpoint's. The model is rewritten in place, module by module, so that at no time many
weights are held twice.
"""

import torch
from torch import nn

from fv2v.engine.passes.convolution import DirectConv, WinogradConv
from fv2v.engine.passes.double_in_phases import DoublingConv, double_in_phases
from fv2v.engine.passes.fold_norms import fold_norms
from fv2v.engine.passes.fused_convolution import FusedConv
from fv2v.engine.passes.join_heads import join_heads
from fv2v.engine.passes.join_spades import join_spades
from fv2v.engine.passes.scales_on_gpu import Phases
from fv2v.engine.passes.settle_on_cpu import settle_on_cpu
from fv2v.engine.passes.settle_on_gpu import settle_on_gpu
from fv2v.engine.passes.taps_in_channels import taps_in_channels
from fv2v.networks import FaceVid2Vid

__all__ = ["CONVOLUTIONS", "CPU_PASSES", "GPU_PASSES", "PASSES", "arrange"]

PASSES = (fold_norms, join_spades, join_heads, double_in_phases)
CPU_PASSES = (fold_norms, join_spades, join_heads, settle_on_cpu)  # float32 and float64
GPU_PASSES = (fold_norms, join_spades, join_heads, taps_in_channels, settle_on_gpu)
CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose2d,
    nn.Linear,
    DoublingConv,
    WinogradConv,
    DirectConv,
    FusedConv,
    Phases,
)


def arrange(
    model: FaceVid2Vid, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> FaceVid2Vid:
    """`model`, in place, for inference on `device` in `dtype`: same methods, same numbers.

    Without a device the result runs on any, and can be exported.
    """
    model.eval().requires_grad_(False)
    if device is not None and device.type == "cpu" and dtype in (torch.float32, torch.float64):
        model.to(dtype)
        for each in CPU_PASSES:
            each(model)
        return model
    for each in GPU_PASSES if device is not None and device.type == "cuda" else PASSES:
        each(model)
    return model.to(device, dtype)  # passes combine weights before they are rounded to half precision
