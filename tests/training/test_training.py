# SPDX-License-Identifier: Apache-2.0
"""One step of training: whose gradients they are, what they change, and what is averaged."""

from dataclasses import replace

import pytest
import torch
from runs import CPU, LOSSES, PIXELS, gradients, gradients_of, learner, pairs, truth
from tiny import SEEING, TINY, TINY_2D, TINY_DIRECT, TINY_FOMM, TINY_LIVEPORTRAIT, TINY_PERFORMRECAST

from fv2v import checkpoints
from fv2v.data.pairs import Pairs
from fv2v.geometry import keypoints_of
from fv2v.losses import LossConfig, focus_on, reconstruction
from fv2v.networks import FaceVid2Vid
from fv2v.networks.spade import SpectralConv2d
from fv2v.training.config import OptimiserConfig
from fv2v.training.learner import NotFinite
from fv2v.training.objective import place_absolutely
from fv2v.training.randomness import StepRandomness
from fv2v.training.spectral import plain_weights

TRAINED = tuple(config for config in SEEING if config != TINY_PERFORMRECAST)


@pytest.mark.parametrize("config", TRAINED, ids=lambda config: config.name)
def test_every_kind_of_model_learns(config):
    """All parameters that are to learn move, with all losses of the paper's that need no other network."""
    learning = learner(model=config, average=0.0)
    before = {name: each.clone() for name, each in learning.model.named_parameters()}
    result = learning.step(0, [pairs(2, config.output_size)])
    assert not result.stopped
    jacobians = {"equivariance_jacobians"} if config.jacobian else set()
    terms = {
        "gan",
        "feature_matching",
        "equivariance",
        "keypoint_prior",
        "deformation_prior",
        "reconstruction",
    }
    logged = {"loss", "discriminator", "gradient", "discriminator_gradient"}
    assert result.values.keys() == terms | jacobians | logged
    weighted = sum(getattr(LOSSES, name) * result.values[name] for name in terms | jacobians)
    assert result.values["loss"] == pytest.approx(weighted, rel=1e-5)
    still = {name for name, each in learning.model.named_parameters() if torch.equal(each, before[name])}
    if config == TINY_LIVEPORTRAIT:
        assert {name.partition(".")[0] for name in still} == {"retargeting"}
    else:
        # a convolution's bias before a norm does nothing, and some rows of bins may be too quiet
        assert not [name for name in still if not name.endswith("bias")]


def test_the_discriminators_step_leaves_the_models_gradients_alone():
    step = gradients(learner(), [pairs(2)])
    alone = learner()
    randomness = StepRandomness.of_step(0, 0, 2, 0.0, CPU.device, torch.float32)
    batch = pairs(2).scaled(CPU.device)
    terms, output = alone.objective(batch, randomness)
    terms.total(LOSSES).backward()
    own = gradients_of(each for each in alone.model.parameters())
    order = torch.cat([each.flatten() for each in alone.model.parameters()])
    assert order.numel() == step["model"].numel()
    assert torch.equal(own, step["model"])
    alone.discriminator.zero_grad()
    alone.discriminator_objective(batch.driving, output.detach()).backward()
    assert torch.equal(gradients_of(alone.discriminator.parameters()), step["discriminator"])


def test_parts_add_up_to_their_batch():
    """Without batch norms, which see a part alone, and spectral norms, which are refined in each."""
    whole, found = pairs(4), []
    for parts in (1, 4):
        learning = learner(
            dtype=torch.float64,
            losses=replace(LOSSES, gan=0, feature_matching=0),
            accumulate=parts,
            spectral_norm=False,
        )
        for module in learning.model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()
        size = 4 // parts
        rows = [slice(i * size, (i + 1) * size) for i in range(parts)]
        found.append(gradients(learning, [Pairs(whole.source[row], whole.driving[row]) for row in rows]))
    torch.testing.assert_close(found[1]["model"], found[0]["model"], rtol=1e-8, atol=1e-10)
    assert found[1]["values"] == pytest.approx(found[0]["values"], rel=1e-9)


def test_the_average_is_its_formula():
    learning = learner(average=0.6)
    names = learning.average.model.state_dict().keys()
    expected = {name: each.clone() for name, each in learning.average.model.state_dict().items()}
    for step in range(4):
        learning.step(step, [pairs(2, seed=step)])
        d = min(0.6, (2 + step) / (11 + step))
        for name, weight in plain_weights(learning.model, names).items():
            mean = weight.is_floating_point() and not name.endswith("reduce.weight")
            expected[name] = d * expected[name] + (1 - d) * weight if mean else weight
    for name, each in learning.average.model.state_dict().items():
        torch.testing.assert_close(each, expected[name], msg=name)


def test_spectral_norms_are_in_what_is_given_out():
    learning = learner(average=0.0)
    normed = [module for module in learning.model.generator.modules() if type(module) is SpectralConv2d]
    assert len(normed) == sum(type(m) is torch.nn.Conv2d for m in learning.average.model.generator.modules())
    for step in range(3):
        learning.step(step, [pairs(2)])
    given, trained = learning.average.model.generator.mix, learning.model.generator.mix
    torch.testing.assert_close(given.weight, trained.quotient())
    largest = torch.linalg.matrix_norm(given.weight.flatten(1), ord=2)
    assert 0.9 < float(largest) < 1.2
    assert not torch.allclose(given.weight, trained.weight)


def test_a_pair_is_learnt():
    learning = learner(losses=PIXELS, optimiser=OptimiserConfig(lr=3e-3), spectral_norm=False)
    values = [learning.step(step, [pairs(1)]).values["reconstruction"] for step in range(12)]
    assert values[-1] < 0.75 * values[0]


def test_what_is_frozen_does_not_learn_yet():
    adam = OptimiserConfig(rates={"head": 0}, frozen={"dense_motion": 0.5, "generator.decoder": 0.75})
    learning = learner(optimiser=adam, average=0.0)
    assert learning.steps == 4
    moved = []
    before = learning.model.state_dict()
    names = ("head.trunk.stem.0", "dense_motion.mask", "generator.decoder.final", "generator.mix")
    for step in range(4):
        before = {name: learning.model.get_parameter(f"{name}.weight").clone() for name in names}
        learning.step(step, [pairs(2)])
        moved.append(
            tuple(
                not torch.equal(learning.model.get_parameter(f"{name}.weight"), before[name])
                for name in names
            )
        )
    assert moved == [
        (False, False, False, True),
        (False, False, False, True),
        (False, True, False, True),
        (False, True, True, True),
    ]


@pytest.mark.parametrize(
    ("parameter", "finite"),
    [
        ("generator.decoder.final", {"equivariance", "keypoint_prior"}),
        ("head.expression", {"true_canonical"}),
    ],
)
def test_what_is_not_finite_is_named(parameter, finite):
    learning = learner(losses=replace(LOSSES, true_canonical=1.0))
    batch = replace(pairs(2), truth=truth(2))
    named = learning.step(0, [batch]).values.keys()
    torch.nn.init.constant_(learning.model.get_parameter(f"{parameter}.bias"), torch.nan)
    before = learning.model.get_parameter("generator.mix.weight").clone()
    with pytest.raises(NotFinite, match=r"^step 2: not a finite number: loss, gan, ") as raised:
        learning.step(1, [batch])
    said = set(str(raised.value).rpartition(": ")[2].split(", "))
    assert said <= named
    assert {"loss", "gan", "reconstruction", "gradient"} <= said
    assert not said & finite
    assert torch.equal(learning.model.get_parameter("generator.mix.weight"), before)


def test_true_keypoints_move_those_they_should():
    """A forced pair is rendered as if L, H and Δ had found the truth; the others do not change."""
    known = truth(2)
    learning = learner(losses=PIXELS)
    batch = Pairs(*(pairs(2).scaled(CPU.device).source.split(2) * 2), known)
    warp = StepRandomness.of_step(0, 0, 2, 0.0, CPU.device, torch.float32).warp
    model = learning.model.eval()

    def outputs(forced):
        return learning.objective(batch, StepRandomness(warp, forced)).output

    with torch.no_grad():
        plain, mixed, all_true = (
            outputs(None),
            outputs(torch.tensor([True, False])),
            outputs(torch.ones(2, dtype=torch.bool)),
        )
        there = known.on_lattice(16)
        source = replace(model.encode(batch.source), canonical=there.canonical, motion=there.source)
        source = replace(source, keypoints=keypoints_of(there.canonical, there.source))
        expected = model.render(source, place_absolutely(source, there.driving, model))
    torch.testing.assert_close(all_true, expected)
    torch.testing.assert_close(mixed, torch.stack([all_true[0], plain[1]]))
    assert not torch.allclose(all_true[1], plain[1], atol=1e-6)


def test_truths_are_learnt():
    weights = replace(
        PIXELS,
        reconstruction=0.0,
        true_canonical=1,
        true_rotation=1,
        true_translation=1,
        true_expression=1,
        head_pose=0.1,
    )
    learning = learner(losses=weights, optimiser=OptimiserConfig(lr=3e-3), expression_weights=(1, 1, 1, 2, 2))
    batch = replace(pairs(2), truth=truth(2))
    values = [learning.step(step, [batch]).values for step in range(12)]
    assert {"true_canonical", "true_rotation", "true_translation", "true_expression", "head_pose"} <= values[
        0
    ].keys()
    assert values[-1]["loss"] < 0.8 * values[0]["loss"]


def states(learning, names):
    """Parameters and statistics of some networks, as one learning step left them."""
    return {
        name: each.clone()
        for name, each in learning.model.state_dict().items()
        if name.partition(".")[0] in names
    }


@pytest.mark.parametrize(
    ("losses", "teacher", "still", "term"),
    [
        ({"true_expression": 1.0}, 0.0, {"appearance", "dense_motion", "generator"}, "true_expression"),
        ({"reconstruction": 1.0}, 1.0, {"head", "canonical"}, "reconstruction"),
    ],
    ids=["no picture", "true keypoints alone"],
)
def test_what_no_loss_reaches_stays_as_it_is(losses, teacher, still, term):
    weights = replace(PIXELS, **{"reconstruction": 0.0} | losses)
    learning = learner(losses=weights, teacher=(teacher, teacher), spectral_norm=teacher == 0, average=0.0)
    others = {"appearance", "canonical", "dense_motion", "generator", "head"} - still - {"canonical"}
    before, moving = states(learning, still), states(learning, others)
    values = learning.step(0, [replace(pairs(2), truth=truth(2))]).values
    assert values.keys() == {"loss", "gradient", term}
    for name, each in states(learning, still).items():
        assert torch.equal(each, before[name]), name
    assert not all(torch.equal(each, moving[name]) for name, each in states(learning, others).items())
    randomness = StepRandomness.of_step(0, 0, 2, teacher, CPU.device, torch.float32)
    output = learning.objective(replace(pairs(2).scaled(CPU.device), truth=truth(2)), randomness).output
    assert (output is None) == (term != "reconstruction")


@pytest.mark.parametrize("model", [TINY, TINY_LIVEPORTRAIT], ids=["Jacobians", "no Jacobians"])
def test_a_loss_of_jacobians_reaches_heads_that_have_them(model):
    losses = replace(PIXELS, equivariance_jacobians=20.0)
    learning = learner(model=model, losses=losses, teacher=(1.0, 1.0))
    learns = {
        name.partition(".")[0] for name, each in learning.model.named_parameters() if each.requires_grad
    }
    assert learns == {"appearance", "dense_motion", "generator"} | (
        {"head", "canonical"} if model.jacobian else set()
    )


def test_fixed_norms_show_in_training_what_is_given_out(tmp_path):
    """Statistics stay, weights move, and the loss is of the picture that evaluation makes."""
    weights = tmp_path / "weights.safetensors"
    checkpoints.save(FaceVid2Vid(TINY), weights)
    learning = learner(losses=PIXELS, spectral_norm=False, weights=weights, fixed_norms=True, average=0.0)
    model, batch = learning.average.model, pairs(2)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    with torch.no_grad():
        source, driving = batch.source.float() / 255, batch.driving.float() / 255
        expected = reconstruction(model(source, driving), driving)
    values = learning.step(0, [batch]).values
    assert values["reconstruction"] == pytest.approx(float(expected), rel=1e-5)
    for name, each in learning.model.state_dict().items():
        statistic = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(each, before[name]) or not statistic, name
    assert not torch.equal(learning.model.generator.mix.weight, before["generator.mix.weight"])


def test_norms_are_fixed_for_the_rest_of_a_run():
    """Of the networks that make pictures; H and L go on."""
    learning = learner(losses=PIXELS, norms_until=0.5)  # of 4 steps
    moved = []
    for step in range(4):
        before = {name: each.clone() for name, each in learning.model.named_buffers() if "running" in name}
        learning.step(step, [pairs(2)])
        changed = [name for name in before if not torch.equal(learning.model.get_buffer(name), before[name])]
        moved.append({name.partition(".")[0] for name in changed})
    motion, pictures = {"canonical", "head"}, {"appearance", "dense_motion", "generator"}
    assert moved == [motion | pictures] * 2 + [motion] * 2


@pytest.mark.parametrize("config", [TINY, TINY_DIRECT, TINY_FOMM, TINY_2D], ids=lambda config: config.name)
def test_keypoints_are_learnt_where_pictures_have_them(config):
    """With a pose and without; some of the data's landmarks alone."""
    chosen = (5, 1, 0, 3, 6)
    losses = LossConfig(**dict.fromkeys(LossConfig.__slots__, 0.0) | {"true_keypoints": 2.0})
    learning = learner(model=config, losses=losses, landmarks=chosen, optimiser=OptimiserConfig(lr=3e-3))
    known = truth(2, 7)
    batch = replace(pairs(2), truth=known)
    model = learning.model.eval()
    with torch.no_grad():
        randomness = StepRandomness.of_step(0, 0, 2, 0.0, CPU.device, torch.float32)
        terms = learning.objective(batch.scaled(CPU.device), randomness).terms
        found, there = [], known.on_lattice(16)
        own = model.look(batch.source / 255)
        for motion in (own[0], model.extract(batch.driving / 255)):
            found.append(keypoints_of(own[1].keypoints, motion, config.geometry))
        true = [
            keypoints_of(there.canonical, each)[:, list(chosen)] for each in (there.source, there.driving)
        ]
    axes = 2 if config == TINY_FOMM else 3
    expected = (torch.stack(found) - torch.stack(true))[..., :axes].abs().mean()
    torch.testing.assert_close(terms.true_keypoints, expected)
    values = [learning.step(step, [batch]).values["true_keypoints"] for step in range(20)]
    assert values[-1] < 0.8 * values[0]


def test_pixels_near_true_keypoints_count_more():
    """The focus is where the driving frame has its landmarks, in picture coordinates."""
    batch = replace(pairs(2).scaled(CPU.device), truth=truth(2))
    randomness = StepRandomness.of_step(0, 0, 2, 0.0, CPU.device, torch.float32)
    learning = learner(losses=PIXELS, focus=(0, 0, 3, 0, 1))
    learning.model.eval()
    with torch.no_grad():
        terms, output = learning.objective(batch, randomness)
    points = keypoints_of(batch.truth.canonical, batch.truth.driving)[..., :2]
    focus = focus_on(points, torch.tensor([0, 0, 3.0, 0, 1]), 32)
    expected = reconstruction(output, batch.driving, focus=focus)
    torch.testing.assert_close(terms.reconstruction, expected)
    assert abs(float(expected / reconstruction(output, batch.driving)) - 1) > 1e-4


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision(precision):
    """Weights stay float32, losses near float32's; float16's infinite gradients are no NaN."""
    exact = learner().step(0, [pairs(2)]).values
    learning = learner(precision=precision)
    steps = 3 if precision == "bfloat16" else 1  # a CPU is slow in the other
    values = [learning.step(step, [pairs(2)]).values for step in range(steps)]
    assert values[0]["reconstruction"] == pytest.approx(exact["reconstruction"], rel=0.02)
    assert all(each.dtype == torch.float32 for each in learning.model.parameters())
    assert all(bool(torch.isfinite(each).all()) for each in learning.model.parameters())
    assert learning.scalers[0].is_enabled() == (precision == "float16")
