# SPDX-License-Identifier: Apache-2.0
"""warp_candidates: the contract, the order of channels, and warps whose value is known."""

import itertools
import math

import pytest
import torch
from accuracy import Inputs
from keypoints import AFFINES, FLAT, distance_to_kinks, make_keypoints
from op_contract import Op, OpContract
from torch import Tensor

from fv2v_kernels import keypoint_flow, warp3d, warp_candidates
from fv2v_kernels.ops.keypoint_flow import lattice

SIZES = {  # features (B or 1, C', D, H, W), B, K
    "paper": ((1, 4, 4, 16, 16), 1, 15),
    "odd": ((2, 5, 4, 7, 11), 2, 6),
    "other": ((3, 4, 6, 8, 9), 3, 7),
    "shared": ((1, 3, 2, 5, 7), 3, 2),
    "one_keypoint": ((1, 1, 2, 3, 4), 1, 1),
    "one_voxel": ((2, 2, 1, 1, 1), 2, 2),
    "thin": ((2, 9, 1, 5, 1), 2, 3),
}


def make(
    dtype: torch.dtype,
    features: tuple[int, ...],
    batch: int,
    keypoints: int,
    affine: str,
    align_corners: bool,
    variance: float = 0.01,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Inputs:
    """The first seed whose flows keep off the kinks of trilinear reading, where gradients jump."""
    enough = (
        1e-4 if math.prod(features) < 200 else 1e-5
    )  # voxels: gradcheck's step; rounding, several times over
    for seed in range(1000):
        generator = torch.Generator().manual_seed(seed)
        volume = torch.randn(features, generator=generator).to(dtype)
        points = make_keypoints(dtype, batch, keypoints, affine, generator)
        if distance_to_kinks(features[2:], *points, align_corners) > enough:
            break
    options = {"align_corners": align_corners, "variance": variance, "memory_format": memory_format}
    return Inputs((volume, *points), options)


CASES = {
    f"{name}-{affine}-{'corners' if corners else 'faces'}": {
        "features": features, "batch": B, "keypoints": K, "affine": affine, "align_corners": corners
    }
    for (name, (features, B, K)), affine, corners in itertools.product(SIZES.items(), AFFINES, (True, False))
}  # fmt: skip
CASES |= {
    f"{name}-last": {**CASES[name], "memory_format": torch.channels_last_3d}
    for name in ("odd-each-faces", "paper-none-corners", "shared-shared-faces")
}
# more voxels than a GPU's block takes on alone
CASES["parts"] = {**CASES["paper-none-corners"], "features": (1, 4, 3, 19, 37), "keypoints": 2}
CASES["odd-channels-last"] = {**CASES["parts"], "memory_format": torch.channels_last_3d}  # 15, in halves
CASES["many"] = {**CASES["paper-none-faces"], "features": (1, 4, 2, 3, 7), "keypoints": 49}
CASES["odd-wide"] = {**CASES["odd-none-faces"], "variance": 0.3}
CASES |= {
    f"flat-{'corners' if corners else 'faces'}": {
        "features": (2, 3, 1, 7, 11), "batch": 2, "keypoints": 5, "affine": FLAT, "align_corners": corners
    }
    for corners in (True, False)
}  # fmt: skip
CASES["flat-last"] = {**CASES["flat-corners"], "memory_format": torch.channels_last_3d}
TINY = {"features": (2, 2, 2, 2, 3), "batch": 2, "keypoints": 2, "variance": 0.2}


class TestWarpCandidates(OpContract):
    op = Op(
        name="warp_candidates",
        function=warp_candidates,
        make=make,
        cases=CASES,
        smooth={
            **{f"{affine}-faces": {**TINY, "affine": affine, "align_corners": False} for affine in AFFINES},
            "each-corners": {**TINY, "affine": "each", "align_corners": True},
            "flat": {**TINY, "features": (2, 2, 1, 2, 3), "affine": FLAT, "align_corners": True},
            "shared": {**TINY, "features": (1, 2, 2, 2, 3), "affine": "none", "align_corners": True},
        },
        plain="odd-each-faces",
        resized="other-each-faces",
        busy="paper-each-faces",
    )

    def candidates(self, place, *tensors, **options) -> Tensor:
        device, backend = place
        given = (None if t is None else t.to(device) for t in tensors)
        return warp_candidates(*given, **options, backend=backend).cpu()

    def test_a_slot_holds_the_gaussian_difference_then_the_features(self, place):
        """Driving minus source, 0 for the background; features read where keypoint_flow points."""
        inputs = self.op.inputs("odd-each-faces")
        features, source, driving, affine = inputs.tensors
        slots = self.candidates(place, *inputs.tensors, **inputs.options).unflatten(1, (7, 6))
        points = lattice((4, 7, 11), features)
        assert (slots[:, 0, 0] == 0).all()
        for k in range(6):
            at_driving, at_source = (
                torch.exp(-(points - kp[:, k].view(2, 1, 1, 1, 3)).square().sum(-1) / 0.02)
                for kp in (driving, source)
            )
            torch.testing.assert_close(slots[:, k + 1, 0], at_driving - at_source, atol=1e-6, rtol=1e-5)
        flows = keypoint_flow(source, driving, affine, size=(4, 7, 11), backend="reference")
        for k in range(7):
            warped = warp3d(features, flows[:, k], align_corners=False, backend="reference")
            torch.testing.assert_close(slots[:, k, 1:], warped, atol=1e-5, rtol=1e-5)

    def test_no_motion_repeats_the_features(self, place):
        features, keypoints = torch.randn(2, 3, 3, 4, 5), torch.rand(2, 2, 3)
        slots = self.candidates(place, features, keypoints, keypoints, align_corners=True).unflatten(
            1, (3, 4)
        )
        # a fused multiply-add rounds one of two equal products: less than a unit in the last place remains
        assert slots[:, :, 0].abs().max() < torch.finfo(torch.float32).eps
        torch.testing.assert_close(slots[:, :, 1:], features.unsqueeze(1).expand(2, 3, 3, 3, 4, 5))

    def test_the_background_of_the_releases_reads_between_voxels(self, place):
        """Corner lattice on face lattice: voxel i of n reads i n / (n - 1) - 1/2, half of it at the ends."""
        features = torch.ones(1, 1, 4, 4, 4)
        zero = torch.zeros(1, 1, 3)
        background = self.candidates(place, features, zero, zero, align_corners=False)[0, 1]
        assert background[0, 0, 0] == pytest.approx(0.125)
        assert background[1, 2, 0] == pytest.approx(0.5)
        assert background[1, 2, 1] == pytest.approx(1.0)

    def test_moving_by_a_voxel_shifts_the_features(self, place):
        """x_s - x_d = one voxel along x: reads one to the right, and zero past the edge."""
        features = torch.randn(1, 2, 2, 3, 5)
        driving = torch.zeros(1, 1, 3)
        source = torch.tensor([[[0.5, 0.0, 0.0]]])  # 2 / (W - 1)
        moved = self.candidates(place, features, source, driving, align_corners=True)[:, 4:]
        torch.testing.assert_close(moved[..., :4], features[..., 1:])
        assert (moved[..., 4] == 0).all()

    def test_far_keypoints_read_nothing(self, place):
        features = torch.full((1, 5, 2, 3, 4), math.nan)
        source = torch.tensor([[[50.0, 0, 0], [0, -1e10, 0], [0, 0, 3e38]]])
        slots = self.candidates(place, features, source, torch.zeros(1, 3, 3), align_corners=False)
        assert (slots.unflatten(1, (4, 6))[:, 1:, 1:] == 0).all()

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("size", [(2, 3, 4), (1, 1, 1)], ids=str)
    def test_a_keypoint_that_is_no_number_reads_zero(self, place, size, value):
        """Features of its slot are zero; other slots, and the gradient of the volume, do not notice."""
        features = torch.randn(1, 3, *size)
        source, driving = torch.rand(2, 1, 2, 3) - 0.5
        alone = Inputs((features, source, driving, None), {"align_corners": True, "variance": 0.2})
        broken_source = torch.cat((source[:, :1], torch.full((1, 1, 3), value), source[:, 1:]), 1)
        more_driving = torch.cat((driving[:, :1], driving[:, :1], driving[:, 1:]), 1)
        broken = alone._replace(tensors=(features, broken_source, more_driving, None))
        expected = self.candidates(place, *alone.tensors, **alone.options).unflatten(1, (3, 4))
        slots = self.candidates(place, *broken.tensors, **broken.options).unflatten(1, (4, 4))
        assert (slots[:, 2, 1:] == 0).all()
        torch.testing.assert_close(slots[:, [0, 1, 3]], expected)

        upstream = torch.randn(1, 4, 4, *size)
        grad_features, grad_source, *_ = self.gradients(place, broken, upstream.flatten(1, 2))
        alone_upstream = upstream[:, [0, 1, 3]].flatten(1, 2)
        expected_features, expected_source, *_ = self.gradients(place, alone, alone_upstream)
        torch.testing.assert_close(grad_features, expected_features)
        torch.testing.assert_close(grad_source[:, [0, 2]], expected_source)

    def test_a_voxel_spoils_only_what_touches_it(self, place):
        inputs = self.op.inputs("odd-each-corners")
        features, *points = inputs.tensors
        clean = self.candidates(place, *inputs.tensors, **inputs.options)
        spoiled = features.clone()
        spoiled[0, 2, 1, 3, 4] = spoiled[1, 4, 3, 6, 10] = spoiled[1, 0, 0, 0, 0] = math.nan
        out = self.candidates(place, spoiled, *points, **inputs.options).unflatten(1, (7, 6))[:, 1:]
        expected = self.op.reference(spoiled, *points, **inputs.options).unflatten(1, (7, 6))[:, 1:]
        assert torch.equal(
            out.isfinite(), expected.isfinite()
        )  # not flow 0: its weights of 0 are exact or not
        assert (~out.isfinite()).sum() > 0
        clean = clean.unflatten(1, (7, 6))[:, 1:]
        assert torch.equal(out[expected.isfinite()], clean[expected.isfinite()])

    def test_one_volume_serves_every_frame(self, place):
        inputs = self.op.inputs("shared-shared-faces")
        features, *points = inputs.tensors
        copies = inputs._replace(tensors=(features.repeat(3, 1, 1, 1, 1), *points))
        torch.testing.assert_close(
            self.candidates(place, *inputs.tensors, **inputs.options),
            self.candidates(place, *copies.tensors, **inputs.options),
        )
        upstream = torch.randn(3, 12, 2, 5, 7)
        grad_features, *grads = self.gradients(place, inputs, upstream)
        each_features, *each = self.gradients(place, copies, upstream)
        torch.testing.assert_close(grad_features, each_features.sum(0, keepdim=True))
        torch.testing.assert_close(grads, each)


FEATURES, KEYPOINTS = torch.zeros(2, 4, 2, 3, 4), torch.zeros(2, 5, 3)


@pytest.mark.parametrize(
    ("tensors", "variance", "error", "message"),
    [
        (
            (FEATURES[0], KEYPOINTS, KEYPOINTS),
            0.01,
            ValueError,
            r"features of shape \(1\|B, C, D, H, W\) with B=2, got",
        ),
        (
            (FEATURES.repeat(2, 1, 1, 1, 1), KEYPOINTS, KEYPOINTS),
            0.01,
            ValueError,
            "features .* with B=2, got",
        ),
        (
            (FEATURES, KEYPOINTS[:1], KEYPOINTS),
            0.01,
            ValueError,
            r"kp_source .* with B=2, K=5, got \(1, 5, 3\)",
        ),
        ((FEATURES, KEYPOINTS, KEYPOINTS, torch.zeros(3, 3)), 0.01, ValueError, r"affine .* got \(3, 3\)"),
        ((FEATURES, KEYPOINTS, KEYPOINTS), 0.0, ValueError, "variance > 0, got 0.0"),
        ((FEATURES, KEYPOINTS, KEYPOINTS), math.nan, ValueError, "variance > 0, got nan"),
        ((FEATURES.int(), KEYPOINTS, KEYPOINTS), 0.01, TypeError, "features in float32, float16"),
        (
            (FEATURES.half(), KEYPOINTS.half(), KEYPOINTS.half()),
            0.01,
            TypeError,
            "never stored in half precision",
        ),
        ((FEATURES.to("meta"), KEYPOINTS, KEYPOINTS), 0.01, ValueError, "one device, got features on meta"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(tensors, variance, error, message):
    with pytest.raises(error, match=f"^warp_candidates: expected .*{message}"):
        warp_candidates(*tensors, align_corners=True, variance=variance)


def test_no_denormal_numbers_where_gaussians_end():
    """Convolutions on a CPU that read them took three times as long."""
    inputs = make(torch.float32, (1, 4, 8, 32, 32), 1, 15, "none", True)
    candidates = warp_candidates(*inputs.tensors, backend="cpu", **inputs.options)
    gaussians = candidates.unflatten(1, (16, 5))[:, 1:, 0]
    assert (gaussians == 0).any()
    assert gaussians[gaussians != 0].abs().min() >= torch.finfo(torch.float32).tiny
