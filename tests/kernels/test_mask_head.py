# SPDX-License-Identifier: Apache-2.0
"""mask_head: the contract, and its equality with a whole convolution and compose_warp."""

import math

import pytest
import torch
from accuracy import Inputs
from keypoints import FLAT, clear, make_keypoints
from layouts import channels_last
from op_contract import Op, OpContract, assert_matches
from torch.nn.functional import conv3d

from fv2v_kernels import compose_warp, mask_head
from fv2v_kernels.ops.mask_head import sum_taps


def make(
    dtype: torch.dtype,
    features: tuple[int, ...],
    batch: int,
    keypoints: int,
    taps: int = 3,
    affine: str = "none",
    align_corners: bool = False,
    mask_threshold: float = 0.0,
    return_flow: bool = False,
    return_mask: bool = False,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Inputs:
    """The first seed that is clear of what jumps."""
    enough = 1e-4 if math.prod(features) < 200 else 1e-5
    for seed in range(1000):
        generator = torch.Generator().manual_seed(seed)
        volume = torch.randn(features, generator=generator).to(dtype)
        shape = batch, taps, keypoints + 1, *features[2:]
        parts = (2 / taps**0.5 * torch.randn(shape, generator=generator)).to(dtype)
        points = make_keypoints(dtype, batch, keypoints, affine, generator)
        if clear(sum_taps(parts.double()), points, align_corners, mask_threshold, enough):
            break
    options = {
        "align_corners": align_corners,
        "mask_threshold": mask_threshold,
        "return_flow": return_flow,
        "return_mask": return_mask,
        "memory_format": memory_format,
    }
    return Inputs((volume, parts, *points), options)


PLAIN = {"features": (2, 5, 4, 8, 11), "batch": 2, "keypoints": 6, "taps": 7}
TINY = {"features": (2, 2, 2, 2, 3), "batch": 2, "keypoints": 2}
CASES = {
    "odd": {**PLAIN, "taps": 9},
    "other": {"features": (3, 6, 5, 9, 10), "batch": 3, "keypoints": 7, "taps": 11},
    "everything": {
        **PLAIN, "affine": "each", "return_flow": True, "return_mask": True, "mask_threshold": 0.1
    },
    "narrow": {"features": (2, 9, 2, 5, 2), "batch": 2, "keypoints": 3, "taps": 7, "affine": "shared"},
    "last": {**PLAIN, "features": (1, 16, 3, 4, 6), "memory_format": torch.channels_last_3d},
    "one_tap": {"features": (1, 3, 2, 3, 5), "batch": 1, "keypoints": 2, "taps": 1, "align_corners": True},
    "one_voxel": {"features": (4, 9, 1, 1, 1), "batch": 4, "keypoints": 2},
    "paper": {"features": (1, 32, 4, 16, 16), "batch": 1, "keypoints": 15, "taps": 7},
    "flat": {"features": (2, 16, 1, 7, 11), "batch": 2, "keypoints": 5, "taps": 7, "affine": FLAT},
    "many": {"features": (1, 4, 1, 3, 70), "batch": 1, "keypoints": 49, "align_corners": True},
}  # fmt: skip


class TestMaskHead(OpContract):
    op = Op(
        name="mask_head",
        function=mask_head,
        make=make,
        cases=CASES,
        smooth={
            "plain": TINY,
            "shared": {**TINY, "features": (1, 2, 2, 2, 3), "affine": "shared", "align_corners": True},
            "flat": {**TINY, "features": (2, 2, 1, 2, 3), "affine": FLAT, "align_corners": True},
            "all": {
                **TINY, "affine": "each", "mask_threshold": 0.2, "return_flow": True, "return_mask": True,
            },
        },
        plain="odd",
        resized="other",
        busy="paper",
    )  # fmt: skip

    def test_is_a_convolution_then_compose_warp(self, place):
        """What the operator is for: a 5x5x5 convolution with its taps along x moved into the channels."""
        device, backend = place
        generator = torch.Generator().manual_seed(0)
        hidden = torch.randn(2, 3, 4, 5, 9, generator=generator)
        weight, bias = (
            torch.randn(4, 3, 5, 5, 5, generator=generator) / 5,
            torch.randn(4, generator=generator),
        )
        features = torch.randn(2, 6, 4, 5, 9, generator=generator)
        points = make_keypoints(torch.float32, 2, 3, "each", generator)[:2]
        taps = conv3d(hidden, weight.movedim(-1, 0).flatten(0, 1).unsqueeze(-1), padding=(2, 2, 0))
        taps = taps.unflatten(1, (5, 4)) + bias.view(4, 1, 1, 1) * torch.eye(5)[2].view(5, 1, 1, 1, 1)
        given = Inputs((features, taps, *points), {}).map(lambda t: t.to(device)).tensors
        ours = mask_head(*given, align_corners=True, return_mask=True, backend=backend)
        logits = conv3d(hidden, weight, bias, padding=2)
        plain = compose_warp(
            features, logits, *points, align_corners=True, return_mask=True, backend="reference"
        )
        torch.testing.assert_close(ours.mask.cpu(), plain.mask, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.warped.cpu(), plain.warped, rtol=1e-3, atol=1e-3)

    def test_takes_the_first_of_more_channels(self, place, dtype):
        """A convolution may pad each tap's channels with some that nobody reads."""
        device, backend = place
        inputs = make(dtype, **PLAIN).map(lambda t: t.to(device))
        features, taps, *points = inputs.tensors
        wide = taps.new_full((2, 7, 8, *taps.shape[3:]), torch.nan)
        wide[:, :, :7] = taps
        padded = channels_last(wide)[:, :, :7]
        assert_matches(self.op, backend, inputs._replace(tensors=(features, padded, *points)))

    def test_what_is_not_asked_for_is_none(self, place):
        device, backend = place
        inputs = self.op.inputs("odd", device)
        result = mask_head(*inputs.tensors, **{**inputs.options, "return_mask": True}, backend=backend)
        assert result.deformation is None
        assert result.mask.shape == (2, 7, 4, 8, 11)
        alone = mask_head(*inputs.tensors, **inputs.options, backend=backend)
        torch.testing.assert_close(alone, result.warped, rtol=1e-4, atol=1e-4)


def test_a_tap_reaches_as_far_as_it_stands_off_the_middle():
    taps = torch.zeros(1, 5, 1, 1, 1, 6)
    for t in range(5):
        taps[0, t, 0, 0, 0] = 10.0**t * torch.arange(1, 7)
    assert sum_taps(taps)[0, 0, 0, 0].tolist() == [
        # 1 of the pixel two before, 10 of the one before, 100 of its own, 1000 and 10000 of the two after
        32100, 43210, 54321, 65432, 6543, 654,
    ]  # fmt: skip


FEATURES, TAPS, POINTS = torch.zeros(2, 4, 2, 3, 4), torch.zeros(2, 3, 6, 2, 3, 4), torch.zeros(2, 5, 3)


@pytest.mark.parametrize(
    ("features", "taps", "error", "message"),
    [
        (FEATURES, TAPS[:, 0], ValueError, r"mask_taps of shape \(B, T, K\+1, D, H, W\) with B=2, K=5"),
        (FEATURES, TAPS[:, :2], ValueError, r"mask_taps with an odd T, got \(2, 2, 6, 2, 3, 4\)"),
        (FEATURES[..., :3], TAPS, ValueError, r"features .* with B=2, D=2, H=3, W=4, got \(2, 4, 2, 3, 3\)"),
        (FEATURES.half(), TAPS, TypeError, "one dtype for mask_taps and features, got mask_taps in torch"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(features, taps, error, message):
    with pytest.raises(error, match=f"^mask_head: expected .*{message}"):
        mask_head(features, taps, POINTS, POINTS, align_corners=True)
