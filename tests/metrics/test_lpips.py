# SPDX-License-Identifier: Apache-2.0
"""LPIPS against its formula, written out with a network of filled weights; and when it is left out."""

import json
from pathlib import Path

import pytest
import torch
import torchmetrics
from perfect import TINY_HEADS
from refusals import assert_refused
from tiny import lively
from torch.nn.functional import conv2d, interpolate, max_pool2d

from fv2v.metrics.lpips import FILE, Lpips
from fv2v.reenactor import Reenactor

SHAPES = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
LINEAR = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / "alex.pth"


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory) -> Path:
    """A file as torchvision's, whose layers pass on what they get."""
    torch.manual_seed(0)
    stored = {}
    for place, (out, channels, kernel) in SHAPES.items():
        stored[f"features.{place}.weight"] = torch.nn.init.kaiming_normal_(
            torch.empty(out, channels, kernel, kernel)
        )
        stored[f"features.{place}.bias"] = 0.1 * torch.randn(out)
    stored["classifier.1.weight"] = torch.zeros(2, 2)
    path = tmp_path_factory.mktemp("home") / "hub" / "checkpoints" / FILE
    path.parent.mkdir(parents=True)
    torch.save(stored, path)
    return path


def pictures(seed: int, count: int = 3, size: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return interpolate(torch.rand(count, 3, 8, 8, generator=generator), (size, size), mode="bilinear")


def written_out(path: Path, one: torch.Tensor, other: torch.Tensor) -> float:
    """Of two pictures (3, H, W), in float64, with the layers in torchvision's order."""
    stored = {name: each.double() for name, each in torch.load(path, weights_only=True).items()}
    linear = torch.load(LINEAR, weights_only=True, map_location="cpu")

    def features(picture: torch.Tensor) -> list[torch.Tensor]:
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        x = ((2 * picture.double() - 1 - shift.double()[:, None, None]) / scale.double()[:, None, None])[None]
        found = []
        for place, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
            x = max_pool2d(x, 3, 2) if place in (3, 6) else x
            weight, bias = stored[f"features.{place}.weight"], stored[f"features.{place}.bias"]
            x = conv2d(x, weight, bias, stride, padding).relu()
            found.append(x[0])
        return found

    distance = 0.0
    for layer, (a, b) in enumerate(zip(features(one), features(other), strict=True)):
        weights = linear[f"lin{layer}.model.1.weight"].double().flatten()
        a, b = (each / (each.square().sum(0) + 1e-8).sqrt() for each in (a, b))
        distance += float(torch.einsum("c,chw->hw", weights, (a - b) ** 2).mean())
    return distance


def test_it_is_the_formula(alexnet):
    lpips, one, other = Lpips.load(alexnet), pictures(1), pictures(2)
    found = lpips(one, other)
    expected = [written_out(alexnet, a, b) for a, b in zip(one, other, strict=True)]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-6)
    assert found.min() > 0.01
    assert lpips(one, one).abs().max() < 1e-9
    assert (lpips(one, 0.7 * one + 0.3 * other) < found).all()
    with pytest.raises(ValueError, match=r"of 31 px a side at least, got \(1, 3, 30, 30\)"):
        lpips(pictures(1, 1, 30), pictures(2, 1, 30))
    assert lpips(pictures(1, 1, 31), pictures(2, 1, 31)) > 0


@pytest.fixture
def evaluated(fv2v, tmp_path, monkeypatch):
    """Runs `fv2v evaluate` on a drawn head; torch keeps its files nowhere, or in a folder."""
    lively(Reenactor(TINY_HEADS, weights="random")).save(tmp_path / "tiny.safetensors")
    words = ("-w", tmp_path / "tiny.safetensors", "--identities", 1, "--frames", 3)

    def run(*more, home=tmp_path / "empty"):
        monkeypatch.setenv("TORCH_HOME", str(home))
        return fv2v("evaluate", *words, "-o", tmp_path / "out.json", "--overwrite", *more)

    return run


@pytest.mark.slow
def test_a_column_where_the_weights_are_at_hand(evaluated, alexnet, tmp_path):
    shown = [evaluated("--alexnet", alexnet), evaluated(home=alexnet.parents[2])]
    for code, out, err in shown:
        assert (code, err) == (0, "")
        assert "LPIPS" in out
        assert "not measured: it" not in out
        report = json.loads((tmp_path / "out.json").read_text())
        assert report["setting"]["networks"]["alexnet"]["name"] == FILE
        model, still = (report["results"][name]["same_identity"] for name in ("model", "unchanged"))
        assert model["lpips"] > 0
        assert still["lpips"] > 0
        assert report["results"]["unchanged"]["free_view"]["lpips"] > 0


def test_elsewhere_one_line_says_why(evaluated, tmp_path):
    code, out, err = evaluated()
    assert (code, err) == (0, "")
    said = " ".join(out.split())
    assert "LPIPS not measured: it needs the state dict of torchvision's AlexNet, a file as https://" in said
    assert "by --alexnet or where torch keeps it" in said
    assert (
        json.loads((tmp_path / "out.json").read_text())["results"]["model"]["same_identity"]["lpips"] is None
    )
    assert not (tmp_path / "empty").exists()


def test_files_that_are_no_alexnet(evaluated, alexnet, tmp_path):
    assert_refused(evaluated("--alexnet", tmp_path / "absent.pth"), "absent.pth: no such file")
    stored = torch.load(alexnet, weights_only=True)
    stored["features.0.weight"] = stored["features.0.weight"][:32]
    torch.save(stored, tmp_path / "narrow.pth")
    assert_refused(
        evaluated("--alexnet", tmp_path / "narrow.pth"), "narrow.pth is no AlexNet; expected the s"
    )
    (tmp_path / "words.pth").write_text("no weights")
    assert_refused(evaluated("--alexnet", tmp_path / "words.pth"), "no checkpoint that can be read safely")
