# SPDX-License-Identifier: Apache-2.0
"""Prints what bfloat16 could gain on a CPU, layer by layer: the table of fv2v/engine/README.md.

`OMP_NUM_THREADS=1 python benches/measure_bfloat16.py`: every convolution of a `vox-256` frame on its own
inputs, in processor time of one thread, the least of `ROUNDS`: as the frame path runs it in float32 (mostly
by Winograd), and by oneDNN in bfloat16, channels-last, weights in its own order. `best` takes the faster of
the two for each. Then the error of a 3x3 convolution of 256 channels, relative to its outputs, where products
are of bfloat16 numbers: summed directly, and by Winograd F(2, 3) and F(4, 3), whose transformed inputs and
weights are rounded.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, unfold

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import clips

import fv2v
from fv2v.engine.passes.convolution import DirectConv, WinogradConv

ROUNDS = 7
NETWORKS = {"head": "H", "dense_motion": "M", "generator": "G"}
# Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), 4.1 and 4.3: B^T, G, A^T
F23 = (
    [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]],
    [[1, 1, 1, 0], [0, 1, -1, -1]],
)
F43 = (
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
)


def least(work: Callable[[], object]) -> float:
    """Milliseconds."""
    times = []
    for _ in range(ROUNDS + 1):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return 1000 * min(times[1:])


def in_bfloat16(module: WinogradConv | DirectConv, x: Tensor) -> Callable[[], Tensor]:
    """The same convolution by oneDNN; a strided or wide one, too."""
    last = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
    x = x.bfloat16().contiguous(memory_format=last)
    if isinstance(module, WinogradConv):
        weight = module.weight.contiguous() if x.dim() == module.weight.dim() else module.weight
        place = [size // 2 for size in weight.shape[2:]], [1] * (x.dim() - 2), [1] * (x.dim() - 2), 1
    else:
        weight, place = module.weight.to_dense() if module.weight.is_mkldnn else module.weight, module.place
    weight = weight.bfloat16().to_mkldnn()
    inner = torch.Size(s * (1 + (module.doubling and i > x.dim() - 3)) for i, s in enumerate(x.shape))
    order = getattr(torch.ops.aten, f"mkldnn_reorder_conv{x.dim() - 2}d_weight")
    weight, bias = order(weight, *place, list(inner)), module.bias.bfloat16()

    def run() -> Tensor:
        y = x
        if module.doubling:
            factors = (2, 2) if x.dim() == 4 else (1, 2, 2)
            y = interpolate(y, scale_factor=factors, mode="nearest")
        y = torch.ops.mkldnn._convolution_pointwise(y, weight, bias, *place, "relu", [], "")
        if module.pooling:
            y = avg_pool2d(y if y.dim() == 4 else y.movedim(2, 1).flatten(0, 1), 2)
        return y

    return run


def layers() -> None:
    reenactor = fv2v.Reenactor("vox-256", weights="random")
    seen: dict[str, tuple[nn.Module, Tensor]] = {}
    for name, module in reenactor.networks.named_modules():
        if isinstance(module, WinogradConv | DirectConv) and name.partition(".")[0] in NETWORKS:
            module.register_forward_hook(lambda m, x, y, name=name: seen.update({name: (m, x[0].clone())}))
    picture = clips.crop_face(clips.portrait(), 256)
    next(iter(reenactor.animate(reenactor.encode(picture), [picture])))
    totals = {network: [0.0, 0.0, 0.0] for network in NETWORKS}
    for name, (module, x) in seen.items():
        module._forward_hooks.clear()
        ours, theirs = least(lambda module=module, x=x: module(x)), least(in_bfloat16(module, x))
        total = totals[name.partition(".")[0]]
        for i, value in enumerate((ours, theirs, min(ours, theirs))):
            total[i] += value
    print("| convolutions of | float32, as it runs | bfloat16 by oneDNN | best of both |")
    print("| --- | --- | --- | --- |")
    for network, total in totals.items():
        print(f"| {NETWORKS[network]} | " + " | ".join(f"{value:.0f} ms" for value in total) + " |")
    print(
        "| all | "
        + " | ".join(f"{sum(column):.0f} ms" for column in zip(*totals.values(), strict=True))
        + " |\n"
    )


def winograd(x: Tensor, weight: Tensor, matrices: tuple[list[list[float]], ...]) -> Tensor:
    """(1, C, H, W), (N, C, 3, 3) -> (1, N, H - 2, W - 2), transforms in float64, products of bfloat16."""
    inputs, kernels, outputs = (torch.tensor(matrix, dtype=torch.float64) for matrix in matrices)
    (tile, points), C, N = outputs.shape, x.shape[1], len(weight)
    high, wide = ((size - 2) // tile for size in x.shape[2:])
    tiles = unfold(x, points, stride=tile).unflatten(1, (C, points, points)).movedim(-1, 0)[:, 0]
    u = (inputs @ tiles @ inputs.T).bfloat16().double()  # (tiles, C, points, points)
    v = (kernels @ weight @ kernels.T).bfloat16().double()  # (N, C, points, points)
    y = outputs @ torch.einsum("tcij,ncij->tnij", u, v) @ outputs.T
    return y.unflatten(0, (high, wide)).permute(2, 0, 3, 1, 4).reshape(1, N, high * tile, wide * tile)


def errors() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 256, 18, 18, dtype=torch.float64)
    weight = torch.randn(32, 256, 3, 3, dtype=torch.float64)
    exact = conv2d(x, weight)
    found = {
        "directly": conv2d(x.bfloat16().double(), weight.bfloat16().double()),
        "F(2, 3)": winograd(x, weight, F23),
        "F(4, 3)": winograd(x, weight, F43),
    }
    for name, result in found.items():
        print(f"{name}: {((result - exact).norm() / exact.norm()).item():.2e}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.inference_mode():
        layers()
        errors()
