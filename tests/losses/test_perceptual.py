# SPDX-License-Identifier: Apache-2.0
"""Losses on pictures: as a network sees them, VGG-19 for one, and pixel by pixel."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny import TINY, TINY_LIVEPORTRAIT
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from fv2v.losses import HeadFeatures, PerceptualLoss, Vgg19Features, focus_on, reconstruction
from fv2v.networks import FaceVid2Vid


def halved(picture: Tensor) -> Tensor:
    height, width = picture.shape[2:]
    return picture.unflatten(3, (width // 2, 2)).unflatten(2, (height // 2, 2)).mean((3, 5))


# Perceptual


class Squares(nn.Module):
    """Two maps; with a weight and a batch norm, which training would change."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, image: Tensor) -> list[Tensor]:
        y = self.norm(image) * math.sqrt(1 + 1e-5)
        return [y, y[:, :2, ::2] ** 2]


def test_features_of_a_head_estimator():
    """Maps of all its stages, the last of which it sums up; frozen, and never in training mode."""
    head = FaceVid2Vid(TINY).head
    features = HeadFeatures(head).train()
    assert not any(module.training for module in features.modules())
    assert not any(each.requires_grad for each in features.parameters())
    image = torch.rand(2, 3, 32, 32)
    maps = features(image)
    assert [tuple(each.shape[1:]) for each in maps] == [(8, 16, 16), (16, 8, 8), (32, 4, 4)]
    torch.testing.assert_close(maps[-1].mean((2, 3)), head.eval().trunk(image))
    loss = PerceptualLoss(features, features.weights, scales=1)
    blurred = avg_pool2d(image, 3, 1, 1).requires_grad_()
    loss(blurred, image).backward()
    assert loss(image, image) == 0
    assert blurred.grad.abs().max() > 0
    with pytest.raises(ValueError, match="expected H on the trunk 'resnet', got ConvNeXtTrunk"):
        HeadFeatures(FaceVid2Vid(TINY_LIVEPORTRAIT).head)


def test_the_perceptual_loss_is_its_formula():
    loss = PerceptualLoss(Squares(), weights=(0.5, 3), scales=3)
    output, target = torch.rand(2, 2, 3, 16, 24)
    expected = 0.0
    y, d = output, target
    for _ in range(3):
        expected += 0.5 * (y - d).abs().mean() + 3 * (y[:, :2, ::2] ** 2 - d[:, :2, ::2] ** 2).abs().mean()
        y, d = halved(y), halved(d)
    torch.testing.assert_close(loss(output, target), expected)
    torch.testing.assert_close(
        PerceptualLoss(Squares(), (1, 0), scales=1)(output, target), (output - target).abs().mean()
    )


def test_only_the_output_learns():
    loss = PerceptualLoss(Squares(), weights=(0.5, 3), scales=2).train()
    before = {key: tensor.clone() for key, tensor in loss.state_dict().items()}
    output, target = torch.rand(2, 2, 3, 8, 8).unbind()
    output.requires_grad_(), target.requires_grad_()
    loss(output, target).backward()
    assert output.grad.abs().sum() > 0
    assert target.grad is None
    assert not loss.features.norm.weight.requires_grad
    torch.testing.assert_close(loss.state_dict(), before, rtol=0, atol=0)
    assert torch.autograd.gradcheck(loss.double(), (output.double(), target.detach().double()))


def test_the_papers_weights_are_the_default():
    class Five(nn.Module):
        def forward(self, image: Tensor) -> list[Tensor]:
            return [image.mean() * factor for factor in (1, 100, 1e4, 1e6, 1e8)]

    loss = PerceptualLoss(Five().double())
    ones = torch.ones(1, 3, 4, 4, dtype=torch.float64)
    expected = 3 * (1 / 32 + 100 / 16 + 1e4 / 8 + 1e6 / 4 + 1e8)
    assert loss(ones, 0 * ones).item() == pytest.approx(expected, rel=1e-12)


def test_pictures_and_maps_that_do_not_fit_are_errors():
    loss = PerceptualLoss(Squares(), weights=(1, 1, 1))
    with pytest.raises(ValueError, match="expected 3 feature maps of Squares, one a weight, got 2"):
        loss(*torch.rand(2, 1, 3, 8, 8))
    with pytest.raises(ValueError, match="halve 2 times"):
        loss(*torch.rand(2, 1, 3, 8, 10))
    with pytest.raises(ValueError, match="two pictures of one shape"):
        loss(torch.rand(1, 3, 8, 8), torch.rand(2, 3, 8, 8))


# VGG-19

VGG19 = (
    64,
    64,
    "M",
    128,
    128,
    "M",
    256,
    256,
    256,
    256,
    "M",
    512,
    512,
    512,
    512,
    "M",
    512,
    512,
    512,
    512,
    "M",
)


@pytest.fixture(scope="module")
def vgg_state() -> dict[str, Tensor]:
    """As torchvision has it: a convolution and its ReLU are two layers. Half precision is half a file."""
    torch.manual_seed(0)
    state, channels, index = {}, 3, 0
    for width in VGG19:
        if width == "M":
            index += 1
            continue
        scale = math.sqrt(2 / (9 * channels))
        state[f"features.{index}.weight"] = (scale * torch.randn(width, channels, 3, 3)).half()
        state[f"features.{index}.bias"] = (0.1 * torch.randn(width)).half()
        channels, index = width, index + 2
    for layer in (0, 3, 6):
        state[f"classifier.{layer}.weight"] = torch.zeros(2, 2)
    return state


@pytest.fixture
def written(tmp_path, vgg_state) -> Callable[..., Path]:
    """written("vgg.pth", **changes) -> the file, with some of its tensors changed, or left out: None."""

    def write(name: str = "vgg.pth", **changes: Tensor | None) -> Path:
        state = {key: value for key, value in (vgg_state | changes).items() if value is not None}
        if name.endswith(".pth"):
            torch.save(state, tmp_path / name)
        else:
            save_file(state, tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", ["vgg19.pth", "vgg19.safetensors"])
def test_vgg_reads_torchvisions_file(written, vgg_state, name):
    features = Vgg19Features.load(written(name))
    image = torch.rand(1, 3, 32, 16)
    x = (image - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    expected, index, first = [], 0, True
    for width in VGG19[:-4]:
        if width == "M":
            x, index, first = torch.max_pool2d(x, 2), index + 1, True
            continue
        weight, bias = (vgg_state[f"features.{index}.{kind}"].float() for kind in ("weight", "bias"))
        x = torch.relu(torch.conv2d(x, weight, bias, padding=1))
        expected += [x] if first else []
        index, first = index + 2, False
    torch.testing.assert_close(features(image), expected)
    assert [each.shape[1:] for each in expected] == [
        (64, 32, 16),
        (128, 16, 8),
        (256, 8, 4),
        (512, 4, 2),
        (512, 2, 1),
    ]
    assert not features.train().training
    assert not any(parameter.requires_grad for parameter in features.parameters())
    loss = PerceptualLoss(features, scales=1)
    assert loss(image, image) == 0
    assert loss(image, image.flip(3)) > 0.01


def test_a_file_of_another_network_lists_what_is_wrong(written, vgg_state):
    with pytest.raises(ValueError, match="is no VGG-19") as error:
        Vgg19Features.load(
            written(
                **{
                    "features.16.weight": None,
                    "features.17.weight": torch.zeros(2),
                    "features.5.bias": torch.zeros(3),
                    "features.7.bias": torch.zeros(128, dtype=torch.int64),
                }
            )
        )
    message = str(error.value)
    assert "vgg19-dcbb9e9d.pth" in message
    assert message.splitlines()[1:] == [
        "  not in the file: features.16.weight",
        "  not in the model: features.17.weight",
        "  shape of features.5.bias: file (3,), model (128,)",
        "  dtype of features.7.bias: file torch.int64, model torch.float32",
    ]


def test_what_comes_after_the_last_map_may_be_missing(written):
    unused = {f"features.{i}.{kind}": None for i in (30, 32, 34) for kind in ("weight", "bias")}
    Vgg19Features.load(written(**unused))


def test_no_file_and_no_state_dict_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        Vgg19Features.load(tmp_path / "vgg.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(
        ValueError, match=r"expected the state dict of torchvision's VGG-19, .*; the file holds list"
    ):
        Vgg19Features.load(tmp_path / "list.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "list.pth").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cut short.*Expected the state dict of torchvision's VGG-19"):
        Vgg19Features.load(tmp_path / "cut.pth")


def test_vgg_is_taken_from_where_torchvision_keeps_it(written, tmp_path, monkeypatch):
    """And is not fetched unless that is asked for: here by a failing network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    asked = []

    def fetch(url: str, *rest: object, **options: object) -> None:
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(
        ValueError, match=r"nothing is downloaded unasked; .*download.pytorch.org.*vgg=download"
    ):
        Vgg19Features.from_torchvision()
    assert asked == []
    with pytest.raises(ValueError, match=r"cannot fetch VGG-19 \(no network\); expected the state dict of"):
        Vgg19Features.from_torchvision(download=True)
    assert asked == ["https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"]
    kept = tmp_path / "home" / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    written("vgg.pth").rename(kept)
    assert not Vgg19Features.from_torchvision().training
    assert len(asked) == 1


# Pixels


def test_reconstruction_is_its_formula():
    output, target = torch.rand(2, 2, 3, 8, 16)
    expected, y, d = 0.0, output.numpy(), target.numpy()
    for _ in range(3):
        e = y - d
        expected += np.abs(e).mean()
        expected += np.abs(e[..., 1:] - e[..., :-1]).mean() + np.abs(e[:, :, 1:] - e[:, :, :-1]).mean()
        y, d = halved(torch.from_numpy(y)).numpy(), halved(torch.from_numpy(d)).numpy()
    assert reconstruction(output, target).item() == pytest.approx(expected / 3, rel=1e-5)
    assert reconstruction(output, output + 0.25, scales=2).item() == pytest.approx(0.25, rel=1e-5)
    assert reconstruction(output, output) == 0


def test_pixels_count_as_their_focus_says():
    """By the formula, of weights that are not 1 anywhere; where all are alike, by none."""
    output, target = torch.rand(2, 2, 3, 8, 16)
    focus = 0.5 + torch.rand(2, 1, 8, 16)
    expected, e, w = 0.0, (output - target).numpy(), focus.numpy()
    for _ in range(2):
        expected += np.average(np.abs(e).mean(1, keepdims=True), weights=w)
        across, down = w[..., 1:], w[:, :, 1:]
        expected += np.average(np.abs(e[..., 1:] - e[..., :-1]).mean(1, keepdims=True), weights=across)
        expected += np.average(np.abs(e[:, :, 1:] - e[:, :, :-1]).mean(1, keepdims=True), weights=down)
        e, w = halved(torch.from_numpy(e)).numpy(), halved(torch.from_numpy(w)).numpy()
    found = reconstruction(output, target, scales=2, focus=focus)
    assert found.item() == pytest.approx(expected / 2, rel=1e-5)
    alike = reconstruction(output, target, focus=torch.full_like(focus, 3))
    torch.testing.assert_close(alike, reconstruction(output, target))


def test_the_focus_is_on_its_points():
    size = 32
    points = torch.tensor([[[-0.5, 0.25], [2.0, 2.0]]])  # the second is far outside
    found = focus_on(points, torch.tensor([3.0, 5.0]), size)
    assert found.shape == (1, 1, size, size)
    at = (2 * np.arange(size) + 1) / size - 1
    squared = (at[None] + 0.5) ** 2 + (at[:, None] - 0.25) ** 2
    np.testing.assert_allclose(found[0, 0], 1 + 3 * np.exp(-squared / (2 * 0.06**2)), rtol=1e-5)


def test_shapes_that_differ_are_an_error():
    with pytest.raises(ValueError, match=r"two tensors of one shape, got \(1, 3, 8, 8\) and \(2, 3, 8, 8\)"):
        reconstruction(torch.rand(1, 3, 8, 8), torch.rand(2, 3, 8, 8))
