# SPDX-License-Identifier: Apache-2.0
"""Half precision from end to end, weights and activations: as near to float64 as stock PyTorch, and finite.

Every preset runs with all its conventions and options, on few channels and 64 pixels.
"""

from copy import deepcopy
from functools import cache

import pytest
import torch
from engine_cases import narrow
from parity_recording import Recording, record_rendering
from tiny import sized_as_trained

from fv2v.geometry import place
from fv2v.networks import FaceVid2Vid
from fv2v.presets import PRESETS
from fv2v_kernels import OPS, available, use_backend

# where an error would show: after L, H, M and the flows; after the reads; at the end
WATCHED = ("dm.deformation", "warped", "prediction")
LONG = ("performrecast", "fomm-256-unaligned", "fomm-256-mgif")  # seconds, or hardly another than one before
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in PRESETS]


@cache
def trained(preset: str) -> FaceVid2Vid:
    return sized_as_trained(narrow(PRESETS[preset]))


@cache
def run(preset: str, dtype: torch.dtype, backend: str, seen: str = "noise", device: str = "cpu") -> Recording:
    model, config = deepcopy(trained(preset)).to(device, dtype), narrow(PRESETS[preset])
    generator = torch.Generator().manual_seed(1)
    pictures = torch.rand(2, 3, 64, 64, generator=generator)
    if seen != "noise":
        pictures = torch.zeros_like(pictures)  # planes of one number
    pictures = pictures.to(device, dtype)
    windows = list(pictures.split(1))
    larger = config.portrait_size // config.image_size
    portrait = pictures[:1].repeat_interleave(larger, 2).repeat_interleave(larger, 3)
    if config.head.trunk == "coefficients":
        read = torch.randn(2, config.head.inputs, config.head.window, generator=generator)
        read = read.to(device, dtype)
        windows = [read[:1], read[1:]]
    with torch.inference_mode(), use_backend(backend):
        source = model.encode(portrait, windows[0])
        placed = model.stitch(source, place(source, model.extract(windows[1]), geometry=config.geometry))
        recording = record_rendering(model, source, "frame", placed)
    return {entry: tensor.cpu() for entry, tensor in recording.items()}


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("preset", NAMES)
def test_half_is_as_accurate_as_stock_pytorch(preset, dtype, device):
    if not all(device in available(op, device) for op in OPS):
        pytest.skip(f"this build has no {device} kernels")
    exact = run(preset, torch.float64, "reference")
    ours, stock = (run(preset, dtype, backend, device=device) for backend in (device, "reference"))
    for entry in WATCHED:
        errors = [
            (found[f"frame.{entry}"].double() - exact[f"frame.{entry}"]).abs().mean().item()
            for found in (ours, stock)
        ]
        assert errors[0] <= 1.5 * errors[1], f"{entry}: mean error {errors[0]:.2e}, stock {errors[1]:.2e}"
    warped = exact["frame.warped"]
    assert warped.abs().mean() > 0.01, "all was read outside the volume: nothing was compared"
    assert (warped - exact["frame.feature_3d"]).abs().mean() > 0.01, "the frame moves nothing"


@pytest.mark.parametrize("seen", ["noise", "black"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("preset", NAMES)
def test_half_stays_finite(preset, dtype, seen):
    recording = run(preset, dtype, available("warp3d", "cpu")[0], seen)
    broken = [entry for entry, tensor in recording.items() if not tensor.isfinite().all()]
    assert not broken
