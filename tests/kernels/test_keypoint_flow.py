# SPDX-License-Identifier: Apache-2.0
"""keypoint_flow: the contract, and flows whose value is known."""

import pytest
import torch
from accuracy import Inputs
from keypoints import AFFINES, FLAT, make_keypoints
from op_contract import Op, OpContract

from fv2v_kernels import keypoint_flow
from fv2v_kernels.ops import keypoint_flow as spec

SIZES = {  # B, K, (D, H, W)
    "paper": (2, 5, (4, 16, 16)),
    "odd": (2, 5, (4, 7, 11)),
    "other": (3, 4, (6, 8, 9)),
    "one_keypoint": (1, 1, (2, 3, 4)),
    "one_voxel": (1, 2, (1, 1, 1)),
    "thin": (2, 3, (1, 5, 1)),
}


def make(dtype: torch.dtype, batch: int, keypoints: int, size: tuple[int, int, int], affine: str) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    return Inputs(make_keypoints(dtype, batch, keypoints, affine, generator), {"size": size})


CASES = {
    f"{name}-{affine}": {"batch": B, "keypoints": K, "size": size, "affine": affine}
    for name, (B, K, size) in SIZES.items()
    for affine in AFFINES
}
# more voxels than a GPU's block takes on alone
CASES["flat"] = {"batch": 2, "keypoints": 5, "size": (1, 7, 11), "affine": FLAT}
CASES["parts"] = {"batch": 2, "keypoints": 2, "size": (3, 19, 37), "affine": "each"}
CASES["many"] = {"batch": 1, "keypoints": 49, "size": (2, 3, 7), "affine": "none"}


class TestKeypointFlow(OpContract):
    op = Op(
        name="keypoint_flow",
        function=keypoint_flow,
        make=make,
        cases=CASES,
        smooth={affine: {**CASES[f"one_keypoint-{affine}"], "keypoints": 2} for affine in AFFINES}
        | {"flat": {**CASES["flat"], "size": (1, 2, 3)}},
        plain="odd-each",
        resized="other-each",
        busy="paper-each",
        dtypes=(torch.float32, torch.float64),
    )

    def flow(self, place, source, driving, affine=None, size=(3, 4, 5)):
        device, backend = place
        tensors = (None if t is None else t.to(device) for t in (source, driving, affine))
        return keypoint_flow(*tensors, size=size, backend=backend).cpu()

    def test_no_motion_is_the_identity(self, place):
        keypoints = torch.rand(2, 3, 3)
        flows = self.flow(place, keypoints, keypoints)
        corners = spec.lattice((3, 4, 5), keypoints)
        torch.testing.assert_close(flows, corners.expand(2, 4, 3, 4, 5, 3))

    def test_the_lattice_has_its_first_and_last_voxels_on_minus_and_plus_one(self, place):
        background = self.flow(place, torch.zeros(1, 1, 3), torch.zeros(1, 1, 3))[0, 0]
        assert background[0, 0, 0].tolist() == [-1, -1, -1]
        assert background[2, 3, 4].tolist() == [1, 1, 1]
        assert background[0, 0, 4].tolist() == [1, -1, -1]  # x runs along W

    def test_one_voxel_sits_in_the_middle(self, place):
        """Where both kinds of reading find the whole of it."""
        assert (self.flow(place, torch.zeros(1, 1, 3), torch.zeros(1, 1, 3), size=(1, 1, 1)) == 0).all()

    def test_the_driving_keypoint_maps_to_the_source_keypoint(self, place):
        """w_k(x_d,k) = x_s,k whatever the affine part; here x_d is a voxel of the lattice."""
        source = torch.tensor([[[0.3, -0.2, 0.1]]])
        driving = torch.tensor([[[0.5, 1.0, 0.0]]])  # voxel x = 3 of 5, y = 3 of 4, z = 1 of 3
        flow = self.flow(place, source, driving, torch.randn(1, 3, 3))[0, 1]
        torch.testing.assert_close(flow[1, 3, 3], source[0, 0])

    def test_the_affine_part_turns_offsets(self, place):
        """A quarter turn about z takes an offset along x to one along y."""
        quarter = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
        zero = torch.zeros(1, 1, 3)
        flow = self.flow(place, zero, zero, quarter, (3, 3, 3))[0, 1]
        torch.testing.assert_close(flow[1, 1, 2], torch.tensor([0.0, 1.0, 0.0]))

    def test_a_shared_affine_is_the_same_for_every_keypoint(self, place):
        source, driving, shared = self.op.inputs("odd-shared").tensors
        each = shared.unsqueeze(1).repeat(1, 5, 1, 1)
        torch.testing.assert_close(
            self.flow(place, source, driving, shared), self.flow(place, source, driving, each)
        )


KEYPOINTS = torch.zeros(2, 5, 3)


@pytest.mark.parametrize(
    ("tensors", "size", "error", "message"),
    [
        ((KEYPOINTS, KEYPOINTS[0]), (2, 2, 2), ValueError, r"expected kp_driving of shape \(B, K, 3\), got"),
        (
            (KEYPOINTS[:, :4], KEYPOINTS),
            (2, 2, 2),
            ValueError,
            r"expected kp_source .* with B=2, K=5, got \(2, 4",
        ),
        (
            (KEYPOINTS, KEYPOINTS, torch.zeros(2, 4, 3, 3)),
            (2, 2, 2),
            ValueError,
            r"affine .* got \(2, 4, 3, 3\)",
        ),
        ((KEYPOINTS, KEYPOINTS, torch.zeros(3, 3, 3)), (2, 2, 2), ValueError, r"affine .* got \(3, 3, 3\)"),
        (
            (KEYPOINTS, KEYPOINTS),
            (2, 2),
            ValueError,
            r"expected size \(D, H, W\), each at least 1, got \(2, 2\)",
        ),
        ((KEYPOINTS, KEYPOINTS), (2, 0, 2), ValueError, r"expected size .* got \(2, 0, 2\)"),
        ((KEYPOINTS.half(), KEYPOINTS.half()), (2, 2, 2), TypeError, "never stored in half precision"),
        ((KEYPOINTS, KEYPOINTS.double()), (2, 2, 2), TypeError, "expected kp_driving in torch.float32, got"),
        ((KEYPOINTS, KEYPOINTS.to("meta")), (2, 2, 2), ValueError, "kp_driving on meta; move them"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(tensors, size, error, message):
    with pytest.raises(error, match=f"^keypoint_flow: .*{message}"):
        keypoint_flow(*tensors, size=size)
