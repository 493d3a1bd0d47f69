# SPDX-License-Identifier: Apache-2.0
"""Prints the table of fv2v/engine/README.md on FP8: the picture's error by the formats of G's convolutions.

`python benches/measure_fp8.py`: a moved frame, networks on stock operators in float32, the inputs and weights
of the generator's convolutions rounded to each format; sums stay in float32, as tensor cores keep them. FP8
is e4m3: weights scaled by output channel, inputs by tensor, to the format's largest number. Levels are of
255. The starter is trained; the SPADE preset has weights drawn by tests/data/parity.py.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data"))
import clips
from release_weights import filled

import fv2v
from fv2v.geometry import View

LARGEST = torch.finfo(torch.float8_e4m3fn).max
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
Rounding = Callable[[Tensor, tuple[int, ...]], Tensor]  # along some dimensions together


def to_half(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    return values.half().float()


def to_bfloat16(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    return values.bfloat16().float()


def to_fp8(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    """To e4m3, scaled so that the largest number along `dims` is the format's."""
    scale = values.abs().amax(dims, keepdim=True).clamp(min=1e-12) / LARGEST
    return (values / scale).to(torch.float8_e4m3fn).float() * scale


@contextmanager
def rounded(
    network: nn.Module, to: Callable[[Tensor, tuple[int, ...]], Tensor], least: int
) -> Iterator[None]:
    """Its convolutions of `least` channels on either side or more compute in a format."""
    chosen = [
        module
        for module in network.modules()
        if isinstance(module, CONVOLUTIONS) and min(module.in_channels, module.out_channels) >= least
    ]
    kept = [module.weight.data for module in chosen]

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (to(inputs[0], tuple(range(inputs[0].dim()))), *inputs[1:])

    hooks = [module.register_forward_pre_hook(look) for module in chosen]
    for module in chosen:
        module.weight.data = to(module.weight.data, tuple(range(1, module.weight.dim())))
    yield
    for module, weight, hook in zip(chosen, kept, hooks, strict=True):
        module.weight.data = weight
        hook.remove()


def main() -> None:
    print(
        "| preset | convolutions of G | largest error | mean error | PSNR |\n| --- | --- | --- | --- | --- |"
    )
    for name in ("starter", "vox-256-spade"):
        config = fv2v.preset(name)
        reenactor = fv2v.Reenactor(name, weights=None if name == "starter" else "random", optimize=False)
        if name != "starter":
            reenactor.model.load_state_dict(filled(config).state_dict())
        generator = reenactor.model.generator
        source = reenactor.encode(clips.crop_face(clips.portrait(), config.image_size))
        driver = reenactor.extract(clips.crop_face(clips.portrait()[:, ::-1].copy(), config.image_size))

        def picture(reenactor=reenactor, source=source, driver=driver) -> Tensor:
            frame = next(iter(reenactor.animate(source, driver, view=View(yaw=10))))
            return torch.from_numpy(frame).double()

        exact = picture()
        ways = {"float16": (to_half, 0), "bfloat16": (to_bfloat16, 0)}
        ways |= {"FP8": (to_fp8, 0), "FP8 from 64 channels on": (to_fp8, 64)}
        for way, (to, least) in ways.items():
            with rounded(generator, to, least):
                error = (picture() - exact).abs()
            psnr = 10 * torch.log10(255**2 / error.square().mean().clamp(min=1e-9))
            print(f"| {name} | {way} | {error.max():.0f} | {error.mean():.2f} | {psnr:.1f} dB |", flush=True)


if __name__ == "__main__":
    main()
