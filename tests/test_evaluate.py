"""`fv2v evaluate`: protocols against a model that makes no mistakes, the report, files, and bad arguments."""

import json
from dataclasses import asdict, replace

import clips
import numpy as np
import pytest
import torch
from perfect import TINY_HEADS, Perfect
from tiny import TINY, TINY_SADTALKER, lively, pictures

from fv2v.animation import joined
from fv2v.data.heads import SyntheticHeads
from fv2v.geometry import Motion, Source, keypoints_of, rotation_from_euler
from fv2v.image import read_image, write_image
from fv2v.metrics.clips import Clips
from fv2v.metrics.evaluation import Evaluation, evaluate
from fv2v.metrics.heads import HELD_OUT, HeldOut
from fv2v.metrics.pictures import ms_ssim_scales
from fv2v.metrics.protocols import YAWS, Performer, Reading, Scene
from fv2v.metrics.scores import Likeness, MotionErrors, Protocols, yaw_check, yaw_hits
from fv2v.reenactor import Reenactor

HEADS = HeldOut(size=32, identities=2, frames=4, pairs=1, driven=2)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return list(HEADS)


@pytest.fixture(scope="module")
def perfect(scenes) -> Evaluation:
    return evaluate(Perfect(HEADS, scenes), scenes, examples=1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    lively(Reenactor(TINY_HEADS, weights="random")).save(path)
    return path


def likenesses(protocols: Protocols) -> dict[str, Likeness]:
    found = {name: getattr(protocols, name) for name in asdict(protocols)}
    return {name: likeness for name, likeness in found.items() if isinstance(likeness, Likeness)}


def test_a_perfect_model_is_without_error(perfect):
    """Also across identities, relatively, where poses are composed of three."""
    results = perfect.results
    counts = {
        "same_identity": 6,
        "free_view": 4,
        "frontalization": 2,
        "cross_absolute": 2,
        "cross_relative": 2,
    }
    for protocols in (results.model, results.true_keypoints):
        found = likenesses(protocols)
        assert {name: likeness.pictures for name, likeness in found.items()} == counts
        for name, likeness in found.items():
            # products of rotations round, so a ray at an edge may pass it on the other side
            assert likeness.l1 < 0.05, name
            assert likeness.l1_ratio < 0.01, name
            assert likeness.psnr > 60, name
            assert likeness.ms_ssim > 0.999, name
        assert protocols.yaw_check.hits == protocols.yaw_check.hits_without_0 == 1
    motion = results.motion
    assert max(motion.yaw, motion.pitch, motion.roll) < 1e-3
    assert max(motion.keypoints, motion.expression) < 1e-6
    assert 0 < results.seconds_per_frame < 60


def test_the_source_unchanged_is_measured_beside_it(perfect, scenes):
    still = perfect.results.unchanged
    differences = torch.cat([scene.frames[1:] - scene.frames[:1] for scene in scenes]).double().numpy()
    assert still.same_identity.l1 == pytest.approx(255 * np.abs(differences).mean(), rel=1e-4)
    squares = (differences**2).mean((1, 2, 3))
    assert still.same_identity.psnr == pytest.approx((-10 * np.log10(squares)).mean(), rel=1e-4)
    for likeness in likenesses(still).values():
        assert (likeness.l1_ratio, likeness.psnr_gain) == (1, 0)
        assert likeness.psnr < 40, "the test would see no motion"
    assert still.yaw_check.hits == pytest.approx(1 / 7)
    assert still.yaw_check.hits_without_0 == 0
    model = perfect.results.model.free_view
    assert model.psnr_gain == pytest.approx(model.psnr - still.free_view.psnr)


def test_views_that_are_10_degrees_off(scenes):
    results = evaluate(Perfect(HEADS, scenes, yaw_error=10), scenes[:1]).results
    assert results.model.yaw_check.hits == 0
    assert results.model.free_view.psnr < 40
    assert results.model.same_identity.l1 < 0.05
    assert results.motion.yaw < 1e-3, "what is read is right"


def test_yaw_check_by_hand(scenes):
    true = scenes[0].answers.views
    assert true.shape == (9, 3, 32, 32)
    assert yaw_hits(true[1:-1], true).tolist() == [True] * 7
    assert not yaw_hits(true[:-2], true).any()
    assert not yaw_hits(true[2:], true).any()
    still = yaw_hits(scenes[0].frames[:1].expand(7, -1, -1, -1), true)
    assert still.tolist() == [yaw == 0 for yaw in YAWS]
    check = yaw_check(torch.stack([still, torch.ones(7, dtype=torch.bool)]))
    assert check.hits == pytest.approx(4 / 7)
    assert check.hits_without_0 == 0.5
    assert check.by_yaw == (0.5, 0.5, 0.5, 1, 0.5, 0.5, 0.5)


def motion(generator: torch.Generator, degrees: torch.Tensor) -> Motion:
    """degrees (B, 3): pitch, yaw, roll."""
    B = len(degrees)
    return Motion(
        rotation=rotation_from_euler(*degrees.unbind(1)),
        translation=0.1 * torch.randn(B, 3, generator=generator),
        expression=0.1 * torch.randn(B, 5, 3, generator=generator),
        scale=torch.ones(B, 1),
    )


def test_motion_errors_in_closed_form():
    generator = torch.Generator().manual_seed(0)
    degrees = 60 * torch.rand(4, 3, generator=generator) - 30
    known = motion(generator, degrees)
    off = torch.tensor([1.0, -2.0, 3.0])
    found = replace(
        known, rotation=rotation_from_euler(*(degrees + off).unbind(1)), expression=1.25 * known.expression
    )
    canonical = torch.rand(1, 5, 3, generator=generator) - 0.5

    def reading(motion: Motion) -> Reading:
        keypoints = keypoints_of(canonical, motion[:1])
        empty = torch.empty(1, 1, 1, 1, 1)
        return Reading(Source(empty, empty, canonical, None, motion[:1], keypoints), motion[1:], None)

    errors = MotionErrors(voxels=16)
    errors.add(reading(found), reading(known))
    mean = errors.mean()
    assert (mean.pitch, mean.yaw, mean.roll) == pytest.approx((1, 2, 3), abs=1e-3)
    assert mean.expression == pytest.approx(0.25)
    points = [keypoints_of(canonical, m).double().numpy()[..., :2] for m in (found, known)]
    expected = 15 / 16 * np.linalg.norm(points[0] - points[1], axis=-1).mean()
    assert mean.keypoints == pytest.approx(expected, rel=1e-5)


def test_held_out_heads_are_no_heads_of_training(scenes):
    again = HeldOut(size=32, identities=5, frames=4, pairs=1, driven=2)[1]
    assert torch.equal(again.frames, scenes[1].frames), "however many there are"
    other = HeldOut(size=32, identities=2, frames=4, seed=1, pairs=0)[1]
    assert not torch.equal(other.frames[0], scenes[1].frames[0])
    assert other.driver is None
    trained = SyntheticHeads(32, 4, seed=0).identity(2)
    assert not torch.equal(trained.skin, HEADS.cast(1).who.skin)
    assert HELD_OUT > 2**16, "seeds that people choose are smaller"
    scene = scenes[0]
    assert torch.equal(scene.answers.views[4], scene.frames[0]), "at yaw 0 it is the source"
    own, anchor = (truth.source for truth in (scene.truth, scene.driver_truth))
    assert torch.equal(own.rotation, anchor.rotation)
    assert torch.equal(own.translation, anchor.translation)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batches_show_the_same(scenes, batch_size):
    """What a performer shows is what its reenactor renders."""
    reenactor = lively(Reenactor(TINY_HEADS, weights="random"))
    performer = Performer(reenactor, batch_size)
    reading = performer.read(scenes[0])
    shown = performer.show(reading)
    source = reenactor.encode(scenes[0].frames[:1])
    driver = reenactor.extract([scenes[0].driver])
    expected = reenactor.render(source, driver[1:], driver[:1])
    torch.testing.assert_close(shown.relative, expected, rtol=0, atol=1e-5)
    assert not torch.equal(shown.relative, shown.absolute), "the test would see no anchor"
    assert len(joined([reading.source.motion, reading.driving])) == len(scenes[0].frames)


def test_keypoints_of_another_kind_have_no_errors(scenes):
    """Five keypoints are not the renderer's 22 landmarks."""
    results = evaluate(Reenactor(TINY, weights="random"), scenes[:1]).results
    assert results.motion is None
    assert results.true_keypoints is None
    assert results.model.yaw_check is not None


def test_the_command_writes_a_whole_report(fv2v, weights, tmp_path):
    output, sheet = tmp_path / "results.json", tmp_path / "sheet.png"
    options = ("--identities", 1, "--frames", 3, "--seed", 5, "--rows", 1)
    code, out, err = fv2v("evaluate", "-w", weights, *options, "-o", output, "--sheet", sheet)
    assert (code, err) == (0, "")
    for words in ("same identity", "free view", "cross identity, relative", "yaw check", "keypoint error"):
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
    assert results["motion"].keys() == {"yaw", "pitch", "roll", "keypoints", "expression"}
    # six rows of eight pictures of 96 px, each under its caption
    assert read_image(sheet).shape == (8 + 6 * (16 + 96), 8 * 96, 3)


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


def test_clips_with_networks_that_judge(fv2v, weights, videos, tmp_path):
    exported(Colours(), tmp_path / "colours.pt2")
    exported(Corners(), tmp_path / "corners.pt2")
    judges = [f"--{name}" for name in ("features", "embedding", "landmarks")]
    files = [tmp_path / f"{name}.pt2" for name in ("colours", "colours", "corners")]
    options = [part for pair in zip(judges, files, strict=True) for part in pair]
    output = tmp_path / "results.json"
    code, out, _ = fv2v("evaluate", videos, "-w", weights, "--frames", 4, "-o", output, *options)
    assert code == 0
    assert all(words in out for words in ("FID", "AKD", "CSIM"))
    report = json.loads(output.read_text())
    assert report["setting"]["scenes"] == 2
    assert report["setting"]["seed"] is None
    assert len(report["setting"]["judges"]["landmarks"]["sha256"]) == 64
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


def test_a_clip_is_driven_by_another(videos):
    first, second = Clips(videos, 32, frames=3)
    assert first.frames.shape == (3, 3, 32, 32)
    assert first.driver.shape == (5, 3, 32, 32)
    assert torch.equal(first.driver[0], second.frames[0])
    assert torch.equal(first.answers.driven, first.frames[1:])
    assert first.answers.cross is None
    alone = list(Clips(videos, 32, limit=1))
    assert len(alone) == 1


def test_one_clip_has_no_other_face(videos, tmp_path):
    (tmp_path / "a.mp4").write_bytes((videos / "a.mp4").read_bytes())
    (scene,) = Clips(tmp_path, 32, frames=3)
    assert scene.driver is None
    results = evaluate(lively(Reenactor(TINY, weights="random")), [scene]).results
    assert results.model.cross_absolute is None
    assert results.model.same_identity.pictures == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--identities", 0), "expected identities >= 1"),
        (("--frames", 1), "frames >= 2, a source and one that drives; got 64, 4 and 1"),
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
    assert "expected a program of torch.export (.pt2)" in err
    code, _, err = fv2v("evaluate")
    assert code == 2
    assert "no weights given" in err


def test_models_and_scenes_that_do_not_fit(scenes):
    with pytest.raises(ValueError, match="expected a model that pictures drive, got 'tiny-sadtalker'"):
        evaluate(Reenactor(TINY_SADTALKER, weights="random"), scenes)
    reenactor = Reenactor(TINY, weights="random")
    with pytest.raises(ValueError, match="expected scenes to evaluate, got none"):
        evaluate(reenactor, [])
    large = replace(scenes[0], frames=torch.zeros(2, 3, 64, 64))
    with pytest.raises(ValueError, match=r"expected frames \(T, 3, 32, 32\), as large as what the model"):
        evaluate(reenactor, [large])
