# SPDX-License-Identifier: Apache-2.0
"""LPIPS: how unlike two pictures look, by AlexNet's features (Zhang, Isola, Efros, Shechtman, Wang 2018).

d = Σ_l mean over pixels of Σ_c w_lc (φ_lc − φ'_lc)², φ_l what the l-th ReLU passes on, of length 1 at each
pixel. The w_lc (version 0.1) are those in torchmetrics, of the extra `train`; AlexNet's weights are
torchvision's, a file that is never downloaded. torchmetrics' own LPIPS needs torchvision, which fetches it.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from fv2v.checkpoints.storage import contents, is_state_dict, misfits, read_file
from fv2v.extras import check_extra, installed
from fv2v.io.paths import PathLike, check_input

FILE = "alexnet-owt-7be5be79.pth"  # in its name the beginning of its SHA-256
URL = f"https://download.pytorch.org/models/{FILE}"
GET_WEIGHTS = f"the state dict of torchvision's AlexNet, a file as {URL}"
LAYERS = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
POOLED = (1, 2)  # of `LAYERS` (channels, kernel, stride, padding) those before which is pooled
UNUSED = "classifier."  # what comes after the last ReLU of convolutions
MEAN, SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of colours from -1 to 1
LEAST_LENGTH = 1e-8  # squared: where nothing is seen, nothing is divided by 0
LEAST_SIDE = 31  # pixels that leave one after the second pooling


class Lpips(nn.Module):
    """d of pictures and true ones, (B, 3, H, W) each in [0, 1]: (B,), 0 for equal pictures.

    Weights are random until `load`.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.taps, channels = [], 3
        for number, (width, kernel, stride, padding) in enumerate(LAYERS):
            if number in POOLED:
                layers.append(nn.MaxPool2d(3, 2))
            layers += (nn.Conv2d(channels, width, kernel, stride, padding), nn.ReLU())
            self.taps.append(len(layers) - 1)
            channels = width
        self.features = nn.Sequential(*layers)
        self.weights = nn.ParameterList(torch.rand(width, 1, 1) for width, *_ in LAYERS)
        for name, values in (("mean", MEAN), ("spread", SPREAD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor, true: Tensor) -> Tensor:
        """(B,). ValueError for pictures of fewer pixels on a side than `LEAST_SIDE`."""
        if min(images.shape[2:]) < LEAST_SIDE:
            raise ValueError(
                f"LPIPS: expected pictures of {LEAST_SIDE} px a side at least, got {tuple(images.shape)}"
            )
        x = (2 * torch.cat([images, true]) - 1 - self.mean) / self.spread
        distance = torch.zeros(len(images), device=x.device)
        weights = iter(self.weights)
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in self.taps:
                ours, theirs = (x / (x.square().sum(1, keepdim=True) + LEAST_LENGTH).sqrt()).chunk(2)
                distance = distance + (next(weights) * (ours - theirs).square()).sum(1).mean((1, 2))
        return distance

    @classmethod
    def load(cls, path: PathLike) -> "Lpips":
        """With AlexNet's weights from a file, .pth or .safetensors, in any dtype, and torchmetrics' own.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: torchmetrics is not installed; or the file is not AlexNet's state dict.
        """
        check_extra("LPIPS", ("torchmetrics",), "train")
        path = check_input(path)
        stored = read_file(path, expected=GET_WEIGHTS)
        if not is_state_dict(stored):
            raise ValueError(f"{path}: expected {GET_WEIGHTS}; the file holds {contents(stored)}")
        return cls._filled(stored, str(path))

    @classmethod
    def _filled(cls, stored: Mapping[str, Tensor], label: str) -> "Lpips":
        model = cls()
        needed = {key: tensor for key, tensor in stored.items() if not key.startswith(UNUSED)}
        needed |= {f"weights.{i}": each for i, each in enumerate(_weights())}
        if problems := misfits(needed, model.state_dict()):
            raise ValueError(f"{label} is no AlexNet; expected {GET_WEIGHTS}:\n  " + "\n  ".join(problems))
        model.load_state_dict(needed)
        return model


def kept_by_torch() -> Path | None:
    """AlexNet's file where torchvision keeps it; None: it is not there, or torchmetrics is not installed."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    return path if path.is_file() and installed("torchmetrics") else None


def _weights() -> list[Tensor]:
    """w of each layer, (C, 1, 1)."""
    found = importlib.util.find_spec("torchmetrics")
    assert found is not None
    assert found.origin is not None
    stored = read_file(Path(found.origin).parent / "functional" / "image" / "lpips_models" / "alex.pth")
    return [stored[f"lin{number}.model.1.weight"][0] for number in range(len(LAYERS))]
