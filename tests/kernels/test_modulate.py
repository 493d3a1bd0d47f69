# SPDX-License-Identifier: Apache-2.0
"""modulate: the contract, and planes whose normalised pixels are known."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from accuracy import Inputs, assert_as_accurate, gradients, like_outputs, outputs
from layouts import channels_last, contiguous, sliced
from modulation import CLEAR, before_activation, make_modulation
from op_contract import FLOATS, Op, OpContract, Recorder, assert_matches
from torch import Tensor
from torch.library import opcheck

from fv2v_kernels import modulate

ODD = (2, 3, 7, 11)  # B, C, H, W
CASES = {
    "odd": {"size": ODD},
    "parts": {"size": (1, 2, 67, 65)},  # more pixels than a GPU's block takes on alone
    "other": {"size": (3, 2, 9, 10)},
    "many_channels": {"size": (1, 17, 5, 6)},
    "no_activation": {"size": ODD, "negative_slope": 1.0},
    "side_by_side": {"size": (2, 16, 6, 8)},  # channels and rows fill whole vectors
    "one_channel": {"size": (3, 1, 8, 4)},
    "busy": {"size": (1, 32, 40, 39)},
    "relu": {"size": ODD, "negative_slope": 0.0},
    "large_eps": {"size": ODD, "eps": 0.5},
}


def make(
    dtype: torch.dtype,
    size: tuple[int, int, int, int],
    negative_slope: float = 0.2,
    offset: float = 0.0,
    eps: float = 1e-5,
) -> Inputs:
    rng = torch.Generator().manual_seed(0)
    return Inputs(
        make_modulation(rng, dtype, size, offset, eps), {"eps": eps, "negative_slope": negative_slope}
    )


class TestModulate(OpContract):
    op = Op(
        name="modulate",
        function=modulate,
        make=make,
        cases=CASES,
        smooth={
            "leaky": {"size": (2, 2, 2, 3)},
            "linear": {"size": (1, 2, 3, 2), "negative_slope": 1.0},
        },
        plain="odd",
        resized="other",
        busy="busy",
    )

    def modulated(self, place, x: Tensor, gamma: Tensor, beta: Tensor, **options: float) -> Tensor:
        device, backend = place
        tensors = (tensor.to(device) for tensor in (x, gamma, beta))
        return modulate(*tensors, **options, backend=backend).cpu()

    def test_without_maps_it_is_instance_norm(self, place):
        x, zero = torch.randn(2, 3, 9, 7), torch.zeros(2, 3, 9, 7)
        torch.testing.assert_close(self.modulated(place, x, zero, zero), F.instance_norm(x))

    def test_is_the_stock_sequence(self, place):
        x, gamma, beta = torch.randn(3, 2, 5, 6, 7)
        expected = F.leaky_relu((1 + gamma) * F.instance_norm(x, eps=0.1) + beta, 0.2)
        result = self.modulated(place, x, gamma, beta, eps=0.1, negative_slope=0.2)
        torch.testing.assert_close(result, expected)

    @pytest.mark.parametrize("size", [(2, 3, 1, 1), (2, 2, 67, 65), (2, 16, 20, 17)], ids=str)
    @pytest.mark.parametrize("layout", [contiguous, channels_last])
    def test_a_constant_plane_is_beta(self, place, size, layout):
        """Nothing is left of it, also where a sum of its pixels is no multiple of them: exactly."""
        x = layout(torch.tensor([0.1, 1234.567]).view(2, 1, 1, 1).expand(size))
        gamma, beta, upstream = torch.randn(3, *size)
        assert torch.equal(self.modulated(place, x, gamma, beta), beta)
        _, of_gamma, of_beta = self.gradients(place, Inputs((x, gamma, beta), {}), upstream)
        assert torch.equal(of_gamma, torch.zeros(size))
        assert torch.equal(of_beta, upstream)

    def test_the_gradient_of_one_pixel_is_zero(self, place):
        tensors = tuple(torch.randn(3, 2, 4, 1, 1))
        of_x, *_ = self.gradients(place, Inputs(tensors, {}), torch.randn(2, 4, 1, 1))
        assert torch.equal(of_x, torch.zeros(2, 4, 1, 1))

    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    @pytest.mark.parametrize("layout", [contiguous, channels_last])
    def test_a_pixel_spoils_its_own_plane_alone(self, place, value, layout):
        tensors = torch.randn(3, 2, 5, 4, 6)
        upstream = torch.randn(2, 5, 4, 6)
        options = {"negative_slope": 0.2}
        others = torch.ones(2, 5, dtype=torch.bool)
        others[1, 2] = False

        def run() -> list[Tensor]:
            x, gamma, beta = map(layout, tensors)
            inputs = Inputs((x, gamma, beta), options)
            return [
                self.modulated(place, x, gamma, beta, **options),
                *self.gradients(place, inputs, upstream),
            ]

        clean = run()
        tensors[0, 1, 2, 3, 1] = value
        spoilt = run()
        assert spoilt[0][1, 2].isnan().all()
        assert spoilt[1][1, 2].isnan().all()
        for before, after in zip(clean, spoilt, strict=True):
            assert torch.equal(after[others], before[others])

    def test_gradients_lie_as_x_does(self, place):
        """Whatever the maps do; and the gradient's schema and fake tell so."""
        device, backend = place
        x, gamma, beta = self.op.inputs(self.op.plain, device).tensors
        for last in (False, True):
            given = (channels_last(x) if last else x, channels_last(gamma), beta)
            upstream = [torch.randn_like(x)]
            with Recorder(torch.ops.fv2v.modulate_backward.default) as recorder:
                grads = gradients(partial(modulate, backend=backend), Inputs(given, {}), upstream)
            order = torch.channels_last if last else torch.contiguous_format
            assert all(grad.is_contiguous(memory_format=order) for grad in grads)
            opcheck(recorder.target, recorder.args)

    def test_zero_counts_as_negative(self, place):
        """The kink itself: nothing else tells which side the gradient at 0 takes."""
        x, zero = torch.tensor([-1.0, 0.0, 1.0]).view(1, 1, 1, 3), torch.zeros(1, 1, 1, 3)
        inputs = Inputs((x, zero, zero), {"negative_slope": 0.25})
        *_, of_beta = self.gradients(place, inputs, torch.ones(1, 1, 1, 3))
        assert of_beta.flatten().tolist() == [0.25, 0.25, 1.0]

    def test_far_from_0(self, place, dtype):
        """By a thousand standard deviations: as accurate as stock PyTorch, and the truth knows no offset."""
        device, backend = place
        inputs = make(dtype, (2, 3, 16, 20), offset=1000.0).map(lambda t: t.to(device))
        x, *maps = inputs.map(Tensor.double).tensors
        near_0 = inputs._replace(tensors=(x - 1000, *maps))
        upstream = like_outputs(self.op.reference, inputs)
        function, reference = (partial(modulate, backend=name) for name in (backend, "reference"))
        results = [
            (
                *outputs(run, given),
                *gradients(run, given, [grad.to(given.tensors[0].dtype) for grad in upstream]),
            )
            for run, given in ((function, inputs), (reference, inputs), (reference, near_0))
        ]
        for slack, each in zip((2, 4, 4, 4), zip(*results, strict=True), strict=True):
            assert_as_accurate(*each, slack)

    @pytest.mark.parametrize("sizes", ["side_by_side", "many_channels"])
    def test_the_maps_may_lie_otherwise(self, place, dtype, sizes):
        """As x lies the result does; gamma and beta come as they come."""
        device, backend = place
        x, gamma, beta = self.op.inputs(sizes, device, dtype).tensors
        for arranged in ((channels_last(x), gamma, sliced(beta)), (sliced(x), channels_last(gamma), beta)):
            inputs = Inputs(arranged, {"negative_slope": 0.2})
            assert_matches(self.op, backend, inputs)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", CASES)
def test_the_cases_keep_off_the_kink(dtype, case):
    inputs = TestModulate.op.inputs(case, dtype=dtype)
    y = before_activation(*inputs.tensors, inputs.options["eps"])
    assert y.abs().min() > CLEAR / 2


def test_channels_last_in_and_out():
    x = channels_last(torch.randn(2, 3, 4, 5))
    out = modulate(x, torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5))
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert not out.is_contiguous()


PICTURE = torch.zeros(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("x", "gamma", "beta", "error", "message"),
    [
        (PICTURE[0], PICTURE, PICTURE, ValueError, r"x of shape \(B, C, H, W\), got \(3, 4, 5\)"),
        (
            PICTURE,
            PICTURE[:, :1],
            PICTURE,
            ValueError,
            r"gamma of shape \(B, C, H, W\) with B=2, C=3, H=4, W=5, got \(2, 1, 4, 5\)",
        ),
        (PICTURE.int(), PICTURE, PICTURE, TypeError, "x in float32, float16, bfloat16 or float64"),
        (PICTURE, PICTURE.half(), PICTURE, TypeError, "one dtype for x and gamma and beta"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(x, gamma, beta, error, message):
    with pytest.raises(error, match=f"^modulate: expected .*{message}"):
        modulate(x, gamma, beta)
