# SPDX-License-Identifier: Apache-2.0
"""warp3d: the contract, closed forms, and what it does at the edge of the volume and beyond numbers."""

import itertools
import math
from typing import Any

import pytest
import torch
from accuracy import Inputs
from layouts import channels_last
from op_contract import FLOATS, Op, OpContract, assert_matches
from torch import Tensor
from torch.nn.functional import grid_sample

from fv2v_kernels import warp3d
from fv2v_kernels.ops import warp3d as spec
from fv2v_kernels.ops.keypoint_flow import lattice

SIZES = {  # features, then the grid's B and D', H', W'
    "paper": ((1, 8, 4, 16, 16), (1, 4, 16, 16)),
    "batch": ((3, 4, 4, 8, 8), (3, 4, 8, 8)),
    "odd": ((2, 5, 6, 7, 11), (2, 4, 8, 9)),
    "shared": ((1, 3, 3, 5, 7), (3, 2, 3, 5)),
    "one_voxel": ((1, 1, 1, 1, 1), (1, 1, 1, 1)),
    "thin": ((2, 3, 1, 4, 1), (2, 2, 2, 3)),
    "flat": ((2, 3, 1, 7, 11), (2, 1, 7, 11)),
    "many_channels": ((1, 19, 2, 3, 2), (1, 1, 2, 3)),
}


def make(
    dtype: torch.dtype,
    features: tuple[int, ...],
    grid: tuple[int, ...],
    align_corners: bool,
    smooth: bool = False,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Inputs:
    """Points overshoot [-1, 1] by a fifth, so that every test reads outside the volume too."""
    generator = torch.Generator().manual_seed(0)
    volume = torch.randn(features, generator=generator).to(dtype)
    points = 2.4 * torch.rand(*grid, 3, generator=generator, dtype=torch.float64) - 1.2
    if smooth:  # away from the kinks at voxel centres
        n = torch.tensor(features[:1:-1], dtype=torch.float64)  # (W, H, D)
        scale = (n - 1) / 2 if align_corners else n / 2
        voxel = (points + 1) * scale - (0.0 if align_corners else 0.5)
        voxel = voxel.floor() + 0.2 + 0.6 * (voxel - voxel.floor())
        points = (voxel + (0.0 if align_corners else 0.5)) / scale - 1
    return Inputs(
        (volume, points.to(torch.float64 if dtype == torch.float64 else torch.float32)),
        {"align_corners": align_corners, "memory_format": memory_format},
    )


def both_ways(sizes: dict[str, Any], **more: Any) -> dict[str, dict[str, Any]]:
    return {
        f"{name}-{'corners' if corners else 'faces'}": {
            "features": features, "grid": grid, "align_corners": corners, **more,
        }
        for (name, (features, grid)), corners in itertools.product(sizes.items(), (True, False))
    }  # fmt: skip


class TestWarp3d(OpContract):
    op = Op(
        name="warp3d",
        function=warp3d,
        make=make,
        cases={
            **both_ways(SIZES),
            **both_ways(
                {"last": SIZES["odd"], "last_wide": SIZES["paper"]}, memory_format=torch.channels_last_3d
            ),
        },
        smooth=both_ways(
            {"odd": ((2, 2, 2, 3, 4), (2, 1, 2, 3)), "shared": ((1, 2, 3, 2, 2), (2, 1, 1, 3))}, smooth=True
        ),
        plain="odd-faces",
        resized="batch-faces",
        busy="paper-corners",
        dtypes=FLOATS,
    )

    def warp(self, place, features: Tensor, grid: Tensor, align_corners: bool) -> Tensor:
        device, backend = place
        return warp3d(
            features.to(device), grid.to(device), align_corners=align_corners, backend=backend
        ).cpu()

    def test_the_identity_grid_returns_the_features(self, place):
        features = torch.randn(1, 3, 3, 5, 4)
        grid = lattice((3, 5, 4), features)[None]
        torch.testing.assert_close(self.warp(place, features, grid, True), features)

    def test_voxel_centres_of_the_face_lattice(self, place):
        """With align_corners=False voxel i of n sits at (2 i + 1) / n - 1."""
        features = torch.randn(1, 2, 1, 1, 4)
        x = (2 * torch.arange(4) + 1) / 4 - 1
        grid = torch.stack((x, 0 * x, 0 * x), -1).view(1, 1, 1, 4, 3)
        torch.testing.assert_close(self.warp(place, features, grid, False), features)

    def test_half_a_voxel_past_the_edge_reads_half(self, place):
        features = torch.ones(1, 1, 4, 4, 4)
        outer_face = torch.tensor([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 1.0, 1.0]])
        out = self.warp(place, features, outer_face.view(1, 1, 1, 4, 3), False)
        torch.testing.assert_close(out.flatten(), torch.tensor([0.5, 0.5, 0.5, 0.125]))

    def test_axes_are_x_y_z(self, place):
        """A volume that counts its voxels along one axis reads back that coordinate."""
        points = 1.8 * torch.rand(1, 2, 3, 4, 3) - 0.9
        z, y, x = torch.meshgrid(torch.arange(3.0), torch.arange(4.0), torch.arange(5.0), indexing="ij")
        features = torch.stack((x, y, z))[None]
        expected = (points + 1) / 2 * torch.tensor([4.0, 3.0, 2.0])
        out = self.warp(place, features, points, True)
        torch.testing.assert_close(out.movedim(1, -1), expected)

    @pytest.mark.parametrize("align_corners", [True, False])
    @pytest.mark.parametrize("size", [(3, 4, 5), (1, 1, 1)], ids=str)
    def test_no_number_reads_zero_and_has_no_gradient(self, place, size, align_corners):
        """NaN or infinity on any axis; the points beside them are read as if alone."""
        bad = (math.nan, math.inf, -math.inf)
        broken = torch.zeros(9, 3)
        for i, (axis, value) in enumerate(itertools.product(range(3), bad)):
            broken[i, axis] = value
        whole = 0.8 * torch.rand(9, 3) - 0.4
        points = torch.stack((broken, whole), 1).view(1, 1, 1, 18, 3)
        features, upstream = torch.randn(1, 5, *size), torch.randn(1, 5, 1, 1, 18)
        inputs = Inputs((features, points), {"align_corners": align_corners})
        out = self.warp(place, *inputs.tensors, align_corners)[0, :, 0, 0]
        grad_features, grad_points = self.gradients(place, inputs, upstream)

        alone = inputs._replace(tensors=(features, whole.view(1, 1, 1, 9, 3)))
        expected = self.warp(place, *alone.tensors, align_corners)[0, :, 0, 0]
        expected_features, expected_points = self.gradients(place, alone, upstream[..., 1::2])
        assert (out[:, ::2] == 0).all()
        assert (grad_points[..., ::2, :] == 0).all()
        torch.testing.assert_close(out[:, 1::2], expected)
        torch.testing.assert_close(grad_features, expected_features)
        torch.testing.assert_close(grad_points[..., 1::2, :], expected_points)

    @pytest.mark.parametrize("align_corners", [True, False])
    @pytest.mark.parametrize("distance", [4.0, 1e3, 1e10, 3e38])
    def test_far_outside_reads_nothing(self, place, distance, align_corners):
        """Not even where every voxel is NaN."""
        axes = distance * torch.cat((torch.eye(3), -torch.eye(3))).view(1, 1, 1, 6, 3)
        features = torch.full((1, 3, 2, 3, 4), math.nan)
        assert (self.warp(place, features, axes, align_corners) == 0).all()
        inputs = Inputs((features, axes), {"align_corners": align_corners})
        for grad in self.gradients(place, inputs, torch.ones(1, 3, 1, 1, 6)):
            assert (grad == 0).all()

    def test_what_comes_back_outside_is_dropped(self, place):
        """Even an infinite or NaN gradient: a point outside reads nothing."""
        grid = torch.zeros(1, 1, 1, 4, 3)
        grid[..., 0, 0], grid[..., 1, 1], grid[..., 2, 2] = 5, -5, 5
        upstream = torch.tensor([math.inf, math.nan, -math.inf, 1.0]).expand(1, 2, 1, 1, 4)
        inputs = Inputs((torch.randn(1, 2, 3, 4, 6), grid), {"align_corners": False})
        grads = self.gradients(place, inputs, upstream)
        assert (grads[1][..., :3, :] == 0).all()
        upstream = torch.tensor([0.0, 0, 0, 1]).expand(1, 2, 1, 1, 4)
        for spoilt, clean in zip(grads, self.gradients(place, inputs, upstream), strict=True):
            torch.testing.assert_close(spoilt, clean)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_voxel_spoils_only_what_touches_it(self, place, value):
        """Not the next channel, sample or row, whichever way a kernel packs or vectorises its reads."""
        inputs = self.op.inputs("odd-corners")
        features, grid = inputs.tensors
        clean = self.warp(place, features, grid, True)
        spoiled = features.clone()
        spoiled[0, 2, 1, 3, 4] = spoiled[1, 4, 2, 6, 10] = spoiled[1, 0, 0, 0, 0] = value
        out = self.warp(place, spoiled, grid, True)
        expected = spec.reference(spoiled, grid, True)
        assert torch.equal(out.isfinite(), expected.isfinite())
        assert 0 < (~out.isfinite()).sum() < 80
        assert torch.equal(out[expected.isfinite()], clean[expected.isfinite()])

    def test_one_volume_serves_every_grid(self, place):
        """Batch 1 beside B is the same as B copies, and its gradient is theirs summed."""
        inputs = self.op.inputs("shared-faces")
        features, grid = inputs.tensors
        copies = inputs._replace(tensors=(features.repeat(len(grid), 1, 1, 1, 1), grid))
        torch.testing.assert_close(
            self.warp(place, features, grid, False), self.warp(place, *copies.tensors, False)
        )
        upstream = torch.randn(3, 3, 2, 3, 5)
        grad_features, grad_grid = self.gradients(place, inputs, upstream)
        each_features, each_grid = self.gradients(place, copies, upstream)
        torch.testing.assert_close(grad_features, each_features.sum(0, keepdim=True))
        torch.testing.assert_close(grad_grid, each_grid)

    @pytest.mark.parametrize("channels", [16, 48])
    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d], ids=str)
    def test_many_channels_side_by_side(self, place, channels, memory_format):
        """Where a kernel may read several channels at a time; into either layout."""
        sizes = (2, channels, 2, 3, 5), (2, 2, 3, 4)
        device, backend = place
        inputs = make(torch.float32, *sizes, align_corners=False, memory_format=memory_format)
        assert_matches(self.op, backend, inputs.map(lambda t: t.to(device)), arrange=channels_last)

    @pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])
    def test_strides_beyond_32_bits(self, place, tmp_path, last):
        """The third plane lies 2^31 elements after the first, in a file that is nearly all hole."""
        if place[0] == "cuda":
            pytest.skip("the file is the CPU's")
        channels, far = 8 if last else 2, 2**30 + 8
        file = torch.from_file(str(tmp_path / "sparse"), shared=True, size=2 * far + 16, dtype=torch.float16)
        dense = torch.randn(1, channels, 3, 1, 2).half()
        features = file.as_strided(dense.shape, (0, 1, far, 16, 8) if last else (0, 4, far, 2, 1))
        features.copy_(dense)
        points = (2 * torch.rand(1, 1, 2, 3, 3) - 1).float()
        order = torch.channels_last_3d if last else torch.contiguous_format
        options = {"align_corners": False, "memory_format": order, "backend": place[1]}
        torch.testing.assert_close(warp3d(features, points, **options), warp3d(dense, points, **options))
        upstream = torch.randn(1, channels, 1, 2, 3).half()
        wide, narrow = (
            self.gradients(place, Inputs((volume, points), {"align_corners": False}), upstream)
            for volume in (features, dense)
        )
        torch.testing.assert_close(wide, narrow)


@pytest.mark.parametrize("align_corners", [True, False])
def test_the_reference_is_grid_sample(align_corners):
    features, grid = make(torch.float32, *SIZES["odd"], align_corners).tensors
    expected = grid_sample(features, grid, align_corners=align_corners)
    assert torch.equal(spec.reference(features, grid, align_corners), expected)


FEATURES, GRID = torch.zeros(2, 4, 4, 8, 8), torch.zeros(2, 4, 8, 8, 3)


@pytest.mark.parametrize(
    ("features", "grid", "error", "message"),
    [
        (FEATURES, GRID[0], ValueError, r"expected grid of shape \(B, D', H', W', 3\), got \(4, 8, 8, 3\)"),
        (FEATURES, GRID[..., :2], ValueError, r"expected grid of shape .* got \(2, 4, 8, 8, 2\)"),
        (FEATURES[0], GRID, ValueError, r"expected features of shape \(1\|B, C, D, H, W\) with B=2, got"),
        (
            torch.zeros(3, 4, 4, 8, 8),
            GRID,
            ValueError,
            r"expected features .* with B=2, got \(3, 4, 4, 8, 8\)",
        ),
        (FEATURES.to("meta"), GRID, ValueError, "expected all tensors on one device, got features on meta"),
        (
            FEATURES.int(),
            GRID.float(),
            TypeError,
            "expected features in float32, float16, bfloat16 or float64",
        ),
        (
            FEATURES.half(),
            GRID.half(),
            TypeError,
            "expected grid in .*; coordinates are never stored in half precision",
        ),
        (FEATURES.double(), GRID, TypeError, "expected grid in torch.float64 beside torch.float64 features"),
        (FEATURES, GRID.double(), TypeError, "expected grid in torch.float32 beside torch.float32 features"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(features, grid, error, message):
    with pytest.raises(error, match=f"^warp3d: {message}"):
        warp3d(features, grid, align_corners=True)


def test_align_corners_has_no_default():
    with pytest.raises(TypeError, match="align_corners"):
        warp3d(FEATURES, GRID)
