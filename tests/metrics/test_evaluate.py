# SPDX-License-Identifier: Apache-2.0
"""`fv2v evaluate`: the report, the sheet, clips, metric networks, and bad arguments."""

import base64
import json
import math
import re
import shutil
import sys
from html.parser import HTMLParser

import clips
import pytest
import torch
from perfect import TINY_HEADS
from refusals import assert_refused
from tiny import TINY, lively, pictures

from fv2v.io.image import read_image, write_image
from fv2v.io.number_log import NumberLog, read_numbers
from fv2v.metrics.clips import Clips
from fv2v.metrics.evaluation import evaluate
from fv2v.metrics.html import chart
from fv2v.metrics.pictures import ms_ssim_scales
from fv2v.metrics.protocols import ProtocolRunner
from fv2v.metrics.scores import MetricNetworks
from fv2v.reenactor import Reenactor


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    lively(Reenactor(TINY_HEADS, weights="random")).save(path)
    return path


def test_the_command_writes_a_whole_report(fv2v, weights, tmp_path):
    output, sheet = tmp_path / "results.json", tmp_path / "sheet.png"
    options = ("--identities", 1, "--frames", 3, "--seed", 5, "--rows", 1)
    code, out, err = fv2v("evaluate", "-w", weights, *options, "-o", output, "--sheet", sheet)
    assert (code, err) == (0, "")
    for words in (
        "same identity",
        "source unmoved",
        "sharpness, model",
        "another frame's motion",
        "free view",
        "cross identity, relative",
        "yaw check",
        "keypoint error",
    ):
        assert words in out
    report = json.loads(output.read_text())
    setting, results = report["setting"], report["results"]
    assert setting["model"] == "tiny-heads"
    assert [len(file["sha256"]) for file in setting["weights"]] == [64]
    assert (setting["scenes"], setting["frames"], setting["seed"], setting["size"]) == (1, 3, 5, 32)
    assert setting["ms_ssim_scales"] == ms_ssim_scales(32) == 2
    assert str(tmp_path) not in output.read_text(), "no paths of the machine"
    for name in ("model", "true_keypoints", "unchanged"):
        for protocol in ("same_identity", "free_view", "frontalization", "cross_absolute", "cross_relative"):
            found = results[name][protocol]
            assert all(found[key] is not None for key in ("l1", "l1_ratio", "psnr", "psnr_gain", "ssim"))
        assert len(results[name]["yaw_check"]["by_yaw"]) == 7
    assert results["model"]["sharpness"]["eyes"] is not None
    assert results["model"]["unmoved"]["l1_ratio"] is not None
    assert results["motion"].keys() == {"yaw", "pitch", "roll", "keypoints", "expression"}
    # six rows of eight pictures of 96 px, each under its caption
    assert read_image(sheet).shape == (8 + 6 * (16 + 96), 8 * 96, 3)


class Page(HTMLParser):
    """What a page holds: its texts, and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.fetched += [value for name, value in attrs if name in ("src", "href", "data", "srcset")]

    def handle_data(self, data):
        self.texts.append(data)


def test_a_page_holds_everything(fv2v, weights, tmp_path):
    """Tables, heads, pictures and the run's curves, in one file that fetches nothing."""
    run = tmp_path / "run <b>"
    run.mkdir()
    shutil.copy(weights, run / "model.safetensors")
    log = NumberLog(run / "log.txt", 0)
    for step in (10, 20, 30):
        log.numbers(step, {"loss/gan": 1 / step, "held_out/psnr": 20.0 + step})
    log.close()
    page, sheet, results = run / "report.html", run / "sheet.png", run / "results.json"
    options = ("--identities", 2, "--frames", 3, "--seed", 5, "--rows", 1)
    files = ("-o", results, "--sheet", sheet, "--html", page)
    code, out, err = fv2v("evaluate", "-w", run / "model.safetensors", *options, *files)
    assert (code, err) == (0, "")
    assert f"{page}: written" in out
    text = page.read_text(encoding="utf-8")
    found = Page(text)
    [picture] = found.fetched
    kind, _, data = picture.partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == sheet.read_bytes()
    assert "url(" not in text
    shown = "".join(found.texts)
    for words in ("same identity", "cross identity, relative", "keypoint error", "loss/gan", "held_out/psnr"):
        assert words in shown
    report = json.loads(results.read_text())
    people, means = report["people"], report["results"]
    assert len(people) == 2
    for each in people:
        assert f"{each['l1']:.2f}" in found.texts
    for name, model in (("l1", "model"), ("psnr", "model"), ("unchanged_l1", "unchanged")):
        mean = means[model]["same_identity"][name.removeprefix("unchanged_")]
        assert sum(each[name] for each in people) / 2 == pytest.approx(mean, rel=1e-6)
    assert text.count("<polyline") == 3  # heads, and two curves
    refused = fv2v("evaluate", "-w", weights, "--html", tmp_path / "page.txt")
    assert_refused(refused, ".html")


def test_a_log_is_read_as_it_was_written(tmp_path):
    """Of a step that was taken again the later line counts; what is no line of numbers is left out."""
    path = tmp_path / "log.txt"
    for after, steps in ((0, (1, 2, 3)), (1, (2, 3))):
        log = NumberLog(path, after)
        for step in steps:
            log.numbers(step, {"loss/gan": step + after, "rate": 1e-7})
        log.close()
    with path.open("a") as file:
        file.write("cut sho\nat step 9: nothing here\n")
    assert read_numbers(path) == {
        "loss/gan": [(1, 1.0), (2, 3.0), (3, 4.0)],
        "rate": [(1, 1e-7), (2, 1e-7), (3, 1e-7)],
    }


def test_a_chart_leaves_out_what_is_not_finite():
    assert chart("none", []) == chart("none", [(1, math.nan)]) == ""
    drawn = chart("a < b", [(0, 1.0), (1, math.inf), (2, 3.0)])
    assert "a &lt; b" in drawn
    assert re.findall(r'points="([^"]+)"', drawn) == ["36.0,164.0 604.0,36.0"]


def colours(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.mean((2, 3))


class Colours(torch.nn.Module):
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return colours(pictures)


class Corners(torch.nn.Module):
    """Two landmarks that follow the colours, (B, 2, 2)."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        mean = 32 * colours(pictures)
        return torch.stack([mean[:, :2], mean[:, 1:]], dim=1)


def exported(network: torch.nn.Module, path) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(network, (torch.rand(2, 3, 32, 32),), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three clips, one of them broken."""
    folder = tmp_path_factory.mktemp("videos")
    portrait = clips.portrait()
    for name, part in (("a", portrait), ("c", portrait[:, ::-1])):
        clips.write_clip(folder / f"{name}.mp4", clips.moving_picture(part, 5, size=64))
    (folder / "b.mp4").write_text("no video\n" * 40)
    return folder


def test_clips_with_metric_networks(fv2v, weights, videos, tmp_path):
    exported(Colours(), tmp_path / "colours.pt2")
    exported(Corners(), tmp_path / "corners.pt2")
    networks = [f"--{name}" for name in ("features", "embedding", "landmarks")]
    files = [tmp_path / f"{name}.pt2" for name in ("colours", "colours", "corners")]
    options = [part for pair in zip(networks, files, strict=True) for part in pair]
    output = tmp_path / "results.json"
    code, out, _ = fv2v("evaluate", videos, "-w", weights, "--frames", 4, "-o", output, "--trust", *options)
    assert code == 0
    assert all(words in out for words in ("FID", "AKD", "CSIM", "free view", "frontalization"))
    report = json.loads(output.read_text())
    assert report["setting"]["scenes"] == 2
    assert report["setting"]["seed"] is None
    assert len(report["setting"]["networks"]["landmarks"]["sha256"]) == 64
    results = report["results"]
    assert results["true_keypoints"] is None
    assert results["motion"] is None
    model, still = results["model"], results["unchanged"]
    assert model["yaw_check"] is None
    assert all(model["same_identity"][name] is not None for name in ("l1", "fid", "akd", "csim"))
    for protocol in ("free_view", "frontalization", "cross_absolute", "cross_relative"):
        assert model[protocol]["l1"] is None
        assert model[protocol]["akd"] is None
        assert model[protocol]["fid"] is not None
        assert still[protocol]["csim"] == pytest.approx(1)


def test_processes_find_what_one_finds(fv2v, weights, videos, tmp_path):
    """To the bit, with metric networks and a sheet; only the seconds are others'."""
    exported(Colours(), tmp_path / "colours.pt2")
    command = ["evaluate", videos, "-w", weights, "--frames", 4, "--rows", 1, "--trust"]
    command += ["--features", tmp_path / "colours.pt2", "--embedding", tmp_path / "colours.pt2"]
    reports = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, options in (("one", []), ("two", ["--workers", 2])):
        output, sheet = tmp_path / f"{name}.json", tmp_path / f"{name}.png"
        assert fv2v(*command, "-o", output, "--sheet", sheet, *options)[0] == 0
        report = json.loads(output.read_text())
        assert report["results"].pop("seconds_per_frame") > 0
        reports.append((report["results"], report["people"], sheet.read_bytes()))
    torch.set_num_threads(threads)
    assert reports[0] == reports[1]


def test_clips_have_no_rows_of_what_they_cannot_have(fv2v, weights, videos):
    """Without networks for FID and CSIM nothing is known of free views: no line of blanks says so."""
    code, out, _ = fv2v("evaluate", videos, "-w", weights, "--frames", 3)
    assert code == 0
    assert "same identity" in out
    for words in ("free view", "frontalization", "cross identity", "true keypoints"):
        assert words not in out


@pytest.mark.parametrize("data", ["heads", "clips"])
def test_without_torchmetrics_the_other_numbers_are_given(fv2v, weights, videos, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    given = [videos] if data == "clips" else ["--identities", 1]
    output = tmp_path / "results.json"
    code, out, err = fv2v("evaluate", *given, "-w", weights, "--frames", 3, "-o", output)
    assert code == 0
    assert "torchmetrics" not in err
    assert all(words in out for words in ("not measured", "torchmetrics", "'.[train]'"))
    assert "MS-SSIM of" not in out
    found = json.loads(output.read_text())["results"]["model"]["same_identity"]
    assert found["ssim"] is found["ms_ssim"] is None
    assert all(found[name] is not None for name in ("l1", "psnr", "l1_ratio", "psnr_gain"))


def test_a_clip_is_driven_by_another(videos):
    first, second = Clips(videos, 32, frames=3)
    assert first.frames.shape == (3, 3, 32, 32)
    assert first.driver.shape == (5, 3, 32, 32)
    assert torch.equal(first.driver[0], second.frames[0])
    assert torch.equal(first.true.driven, first.frames[1:])
    assert first.true.cross is None
    alone = list(Clips(videos, 32, limit=1))
    assert len(alone) == 1


def test_one_clip_has_no_other_face(videos, tmp_path):
    (tmp_path / "a.mp4").write_bytes((videos / "a.mp4").read_bytes())
    (scene,) = Clips(tmp_path, 32, frames=3)
    assert scene.driver is None
    networks, reenactor = MetricNetworks(features=colours), lively(Reenactor(TINY, weights="random"))
    results = evaluate(reenactor, [scene], networks=networks).results
    assert results.model.cross_absolute is None
    assert results.model.same_identity.pictures == 2
    assert results.model.same_identity.fid is not None
    assert results.model.frontalization.fid is None, "one picture has no covariance"
    driven = scene.frames[1:]
    mean = 255 * (scene.frames.mean(0) - driven).abs().mean()
    assert results.mean_frame.l1 == pytest.approx(float(mean))
    runner = ProtocolRunner(reenactor)
    swapped = runner.run(runner.read(scene)).driven.flip(0)
    other = 255 * (swapped - driven).abs().mean()
    assert results.other_frame.l1 == pytest.approx(float(other))
    assert results.other_frame.l1_ratio == pytest.approx(
        results.other_frame.l1 / results.unchanged.same_identity.l1
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--identities", 0), "expected identities >= 1"),
        (("--frames", 1), "frames >= 2, a source and a driving frame; got 64, 4 and 1"),
        (("--seed", -1), "expected a seed from 0 to 999999999, got -1"),
        (("--batch-size", 0), "expected batch_size >= 1, got 0"),
        (("--rows", 0), "expected at least 1 row"),
        (("-o", "results.txt"), "expected a name that ends in .json"),
        (("--sheet", "sheet.json"), "expected a name that ends in .png"),
        (("--features", "absent.pt2"), "absent.pt2: no such file"),
    ],
)
def test_bad_arguments(fv2v, weights, options, message):
    code, out, err = fv2v("evaluate", "-w", weights, *options)
    assert (code, out) == (2, "")
    assert err.startswith("fv2v: ")
    assert err.count("\n") == 1
    assert message in err


def test_files_that_cannot_be_used(fv2v, weights, tmp_path):
    code, _, err = fv2v("evaluate", tmp_path / "absent", "-w", weights)
    assert (code, err) == (2, f"fv2v: {tmp_path / 'absent'}: no such folder\n")
    write_image(tmp_path / "program.png", pictures(1)[0])
    code, _, err = fv2v("evaluate", "-w", weights, "--landmarks", tmp_path / "program.png")
    assert code == 2
    assert "program.png: a .pt2 can run any code when it is read" in err
    assert "--trust" in err
    code, _, err = fv2v("evaluate", "-w", weights, "--trust", "--landmarks", tmp_path / "program.png")
    assert code == 2
    assert "expected a program of torch.export (.pt2)" in err
    code, _, err = fv2v("evaluate", "-p", "vox-256")
    assert code == 2
    assert "no weights given" in err
