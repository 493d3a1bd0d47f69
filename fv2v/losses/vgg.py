# SPDX-License-Identifier: Apache-2.0
"""VGG-19 up to relu5_1, as torchvision lays it out, for the perceptual loss (Simonyan and Zisserman 2015)."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from fv2v.checkpoints.storage import contents, is_state_dict, misfits, read_file
from fv2v.io.paths import PathLike, check_input

# Convolutions between poolings. The last stage ends where the last feature map is read.
STAGES = ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,))
UNUSED = ("classifier.", "features.30.", "features.32.", "features.34.")  # what comes after relu5_1
FILE = "vgg19-dcbb9e9d.pth"  # in its name the beginning of its SHA-256
URL = f"https://download.pytorch.org/models/{FILE}"
GET_WEIGHTS = f"the state dict of torchvision's VGG-19, a file as {URL}"


class Vgg19Features(nn.Module):
    """relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of pictures; frozen, and always in evaluation mode.

    ImageNet's colours are normalised inside. Weights are random until `load`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.taps, channels = [], 3
        for widths in STAGES:
            if layers:
                layers.append(nn.MaxPool2d(2))
            self.taps.append(len(layers) + 1)  # its first ReLU
            for width in widths:
                layers += (nn.Conv2d(channels, width, 3, padding=1), nn.ReLU())
                channels = width
        self.features = nn.Sequential(*layers)
        for name, values in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Vgg19Features":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1] -> (B, 64, H, W), (B, 128, H/2, W/2), ... (B, 512, H/16, W/16)."""
        if min(image.shape[2:]) < 16:
            raise ValueError(f"VGG-19: expected pictures of 16 px a side at least, got {tuple(image.shape)}")
        x, maps = (image - self.mean) / self.std, []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in self.taps:
                maps.append(x)
        return maps

    @classmethod
    def load(cls, path: PathLike) -> "Vgg19Features":
        """With the weights in a state dict of torchvision's VGG-19, .pth or .safetensors, in any dtype.

        Layers after relu5_1 are ignored.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no state dict, or not that of VGG-19: every missing, unexpected and misshapen
                tensor is listed.
        """
        path = check_input(path)
        stored = read_file(path, expected=GET_WEIGHTS)
        if not is_state_dict(stored):
            raise ValueError(f"{path}: expected {GET_WEIGHTS}; the file holds {contents(stored)}")
        return cls._filled(stored, str(path))

    @classmethod
    def from_torchvision(cls, *, download: bool = False) -> "Vgg19Features":
        """With the ImageNet weights where torchvision keeps them.

        Args:
            download: fetch them where they are not there, 575 MB; nothing else in fv2v uses the network.

        Raises:
            ValueError: they are not there, or cannot be fetched.
        """
        path = Path(torch.hub.get_dir()) / "checkpoints" / FILE
        if not path.exists():
            if not download:
                raise ValueError(
                    f"{path}: not there, and nothing is downloaded unasked; expected {GET_WEIGHTS}, which "
                    "--set vgg=download fetches (575 MB)"
                )
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(URL, str(path), FILE[6:14], progress=False)
            except (OSError, RuntimeError) as error:  # the latter for a wrong hash
                raise ValueError(f"cannot fetch VGG-19 ({error}); expected {GET_WEIGHTS}") from error
        return cls.load(path)

    @classmethod
    def _filled(cls, stored: Mapping[str, Tensor], label: str) -> "Vgg19Features":
        model = cls()
        needed = {key: tensor for key, tensor in stored.items() if not key.startswith(UNUSED)}
        if problems := misfits(needed, model.state_dict()):
            raise ValueError(f"{label} is no VGG-19; expected {GET_WEIGHTS}:\n  " + "\n  ".join(problems))
        model.load_state_dict(needed)
        return model
