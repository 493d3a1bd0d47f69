# SPDX-License-Identifier: Apache-2.0
"""compose_flow: the contract, blends whose value is known, thresholds and the returned mask."""

import math

import pytest
import torch
from accuracy import Inputs, gradients
from keypoints import AFFINES, FLAT, make_keypoints
from op_contract import Op, OpContract
from torch import Tensor

from fv2v_kernels import compose_flow, keypoint_flow
from fv2v_kernels.ops.keypoint_flow import lattice

SIZES = {  # B, K, (D, H, W)
    "paper": (1, 15, (4, 16, 16)),
    "odd": (2, 5, (4, 7, 11)),
    "other": (3, 8, (6, 9, 10)),
    "one_keypoint": (1, 1, (2, 3, 4)),
    "one_voxel": (2, 2, (1, 1, 1)),
    "thin": (2, 4, (1, 5, 1)),
}


def make(
    dtype: torch.dtype,
    batch: int,
    keypoints: int,
    size: tuple[int, int, int],
    affine: str,
    mask_threshold: float = 0.0,
    return_mask: bool = False,
) -> Inputs:
    """With a threshold, the first seed where no mask value is so near it that rounding decides."""
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        logits = 2 * torch.randn(batch, keypoints + 1, *size, generator=generator).to(dtype)
        points = make_keypoints(dtype, batch, keypoints, affine, generator)
        if (logits.double().softmax(1) - mask_threshold).abs().min() > (1e-5 if mask_threshold else 0):
            break
    return Inputs((logits, *points), {"mask_threshold": mask_threshold, "return_mask": return_mask})


CASES = {
    f"{name}-{affine}": {"batch": B, "keypoints": K, "size": size, "affine": affine}
    for name, (B, K, size) in SIZES.items()
    for affine in AFFINES
}
CASES |= {
    "odd-masked": {**CASES["odd-none"], "return_mask": True},
    "odd-threshold": {**CASES["odd-none"], "mask_threshold": 0.1},
    "odd-threshold-masked": {**CASES["odd-each"], "mask_threshold": 0.1, "return_mask": True},
}
# more voxels than a GPU's block takes on alone
CASES["flat"] = {"batch": 2, "keypoints": 5, "size": (1, 7, 11), "affine": FLAT, "return_mask": True}
CASES["parts"] = {"batch": 2, "keypoints": 2, "size": (3, 19, 37), "affine": "shared"}
CASES["many"] = {"batch": 1, "keypoints": 49, "size": (2, 3, 7), "affine": "none"}
TINY = {"batch": 2, "keypoints": 2, "size": (2, 1, 3)}


class TestComposeFlow(OpContract):
    op = Op(
        name="compose_flow",
        function=compose_flow,
        make=make,
        cases=CASES,
        smooth={
            "flat": {**CASES["flat"], "keypoints": 2, "size": (1, 2, 3)},
            **{affine: {**TINY, "affine": affine} for affine in AFFINES},
            "masked": {**TINY, "affine": "each", "mask_threshold": 0.2, "return_mask": True},
        },
        plain="odd-each",
        resized="other-each",
        busy="paper-each",
    )

    def compose(self, place, *tensors, **options):
        device, backend = place
        given = (None if t is None else t.to(device) for t in tensors)
        out = compose_flow(*given, **options, backend=backend)
        return tuple(t.cpu() for t in out) if isinstance(out, tuple) else out.cpu()

    def test_no_motion_is_the_identity_whatever_the_mask(self, place):
        keypoints = torch.rand(2, 3, 3)
        flow = self.compose(place, torch.randn(2, 4, 3, 4, 5), keypoints, keypoints)
        torch.testing.assert_close(flow, lattice((3, 4, 5), keypoints).expand(2, 3, 4, 5, 3))

    @pytest.mark.parametrize("chosen", [0, 1, 3])
    def test_a_certain_mask_picks_one_flow(self, place, chosen):
        logits = torch.zeros(2, 4, 3, 4, 5)
        logits[:, chosen] = 200  # exp overflows unless the largest logit is subtracted first
        source, driving, affine = make_keypoints(
            torch.float32, 2, 3, "each", torch.Generator().manual_seed(0)
        )
        flows = keypoint_flow(source, driving, affine, size=(3, 4, 5), backend="reference")
        torch.testing.assert_close(self.compose(place, logits, source, driving, affine), flows[:, chosen])

    def test_extreme_logits(self, place):
        """As large as the dtype holds, and -infinity, which closes a flow."""
        logits = torch.full((1, 4, 1, 1, 2), -3e38)
        logits[0, 1] = logits[0, 2] = 3e38
        logits[0, 3] = -math.inf
        keypoints = torch.rand(1, 3, 3)
        flow, mask = self.compose(place, logits, keypoints, 0 * keypoints, return_mask=True)
        assert mask[0, :, 0, 0, 0].tolist() == [0, 0.5, 0.5, 0]
        shift = (keypoints[0, 0] + keypoints[0, 1]) / 2
        torch.testing.assert_close(flow[0], lattice((1, 1, 2), flow) + shift)

    def test_the_mask_is_a_softmax_over_flows(self, place):
        logits, source, driving, _ = self.op.inputs("odd-none").tensors
        _, mask = self.compose(place, logits, source, driving, return_mask=True)
        torch.testing.assert_close(mask, logits.softmax(1))

    def test_a_threshold_drops_and_does_not_renormalise(self, place):
        inputs = self.op.inputs("odd-threshold")
        flow, mask = self.compose(place, *inputs.tensors, **{**inputs.options, "return_mask": True})
        full = inputs.tensors[0].softmax(1)
        kept = full.where(full >= 0.1, 0)
        assert 0 < (kept == 0).sum() < kept.numel()
        torch.testing.assert_close(mask, kept)
        flows = keypoint_flow(*inputs.tensors[1:], size=(4, 7, 11), backend="reference")
        torch.testing.assert_close(flow, (kept.unsqueeze(-1) * flows).sum(1))

    def test_the_mask_alone_sends_gradients(self, place):
        """A loss on the mask reaches the logits and, as it should, no keypoint."""
        device, backend = place
        inputs = self.op.inputs("odd-threshold-masked", device)

        def mask_of(*tensors: Tensor | None, **options: float | bool) -> Tensor:
            return compose_flow(*tensors, **options, backend=backend)[1]

        upstream = torch.randn(2, 6, 4, 7, 11).to(device)
        grad_logits, *others = gradients(mask_of, inputs, [upstream])
        logits = inputs.tensors[0].detach().requires_grad_()
        full = logits.softmax(1)
        (expected,) = torch.autograd.grad(full.where(full >= 0.1, 0), logits, upstream)
        torch.testing.assert_close(grad_logits, expected)
        assert all((grad == 0).all() for grad in others)


LOGITS, KEYPOINTS = torch.zeros(2, 6, 2, 3, 4), torch.zeros(2, 5, 3)


@pytest.mark.parametrize(
    ("tensors", "error", "message"),
    [
        ((LOGITS[:, :5], KEYPOINTS, KEYPOINTS), ValueError, r"\(B, K\+1, D, H, W\) with B=2, K=5, got"),
        (
            (LOGITS[:1], KEYPOINTS, KEYPOINTS),
            ValueError,
            r"mask_logits .* with B=2, K=5, got \(1, 6, 2, 3, 4\)",
        ),
        ((LOGITS[0], KEYPOINTS, KEYPOINTS), ValueError, r"mask_logits .* got \(6, 2, 3, 4\)"),
        ((LOGITS, KEYPOINTS[:1], KEYPOINTS), ValueError, r"kp_source .* with B=2, K=5, got \(1, 5, 3\)"),
        (
            (LOGITS, KEYPOINTS, KEYPOINTS, torch.zeros(2, 3, 3, 3)),
            ValueError,
            r"affine .* got \(2, 3, 3, 3\)",
        ),
        (
            (LOGITS.int(), KEYPOINTS, KEYPOINTS),
            TypeError,
            "mask_logits in float32, float16, bfloat16 or float64",
        ),
        ((LOGITS.half(), KEYPOINTS.half(), KEYPOINTS.half()), TypeError, "never stored in half precision"),
        (
            (LOGITS.double(), KEYPOINTS, KEYPOINTS),
            TypeError,
            "kp_source in torch.float64 beside torch.float64",
        ),
        ((LOGITS.to("meta"), KEYPOINTS, KEYPOINTS), ValueError, "on one device, got mask_logits on meta"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(tensors, error, message):
    with pytest.raises(error, match=f"^compose_flow: expected .*{message}"):
        compose_flow(*tensors)
