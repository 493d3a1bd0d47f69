"""The networks' sizes, keys and gradients. What they compute is in test_parity.py."""

import math

import pytest
import torch
from release_weights import CONFIGS, anti_alias_kernel, as_stored, entries, key_shapes
from tiny import TINIES, TINY, TINY_VOX

from fv2v.checkpoints.renames import to_ours, to_release
from fv2v.config import PRESETS, ModelConfig, preset
from fv2v.geometry import place
from fv2v.networks import CanonicalKeypoints, FaceVid2Vid
from fv2v.networks.canonical import AntiAliasedStride
from fv2v.networks.head import BinnedAngle

ALL_TINIES = pytest.mark.parametrize("config", TINIES, ids=lambda config: config.name)


@pytest.mark.parametrize("release", CONFIGS)
def test_keys_and_parameters_are_the_releases(release):
    config, module = CONFIGS[release]
    with torch.device("meta"):
        model = FaceVid2Vid(config)
        networks = {
            network: {key: torch.empty(shape) for key, shape in shapes.items()}
            for network, shapes in key_shapes(release).items()
        }
    stored = as_stored(release, networks)
    theirs = to_ours(stored, module.renames(config))
    assert shapes_of(model.state_dict()) == shapes_of(theirs)
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == sum(entry["_n_params"] for entry in entries(release).values())
    back = to_release(theirs, module.renames(config))
    assert {name: shapes_of(network) for name, network in back.items()} == {
        name: shapes_of(network) for name, network in stored.items()
    }


def shapes_of(tensors):
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def test_the_papers_sizes():
    with torch.device("meta"):
        model = FaceVid2Vid(preset("face-vid2vid-256"))
        image = torch.empty(1, 3, 256, 256)
        source = model.eval().encode(image)
    assert source.features.shape == (1, 32, 16, 64, 64)
    assert source.canonical.shape == (1, 20, 3)
    assert source.jacobians.shape == (1, 20, 3, 3)
    assert model.dense_motion.hourglass.out_channels == 137
    assert model.canonical.heatmap.kernel_size == (7, 7, 7)


@ALL_TINIES
def test_gradients_reach_every_parameter(config):
    torch.manual_seed(0)
    model = FaceVid2Vid(config)
    source, driving = torch.rand(2, 2, 3, config.image_size, config.image_size)
    image = model(source, driving)
    assert image.shape == source.shape
    loss = image.square().mean()
    if config.canonical.jacobian and config.geometry.transfer == "pose":
        # R_s R_d⁻¹ needs no Jacobian; only the equivariance loss sees the head
        loss = loss + model.canonical(source).jacobians.square().mean()
    loss.backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert not missing
    broken = [name for name, p in model.named_parameters() if not p.grad.isfinite().all()]
    assert not broken
    networks = {name.partition(".")[0] for name, p in model.named_parameters() if p.grad.abs().max() > 0}
    assert networks == {"appearance", "canonical", "head", "dense_motion", "generator"}


@ALL_TINIES
def test_one_source_serves_many_frames(config):
    model = FaceVid2Vid(config).eval()
    with torch.inference_mode():
        source = model.encode(torch.rand(1, 3, 32, 32))
        motion = model.extract(torch.rand(3, 3, 32, 32))
        together = model.render(source, place(source, motion, geometry=config.geometry))
        for i in range(3):
            placed = place(source, motion[i : i + 1], geometry=config.geometry)
            torch.testing.assert_close(together[i : i + 1], model.render(source, placed))


def test_jacobians_start_as_the_identity():
    canonical = CanonicalKeypoints(TINY, TINY.canonical).eval()
    jacobians = canonical(torch.rand(2, 3, 32, 32)).jacobians
    torch.testing.assert_close(jacobians, torch.eye(3).expand(2, TINY.keypoints, 3, 3))


def test_angles_are_expected_bins():
    angle = BinnedAngle(TINY.head)
    torch.nn.init.zeros_(angle.bins.weight)
    with torch.no_grad():
        angle.bins.bias.copy_(torch.full((66,), -math.inf).index_fill(0, torch.tensor([40, 42]), 0.0))
    torch.testing.assert_close(angle(torch.rand(2, 32)), torch.full((2,), 3.0 * 41 - 99))


def test_anti_aliasing_is_the_releases():
    torch.testing.assert_close(AntiAliasedStride(4).weight, torch.from_numpy(anti_alias_kernel()))


def test_presets_survive_json_and_tell_their_names():
    for name, config in PRESETS.items():
        assert config.name == name
        assert ModelConfig.from_dict(config.as_dict()) == config
    with pytest.raises(ValueError, match=r"one of face-vid2vid-256, .*, liveportrait; got 'vox'"):
        preset("vox")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"image_size": 36}, "image_size a multiple of 8"),
        ({"keypoints": 0}, "keypoints >= 1, got 0"),
        ({"geometry": {}}, "fields"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        ModelConfig.from_dict(TINY_VOX.as_dict() | wrong)
