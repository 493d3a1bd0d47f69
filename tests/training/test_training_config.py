# SPDX-License-Identifier: Apache-2.0
"""What a run is given: TOML, `--set`, and the paper where neither says anything."""

from dataclasses import asdict, fields, replace
from pathlib import Path

import clips
import numpy as np
import pytest
import torch
from refusals import assert_refused

from fv2v.config import DiscriminatorConfig
from fv2v.data.augment import AugmentConfig
from fv2v.losses import LossConfig
from fv2v.networks import FaceVid2Vid
from fv2v.presets import FACE_VID2VID_256, FACE_VID2VID_512, PRESETS
from fv2v.training.build import check_size, starting_model
from fv2v.training.config import EXAMPLES, OptimiserConfig, TrainConfig, read_config
from fv2v.training.objective import Terms

PLACES = ("data=clips", "output=runs/one")
NOTHING = "# the paper"


@pytest.fixture
def read(tmp_path):
    """read(text, *assignments) -> TrainConfig."""

    def run(text: str, *assignments: str) -> TrainConfig:
        path = tmp_path / "run.toml"
        path.write_text(text)
        return read_config(path, [*PLACES, *assignments])

    return run


def test_the_defaults_are_the_papers(read):
    config = read(NOTHING)
    assert config == TrainConfig(data=Path("clips"), output=Path("runs/one"))
    assert starting_model(config).config == FACE_VID2VID_256
    adam = config.optimiser
    assert (adam.lr, adam.betas, adam.schedule, adam.warmup, adam.clip) == (
        2e-4,
        (0.5, 0.999),
        "constant",
        0,
        None,
    )
    assert [adam.rate(step, 100, "generator") for step in (0, 50, 99)] == [2e-4] * 3
    assert config.epochs == 100
    assert config.losses == LossConfig()
    weights = ("perceptual", "gan", "equivariance", "keypoint_prior", "head_pose", "deformation_prior")
    assert [getattr(config.losses, name) for name in weights] == [10, 1, 20, 10, 20, 5]
    assert config.discriminator == DiscriminatorConfig(widths=(64, 128, 256, 512), scales=1)
    assert Terms._fields == tuple(f.name for f in fields(LossConfig))


def test_a_table_changes_what_it_names(read):
    config = read(
        """
        steps = 10
        optimiser.lr = 1
        weights = "older.safetensors"
        [model]
        preset = "vox-256"
        keypoints = 10
        dense_motion.widths = [32, 64]
        [optimiser.rates]
        dense_motion = 0.3
        generator.decoder = 2
        [augment]
        hue = 0
        """
    )
    vox = PRESETS["vox-256"]
    assert config.model == replace(vox, keypoints=10, dense_motion=replace(vox.dense_motion, widths=(32, 64)))
    assert config.optimiser == OptimiserConfig(lr=1.0, rates={"dense_motion": 0.3, "generator.decoder": 2.0})
    assert config.augment == AugmentConfig(hue=0.0)
    assert config.weights == Path("older.safetensors")


def test_assignments_replace_what_the_file_says(read):
    text = "vgg = 'vgg.pth'\n[losses]\ngan = 3\nperceptual = 4\n[augment]\n"
    sets = ("losses.gan=0", "model.image_size=128", "vgg=none", "augment=none", "optimiser.betas=[0.9, 0.99]")
    config = read(text, *sets, "output=a b/c", "optimiser.rates.generator.decoder=2")
    assert config.losses == LossConfig(gan=0.0, perceptual=4.0)
    assert config.model == replace(FACE_VID2VID_256, image_size=128)
    assert (config.vgg, config.augment, config.output) == (None, None, Path("a b/c"))
    assert config.optimiser == OptimiserConfig(betas=(0.9, 0.99), rates={"generator.decoder": 2.0})


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("losses.gann=1", "unknown name losses.gann: expected one of perceptual, gan, "),
        ("stps=1", "unknown name stps: expected one of data, output, model, "),
        ("model.head.width=[1]", "unknown name model.head.width: expected one of trunk, "),
        ("steps=many", "steps: expected an integer, got 'many'"),
        ("steps=1.5", "steps: expected an integer, got 1.5"),
        ("steps=true", "steps: expected an integer, got True"),
        ("losses.gan=true", "losses.gan: expected a number, got True"),
        ("precision=16", "precision: expected a string, got 16"),
        ("optimiser.betas=[0.5]", "optimiser.betas: expected a list of 2 values, got [0.5]"),
        ("model.head.widths=[1, 'a']", "model.head.widths[1]: expected an integer, got 'a'"),
        ("losses=3", "losses: expected a table of LossConfig's fields, got 3"),
        ("batch=none", "batch: expected an integer, got 'none'"),
        ("model.preset=vox", "expected a preset, one of face-vid2vid-256, "),
        ("model.image_size=100", "expected image_size a multiple of"),
        ("precision=float8", "expected precision one of ('float32', 'float16', 'bfloat16'), got 'float8'"),
        ("batch=0", "expected batch >= 1, got 0"),
        ("teacher=[0, 2]", "expected teacher from 0 to 1"),
        ("tail_dropout=0.8", "expected tail_dropout from 0 to 0.75"),
        ("unmoved=-1", "expected unmoved from 0 to 1"),
        ("optimiser.schedule=linear", "expected optimiser.schedule one of"),
        ("optimiser.milestones=[3]", "expected optimiser.milestones beside the schedule 'milestones'"),
        ("fresh=['generator']", "expected fresh beside weights alone"),
        ("norms_until=0", "expected norms_until above 0, to 1, got 0.0"),
        ("fixed_norms=true", "expected fixed_norms of weights, which have their statistics, got None"),
        ("steps", "expected name=value, as in losses.gan=0; got 'steps'"),
    ],
)
def test_what_does_not_fit_is_told(read, assignment, said):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are looked at below
        read(NOTHING, assignment)
    assert said in str(raised.value)


def test_what_cannot_begin_is_told(read):
    with pytest.raises(ValueError, match="prior where something starts anew"):
        read(NOTHING, "prior=true", "weights=w.safetensors")
    nothing = [f"losses.{f.name}=0" for f in fields(LossConfig)]
    with pytest.raises(ValueError, match="expected a loss that counts"):
        read(NOTHING, *nothing)


def test_a_file_may_change_another(read, tmp_path):
    (tmp_path / "below.toml").write_text(
        "steps = 7\nbatch = 3\n[model]\nkeypoints = 12\nhead.stem_width = 8\n"
    )
    config = read("base = 'below.toml'\nbatch = 5\n[model]\nhead.widths = [4, 4, 4, 4]\n", "seed=2")
    assert (config.steps, config.batch, config.seed) == (7, 5, 2)
    head = replace(FACE_VID2VID_256.head, stem_width=8, widths=(4, 4, 4, 4))
    assert config.model == replace(FACE_VID2VID_256, keypoints=12, head=head)
    assert read("base = 'overfit'\n").model.name == "overfit"
    with pytest.raises(FileNotFoundError, match=r"none: no such file, and none of the examples"):
        read("base = 'none'")
    with pytest.raises(ValueError, match=r"run\.toml: base: expected an example's name or a file's, got 3"):
        read("base = 3")
    for name, kind in (("/dev/zero", "a pipe or a device"), (".", "a folder")):
        with pytest.raises(ValueError, match=f"expected a file, got {kind}"):
            read(f"base = '{name}'")
    (tmp_path / "below.toml").write_text("base = 'run.toml'\n")
    with pytest.raises(
        ValueError, match=r"base: expected a file without a base of its own, got 'below\.toml'"
    ):
        read("base = 'below.toml'")


ABLATION = ("ours", "k15", "k10", "2d", "direct", "fomm")


def test_the_ablation_differs_in_models_alone():
    """The same data, steps and losses; as many parameters, to 5 %; the first of the same keypoints."""
    configs = [read_config(f"ablation-{name}", PLACES) for name in ABLATION]
    ours, *others = configs
    sizes = [sum(each.numel() for each in FaceVid2Vid(config.model).parameters()) for config in configs]
    for config, size in zip(others, sizes[1:], strict=True):
        assert replace(config, model=ours.model, landmarks=ours.landmarks) == ours
        assert config.landmarks == ours.landmarks[: config.model.keypoints]
        assert size == pytest.approx(sizes[0], rel=0.05), config.model.name
    assert [config.model.keypoints for config in configs] == [20, 15, 10, 20, 20, 20]
    assert [config.model.direct for config in configs] == [False] * 4 + [True] * 2
    assert [config.model.volume_depth == 1 for config in configs] == [False] * 3 + [True, False, True]


def test_what_is_needed_is_told(tmp_path):
    (tmp_path / "run.toml").write_text(NOTHING)
    with pytest.raises(ValueError, match="expected a value for data: --set data="):
        read_config(tmp_path / "run.toml")
    with pytest.raises(FileNotFoundError, match=r"no such file, and none of the examples .*paper-256"):
        read_config("paper")
    (tmp_path / "run.toml").write_text("steps = = 3")
    with pytest.raises(ValueError, match=r"run\.toml: no TOML: .*line 1"):
        read_config(tmp_path / "run.toml")


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.toml")))
def test_examples_are_read(name):
    alone = (
        "paper-256",
        "overfit",
        "starter-head",
        "starter-picture",
        *(f"ablation-{each}" for each in ABLATION),
    )
    sets = [] if name in alone else ["weights=w.safetensors"]
    config = read_config(name, [*PLACES, *sets])
    model = config.model or FACE_VID2VID_256
    check_size(model, config.size or model.image_size)
    assert config.output == Path("runs/one")


def test_the_papers_examples():
    paper = read_config("paper-256", PLACES)
    usual = TrainConfig(data=Path("clips"), output=Path("runs/one"))
    assert replace(paper, workers=usual.workers, augment=None) == usual
    large = read_config("paper-512", [*PLACES, "weights=w.safetensors"])
    assert (large.model, large.epochs, large.discriminator.scales) == (FACE_VID2VID_512, 10, 2)
    assert asdict(large.losses) == asdict(paper.losses)


def test_rates_over_a_run():
    adam = OptimiserConfig(
        lr=1.0,
        schedule="cosine",
        warmup=10,
        rates={"dense_motion": 0.5, "dense_motion.mask": 0.1},
        frozen={"dense_motion": 0.5},
    )
    assert adam.rate(0, 100) == pytest.approx(0.1)
    assert adam.rate(50, 100, "head.trunk") == pytest.approx(0.5)
    assert adam.rate(100, 100) == pytest.approx(0)
    assert adam.rate(49, 100, "dense_motion.norm.weight") == 0
    assert adam.rate(50, 100, "dense_motion.norm.weight") == pytest.approx(0.25)
    assert adam.rate(50, 100, "dense_motion.mask.weight") == pytest.approx(0.05)
    assert adam.rate(50, 100, "dense_motions") == pytest.approx(0.5)
    stairs = OptimiserConfig(lr=1.0, schedule="milestones", milestones=(10, 20))
    assert [stairs.rate(step, 100) for step in (9, 10, 20)] == pytest.approx([1, 0.1, 0.01])


@pytest.mark.parametrize("size", [0, 100, 32])
def test_a_size_that_networks_cannot_see(size):
    check_size(FACE_VID2VID_256, 128)
    with pytest.raises(ValueError, match=f"takes multiples of 128 pixels, got {size}"):
        check_size(FACE_VID2VID_256, size)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("config", "sets"),
    [
        ("paper-256", ["size=128", "batch=1"]),
        ("overfit", ["losses.perceptual=10"]),
        ("overfit", ["losses.perceptual=10", "vgg=torchvision"]),
    ],
)
def test_without_a_vgg_the_cure_is_named(fv2v, config, sets, tmp_path, monkeypatch):
    """Before the first step, in the words of the command line."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    clips.write_clip(tmp_path / "a.mp4", np.zeros((5, 64, 64, 3), np.uint8))
    names = [f"data={tmp_path}", f"output={tmp_path / 'run'}", *sets]
    result = fv2v("train", config, *(part for name in names for part in ("--set", name)))
    assert_refused(result, ", given by --set vgg=FILE; or, without one, --set losses.perceptual=0 --set loss")
    assert "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth" in result[2]
    assert "Vgg19Features" not in result[2]


def test_a_file_that_is_no_vgg_is_named(fv2v, tmp_path):
    clips.write_clip(tmp_path / "a.mp4", np.zeros((5, 64, 64, 3), np.uint8))
    torch.save([1], tmp_path / "list.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "list.pth").read_bytes()[:100])
    names = [f"data={tmp_path}", f"output={tmp_path / 'run'}", "losses.perceptual=10"]
    run = ["train", "overfit", *(part for name in names for part in ("--set", name))]
    for name, message in (
        ("absent.pth", "absent.pth: no such file"),
        ("list.pth", "list.pth: expected the state dict of torchvision's VGG-19, a file as https://"),
        ("cut.pth", "Expected the state dict of torchvision's VGG-19, a file as https://"),
    ):
        result = fv2v(*run, "--set", f"vgg={tmp_path / name}")
        assert_refused(result, message)
        assert "Vgg19Features" not in result[2]
