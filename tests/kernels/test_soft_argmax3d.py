# SPDX-License-Identifier: Apache-2.0
"""soft_argmax3d: the contract, and expectations whose value is known."""

import pytest
import torch
from accuracy import Inputs
from op_contract import Op, OpContract
from torch import Tensor

from fv2v_kernels import available, soft_argmax3d
from fv2v_kernels.ops.keypoint_flow import lattice
from fv2v_kernels.ops.soft_argmax3d import SoftArgmax

SIZES = {  # B, K, (D, H, W)
    "paper": (1, 15, (4, 16, 16)),
    "odd": (2, 5, (4, 7, 11)),
    "other": (3, 4, (6, 9, 10)),
    "one_keypoint": (1, 1, (2, 3, 4)),
    "one_voxel": (2, 2, (1, 1, 1)),
    "long": (1, 2, (3, 5, 150)),
    "flat": (2, 5, (1, 7, 11)),
}


def make(
    dtype: torch.dtype,
    batch: int,
    keypoints: int,
    size: tuple[int, int, int],
    maps: bool,
    temperature: float = 0.5,
) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, keypoints, *size, generator=generator).to(dtype)
    jacobians = torch.randn(batch, 9 * keypoints, *size, generator=generator).to(dtype) if maps else None
    return Inputs((logits, jacobians), {"temperature": temperature})


def with_maps(
    logits: Tensor, jacobian_maps: Tensor | None, *, temperature: float, backend: str | None = None
):
    return soft_argmax3d(logits, temperature=temperature, jacobian_maps=jacobian_maps, backend=backend)


CASES = {
    f"{name}-{'maps' if maps else 'keypoints'}": {"batch": B, "keypoints": K, "size": size, "maps": maps}
    for name, (B, K, size) in SIZES.items()
    for maps in (True, False)
}
# more voxels than a GPU's block takes on alone
CASES["parts"] = {"batch": 1, "keypoints": 2, "size": (3, 19, 37), "maps": True}
CASES["odd-sharp"] = {**CASES["odd-maps"], "temperature": 0.1}


class TestSoftArgmax3d(OpContract):
    op = Op(
        name="soft_argmax3d",
        function=with_maps,
        make=make,
        cases=CASES,
        smooth={
            "maps": {"batch": 2, "keypoints": 2, "size": (2, 1, 3), "maps": True},
            "keypoints": {"batch": 1, "keypoints": 2, "size": (1, 3, 2), "maps": False},
        },
        plain="odd-maps",
        resized="other-maps",
        busy="paper-maps",
    )

    def expected(self, place, logits: Tensor, temperature: float = 1.0) -> Tensor:
        device, backend = place
        return soft_argmax3d(logits.to(device), temperature=temperature, backend=backend).cpu()

    def test_a_certain_voxel_is_the_keypoint(self, place):
        logits = torch.zeros(2, 3, 4, 5, 6)
        logits[:, :, 1, 2, 5] = 300  # exp overflows unless the largest logit is subtracted first
        corner = lattice((4, 5, 6), logits)[1, 2, 5]
        torch.testing.assert_close(self.expected(place, logits), corner.expand(2, 3, 3))

    def test_no_preference_is_the_middle(self, place):
        keypoints = self.expected(place, torch.full((1, 2, 4, 6, 8), 3.0))
        torch.testing.assert_close(keypoints, torch.zeros(1, 2, 3), atol=1e-6, rtol=0)

    def test_the_temperature_divides(self, place):
        logits = torch.randn(1, 2, 3, 4, 5)
        torch.testing.assert_close(self.expected(place, logits, 0.1), self.expected(place, 10 * logits))

    @pytest.mark.parametrize("largest", [3e38, -3e38])
    def test_extreme_logits(self, place, largest):
        """A peak that comes late, logits at the end of their range, and -infinity, which closes a voxel."""
        logits = torch.full((1, 1, 2, 3, 4), -torch.inf)
        logits[0, 0, 1, 2, 2:] = largest
        expected = lattice((2, 3, 4), logits)[1, 2, 2:].mean(0)
        torch.testing.assert_close(self.expected(place, logits)[0, 0], expected)

    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    def test_a_voxel_spoils_its_own_keypoint_alone(self, place, value):
        logits = torch.randn(1, 3, 4, 5, 6)
        clean = self.expected(place, logits)
        logits[0, 1, 2, 3, 4] = value
        spoilt = self.expected(place, logits)
        assert spoilt[0, 1].isnan().all()
        torch.testing.assert_close(spoilt[0, ::2], clean[0, ::2])

    def test_a_volume_of_closed_voxels_is_nowhere(self, place):
        logits = torch.full((1, 2, 2, 3, 4), -torch.inf)
        logits[0, 1] = 0
        keypoints = self.expected(place, logits)
        assert keypoints[0, 0].isnan().all()
        torch.testing.assert_close(keypoints[0, 1], torch.zeros(3), atol=1e-6, rtol=0)

    def test_constant_maps_are_the_jacobian(self, place):
        device, backend = place
        matrix = torch.randn(2, 3, 3, 3)
        maps = matrix.flatten(1).view(2, 27, 1, 1, 1).expand(2, 27, 4, 5, 6)
        result = soft_argmax3d(
            torch.randn(2, 3, 4, 5, 6).to(device),
            temperature=1.0,
            jacobian_maps=maps.to(device),
            backend=backend,
        )
        assert isinstance(result, SoftArgmax)
        torch.testing.assert_close(result.jacobians.cpu(), matrix)


@pytest.mark.parametrize("backend", available("soft_argmax3d", "cpu"))
def test_an_empty_volume_sums_to_zero(backend):
    logits, maps = torch.zeros(1, 2, 3, 4, 0), torch.zeros(1, 18, 3, 4, 0)
    keypoints, jacobians = soft_argmax3d(logits, temperature=1.0, jacobian_maps=maps, backend=backend)
    assert torch.equal(keypoints, torch.zeros(1, 2, 3))
    assert torch.equal(jacobians, torch.zeros(1, 2, 3, 3))


LOGITS = torch.zeros(2, 3, 2, 3, 4)


@pytest.mark.parametrize(
    ("logits", "maps", "temperature", "error", "message"),
    [
        (LOGITS[0], None, 1.0, ValueError, r"logits of shape \(B, K, D, H, W\), got \(3, 2, 3, 4\)"),
        (LOGITS, LOGITS, 1.0, ValueError, r"jacobian_maps of shape \(B, 9K, D, H, W\) with B=2, K=3, .* got"),
        (LOGITS, None, 0.0, ValueError, "temperature > 0, got 0.0"),
        (LOGITS.long(), None, 1.0, TypeError, "logits in float32, float16, bfloat16 or float64"),
        (
            LOGITS,
            LOGITS.half().repeat(1, 9, 1, 1, 1),
            1.0,
            TypeError,
            "one dtype for logits and jacobian_maps",
        ),
    ],
)
def test_errors_say_what_was_expected_and_what_came(logits, maps, temperature, error, message):
    with pytest.raises(error, match=f"^soft_argmax3d: expected .*{message}"):
        soft_argmax3d(logits, temperature=temperature, jacobian_maps=maps)
