# SPDX-License-Identifier: Apache-2.0
"""compose_warp: the contract, its equality with compose_flow and warp3d in a row, and what it returns."""

import math

import pytest
import torch
from accuracy import Inputs, gradients
from keypoints import AFFINES, FLAT, clear, make_keypoints
from layouts import channels_last
from op_contract import Op, OpContract, assert_matches

from fv2v_kernels import compose_flow, compose_warp, warp3d
from fv2v_kernels.ops.compose_warp import ComposedWarp

SIZES = {  # features (B or 1, C, D, H, W), B, K
    "paper": ((1, 32, 4, 16, 16), 1, 15),
    "odd": ((2, 5, 4, 7, 11), 2, 6),
    "other": ((3, 6, 6, 8, 9), 3, 7),
    "shared": ((1, 8, 2, 5, 7), 3, 2),
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
    mask_threshold: float = 0.0,
    return_flow: bool = False,
    return_mask: bool = False,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Inputs:
    """The first seed that is clear of what jumps."""
    enough = 1e-4 if math.prod(features) < 200 else 1e-5
    size = features[2:]
    for seed in range(1000):
        generator = torch.Generator().manual_seed(seed)
        volume = torch.randn(features, generator=generator).to(dtype)
        logits = 2 * torch.randn(batch, keypoints + 1, *size, generator=generator).to(dtype)
        points = make_keypoints(dtype, batch, keypoints, affine, generator)
        if clear(logits, points, align_corners, mask_threshold, enough):
            break
    options = {
        "align_corners": align_corners,
        "mask_threshold": mask_threshold,
        "return_flow": return_flow,
        "return_mask": return_mask,
        "memory_format": memory_format,
    }
    return Inputs((volume, logits, *points), options)


CASES = {
    f"{name}-{affine}-{'corners' if corners else 'faces'}": {
        "features": features, "batch": B, "keypoints": K, "affine": affine, "align_corners": corners
    }
    for name, (features, B, K) in SIZES.items()
    for affine, corners in zip(AFFINES, (True, False, False), strict=True)
}  # fmt: skip
CASES |= {
    f"{name}-last": {**CASES[name], "memory_format": torch.channels_last_3d}
    for name in ("odd-each-faces", "paper-none-corners", "shared-shared-faces")
}
CASES["many"] = {**CASES["paper-none-corners"], "features": (1, 4, 2, 3, 7), "keypoints": 49}
CASES |= {
    "odd-flow": {**CASES["odd-none-corners"], "return_flow": True},
    "odd-mask": {**CASES["odd-shared-faces"], "return_mask": True},
    "odd-all": {**CASES["odd-each-faces"], "return_flow": True, "return_mask": True, "mask_threshold": 0.1},
}
CASES |= {
    f"flat-{'corners' if corners else 'faces'}": {
        "features": (2, 16, 1, 7, 11), "batch": 2, "keypoints": 5, "affine": FLAT, "align_corners": corners,
        "return_flow": True, "return_mask": corners
    }
    for corners in (True, False)
}  # fmt: skip
CASES["flat-last"] = {**CASES["flat-faces"], "memory_format": torch.channels_last_3d}
TINY = {"features": (2, 2, 2, 2, 3), "batch": 2, "keypoints": 2}


class TestComposeWarp(OpContract):
    op = Op(
        name="compose_warp",
        function=compose_warp,
        make=make,
        cases=CASES,
        smooth={
            **{affine: {**TINY, "affine": affine, "align_corners": False} for affine in AFFINES},
            "corners": {**TINY, "affine": "each", "align_corners": True},
            "flat": {**TINY, "features": (2, 2, 1, 2, 3), "affine": FLAT, "align_corners": True},
            "shared": {**TINY, "features": (1, 2, 2, 2, 3), "affine": "none", "align_corners": False},
            "all": {
                **TINY, "affine": "each", "align_corners": False, "mask_threshold": 0.2,
                "return_flow": True, "return_mask": True,
            },
        },
        plain="odd-each-faces",
        resized="other-each-faces",
        busy="paper-each-faces",
    )  # fmt: skip

    def test_is_compose_flow_then_warp3d(self, place):
        device, backend = place
        inputs = self.op.inputs("odd-all", device)
        features, logits, *points = inputs.tensors
        warped, flow, mask = compose_warp(*inputs.tensors, **inputs.options, backend=backend)
        expected_flow, expected_mask = compose_flow(
            logits, *points, mask_threshold=0.1, return_mask=True, backend="reference"
        )
        torch.testing.assert_close(flow, expected_flow)
        torch.testing.assert_close(mask, expected_mask)
        expected = warp3d(features, expected_flow, align_corners=False, backend="reference")
        torch.testing.assert_close(warped, expected)

    def test_many_channels_side_by_side(self, place):
        """Where a kernel may read several channels at a time; into either layout."""
        device, backend = place
        case = {**CASES["odd-each-faces"], "features": (2, 48, 4, 7, 11)}
        for memory_format in (torch.contiguous_format, torch.channels_last_3d):
            inputs = make(torch.float32, **case, memory_format=memory_format)
            assert_matches(self.op, backend, inputs.map(lambda t: t.to(device)), arrange=channels_last)

    def test_what_is_not_asked_for_is_none(self, place):
        device, backend = place
        inputs = self.op.inputs("odd-flow", device)
        result = compose_warp(*inputs.tensors, **inputs.options, backend=backend)
        assert isinstance(result, ComposedWarp)
        assert result.deformation is not None
        assert result.mask is None
        plain = {**inputs.options, "return_flow": False}
        alone = compose_warp(*inputs.tensors, **plain, backend=backend)
        assert torch.equal(alone, result.warped)

    def test_the_returned_flow_alone_sends_gradients(self, place):
        """A loss on the flow reaches logits and keypoints as compose_flow's would, and no feature."""
        device, backend = place
        inputs = self.op.inputs("odd-flow", device)

        def flow_of(*tensors, **options):
            return compose_warp(*tensors, **options, backend=backend).deformation

        upstream = torch.randn(2, 4, 7, 11, 3).to(device)
        grad_features, *grads = gradients(flow_of, inputs, [upstream])
        assert (grad_features == 0).all()
        alone = Inputs(inputs.tensors[1:], {"backend": "reference"})
        expected = gradients(compose_flow, alone, [upstream])
        for each in zip(grads, expected, strict=True):
            torch.testing.assert_close(*each, rtol=1e-4, atol=1e-4)


FEATURES, LOGITS, POINTS = torch.zeros(2, 4, 2, 3, 4), torch.zeros(2, 6, 2, 3, 4), torch.zeros(2, 5, 3)


@pytest.mark.parametrize(
    ("features", "logits", "error", "message"),
    [
        (FEATURES, LOGITS[:1], ValueError, r"mask_logits .* with B=2, K=5, got \(1, 6, 2, 3, 4\)"),
        (
            FEATURES,
            LOGITS[..., :3],
            ValueError,
            r"features .* with B=2, D=2, H=3, W=3, got \(2, 4, 2, 3, 4\)",
        ),
        (
            FEATURES.half(),
            LOGITS,
            TypeError,
            "one dtype for mask_logits and features, got mask_logits in torch",
        ),
        (FEATURES.int(), LOGITS.int(), TypeError, "mask_logits in float32, float16, bfloat16 or float64"),
        (FEATURES.to("meta"), LOGITS, ValueError, "on one device, got .*features on meta"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(features, logits, error, message):
    with pytest.raises(error, match=f"^compose_warp: expected .*{message}"):
        compose_warp(features, logits, POINTS, POINTS, align_corners=True)


def test_an_unknown_memory_format_is_refused():
    with pytest.raises(ValueError, match=r"^compose_warp: expected memory_format torch.contiguous_format or"):
        compose_warp(FEATURES, LOGITS, POINTS, POINTS, align_corners=True, memory_format=torch.channels_last)


def test_under_autocast_the_narrower_is_widened():
    """As PyTorch's own autocast does for grid_sample: the widest type wins, and coordinates are float32."""
    half = POINTS.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = compose_warp(FEATURES, LOGITS.bfloat16(), half, half, align_corners=True)
        halves = compose_warp(FEATURES.bfloat16(), LOGITS.bfloat16(), half, half, align_corners=True)
    assert mixed.dtype == torch.float32
    assert halves.dtype == torch.bfloat16
