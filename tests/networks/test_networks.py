# SPDX-License-Identifier: Apache-2.0
"""The networks' sizes, keys and gradients. What they compute is in test_parity.py."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from release_weights import CONFIGS, anti_alias_kernel, as_stored, entries, in_our_shapes, key_shapes
from tiny import TINIES, TINY, TINY_SADTALKER, TINY_VOX

from fv2v import networks
from fv2v.checkpoints.renames import to_ours, to_release
from fv2v.config import ModelConfig
from fv2v.engine.frame import FrameKind
from fv2v.geometry import place
from fv2v.networks import CanonicalKeypoints, FaceVid2Vid
from fv2v.networks.canonical import AntiAliasedStride
from fv2v.networks.head import BinnedAngle
from fv2v.networks.spade import SpectralConv2d
from fv2v.networks.trunks import CoefficientTrunk
from fv2v.presets import PRESETS, preset
from fv2v.reenactor.options import AnimationOptions

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
    assert shapes_of(model.state_dict()) == shapes_of(in_our_shapes(module, theirs))
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == sum(entry["_n_params"] for entry in entries(release).values())
    back = to_release(theirs, module.renames(config))
    assert {name: shapes_of(network) for name, network in back.items()} == {
        name: shapes_of(network) for name, network in stored.items()
    }


def shapes_of(tensors):
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def test_no_module_is_written_twice():
    kinds = [
        name
        for file in Path(networks.__file__).parent.glob("*.py")
        for name in re.findall(r"^class (\w+)\(nn\.\w+\)", file.read_text(), re.M)
    ]
    assert len(kinds) == len(set(kinds))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", PRESETS)
def test_models_without_memory_warn_of_nothing(name):
    """As `fv2v info` makes them, to count what they hold."""
    with torch.device("meta"):
        assert all(parameter.is_meta for parameter in FaceVid2Vid(preset(name)).parameters())


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


def seen(config: ModelConfig, frames: int) -> torch.Tensor:
    """What H reads of some frames: pictures, or windows of coefficients."""
    head, n = config.head, config.image_size
    return torch.rand((frames, head.inputs, head.window) if head.window else (frames, 3, n, n))


def own_window(config: ModelConfig, portraits: int) -> torch.Tensor | None:
    return seen(config, portraits) if config.head.window else None


@ALL_TINIES
def test_gradients_reach_every_parameter(config):
    torch.manual_seed(0)
    model = FaceVid2Vid(config)
    source = torch.rand(2, 3, config.portrait_size, config.portrait_size)
    image = model(source, seen(config, 2), own_window(config, 2))
    assert image.shape == (2, 3, config.output_size, config.output_size)
    loss = image.square().mean()
    if config.jacobian and config.geometry.transfer == "pose":
        # R_s R_d⁻¹ needs no Jacobian; only the equivariance loss sees the head
        loss = loss + model.canonical(source).jacobians.square().mean()
    loss.backward()
    # LivePortrait's small networks are trained after the others
    parameters = {name: p for name, p in model.named_parameters() if not name.startswith("retargeting.")}
    missing = [name for name, p in parameters.items() if p.grad is None]
    assert not missing
    broken = [name for name, p in parameters.items() if not p.grad.isfinite().all()]
    assert not broken
    networks = {name.partition(".")[0] for name, p in parameters.items() if p.grad.abs().max() > 0}
    keypoints = {"canonical"} if config.canonical else set()
    assert networks == {"appearance", "head", "dense_motion", "generator"} | keypoints


@ALL_TINIES
def test_one_source_serves_many_frames(config):
    model = FaceVid2Vid(config).eval()
    with torch.inference_mode():
        source = model.encode(torch.rand(1, 3, *2 * (config.portrait_size,)), own_window(config, 1))
        motion = model.extract(seen(config, 3))
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
    with pytest.raises(ValueError, match=r"one of face-vid2vid-256, .*, starter; got 'vox'"):
        preset("vox")


def test_motion_is_relative_where_the_release_has_it_so():
    """The demos of First Order Motion, zhanglonghao1992 and SadTalker take the driver's pose.

    PerformRecast's takes its expression; LivePortrait's change, and ours.
    """
    releases = ("vox-256", "sadtalker", "performrecast", "fomm")
    absolute = [name for name in PRESETS if name.startswith(releases)]
    for name, config in PRESETS.items():
        assert config.geometry.relative == (name not in absolute), name
        assert AnimationOptions().check(config).relative == (name not in absolute)
        assert FrameKind().check(config).relative == (name not in absolute)
    asked = AnimationOptions(relative=True, adapt_scale=True).check(PRESETS["vox-256"])  # its documented line
    assert (asked.relative, asked.adapt_scale) == (True, True)
    with pytest.raises(ValueError, match=r"got relative=False, 'vox-256' .*: expected relative=True, --rel"):
        AnimationOptions(adapt_scale=True).check(PRESETS["vox-256"])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"image_size": 36}, "image_size a multiple of 8"),
        ({"keypoints": 0}, "keypoints from 1 to 65536, got 0"),
        ({"geometry": {}}, "fields"),
        ({"resize": "bicubic"}, "resize one of .* got 'bicubic'"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        ModelConfig.from_dict(TINY_VOX.as_dict() | wrong)


@pytest.mark.parametrize(("blocks", "frames"), [(1, 15), (2, 21), (3, 27)])
def test_a_window_leaves_three_frames_to_average(blocks, frames):
    head = replace(TINY_SADTALKER.head, blocks=(blocks,))
    assert head.window == frames
    coefficients = CoefficientTrunk(head)
    sizes = [frames]
    for conv in (coefficients.first, *coefficients.residual):
        conv.register_forward_hook(lambda _, __, output: sizes.append(output.shape[2]))
    assert coefficients(torch.rand(2, 70, frames)).shape == (2, 32)
    assert sizes == list(range(frames, 0, -6))
    assert sizes[-1] == 3


def test_untrained_spectral_norms_are_near_the_true_ones():
    """So that what is divided by them is neither huge nor lost."""
    torch.manual_seed(0)
    for size in ((4, 4, 1), (32, 16, 3), (256, 256, 3)):
        conv = SpectralConv2d(*size).eval()
        norm = torch.linalg.matrix_norm(conv.divided.flatten(1), ord=2)
        assert 1 <= norm < 2, size
