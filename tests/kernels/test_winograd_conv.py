# SPDX-License-Identifier: Apache-2.0
"""winograd_conv: the convolution itself in float64, and not many times its error in float32."""

import pytest
import torch
from layouts import LAYOUTS
from torch import Tensor
from torch.library import opcheck
from torch.nn.functional import avg_pool2d, conv2d, conv3d, interpolate, leaky_relu

from fv2v_kernels import available, outputs_innermost, winograd_conv

BACKENDS = available("winograd_conv", "cpu")
# x, outputs, kernel: sizes that no tile divides, channels that fill no vector
CASES = {
    "picture": ((2, 5, 9, 11), 7, (3, 3)),
    "wide": ((1, 33, 13, 6), 83, (3, 3)),  # 6 panels: in threes
    "five_panels": ((1, 17, 6, 5), 70, (1, 3, 3)[1:]),
    "volume": ((2, 20, 4, 6, 7), 35, (3, 3, 3)),
    "odd_depth": ((1, 18, 5, 6, 7), 33, (3, 3, 3)),
    "one_slice": ((1, 16, 1, 6, 7), 16, (3, 3, 3)),
    "flat": ((1, 16, 3, 5, 9), 16, (1, 3, 3)),
    "deep": ((1, 19, 5, 9, 10), 22, (7, 7, 7)),
    "large_kernel": ((2, 3, 8, 7), 3, (7, 7)),
    "one_pixel": ((1, 16, 1, 1), 16, (3, 3)),
    "several_blocks": ((1, 65, 61, 58), 40, (7, 7)),
    "several_chunks": (
        (1, 334, 2, 3, 4),
        270,
        (3, 3, 3),
    ),  # of weights: sixteen panels of seventeen at a time
}
OPTIONS = {
    "plain": {},
    "relu": {"negative_slope": 0.0},
    "leaky_addend": {"negative_slope": 0.2, "adds": True},
    "doubling": {"doubling": True, "negative_slope": 0.0},
    "pooling": {"pooling": True, "negative_slope": 0.0},
    "all": {"doubling": True, "pooling": True, "negative_slope": 0.1, "adds": True},
}


def make(case: str, dtype: torch.dtype, doubling: bool = False, adds: bool = False) -> tuple[Tensor, ...]:
    """x, weight, bias, and what is added."""
    shape, N, kernel = CASES[case]
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(N, shape[1], *kernel, generator=rng, dtype=dtype)
    large = [size * (1 + doubling) for size in shape[-2:]]
    addend = torch.randn(shape[0], N, *shape[2:-2], *large, generator=rng, dtype=dtype) if adds else None
    x, bias = torch.randn(shape, generator=rng, dtype=dtype), torch.randn(N, generator=rng, dtype=dtype)
    return x, weight / weight[0].numel() ** 0.5, bias, addend


def stock(x, weight, bias, addend, doubling=False, pooling=False, negative_slope=1.0):
    flat = (1,) * (x.dim() - 4)
    if doubling:
        x = interpolate(x, scale_factor=(*flat, 2, 2), mode="nearest")
    conv = conv3d if x.dim() == 5 else conv2d
    y = conv(x, weight, bias, padding=[size // 2 for size in weight.shape[2:]])
    y = leaky_relu(y if addend is None else y + addend, negative_slope)
    if not pooling:
        return y
    return avg_pool2d(y.flatten(0, -4), 2).unflatten(0, y.shape[:-3]) if y.dim() == 5 else avg_pool2d(y, 2)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_is_the_convolution(case, options, backend):
    options = dict(OPTIONS[options])
    x, weight, bias, addend = make(
        case, torch.float64, options.get("doubling", False), options.pop("adds", False)
    )
    if options.get("pooling") and min(x.shape[-2:]) == 1 and not options.get("doubling"):
        pytest.skip("nothing to pool")
    expected = stock(x, weight, bias, addend, **options)
    result = winograd_conv(x, weight, bias, addend, **options, backend=backend)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-10)
    last = torch.channels_last_3d if x.dim() == 5 else torch.channels_last
    assert result.is_contiguous(memory_format=last)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_float32_is_a_few_times_as_far_off_as_stock(case, backend):
    """In root mean square: some 2.5 times a direct sum's error, and stock sums in several parts: 12."""
    x, weight, bias, _ = make(case, torch.float32)
    exact = stock(x.double(), weight.double(), bias.double(), None)
    result = winograd_conv(x, weight, bias, backend=backend)
    plain = stock(x, weight, bias, None)
    error, allowed = ((each.double() - exact).square().mean().sqrt() for each in (result, plain))
    assert error <= 12 * max(allowed, 2**-25 * exact.abs().max())


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_reads_any_layout(layout):
    x, weight, bias, _ = make("volume", torch.float32)
    expected = winograd_conv(x, weight, bias)
    assert torch.equal(winograd_conv(layout(x), weight, bias), expected)
    assert torch.equal(winograd_conv(x, outputs_innermost(weight), bias), expected)


def test_reads_some_of_the_channels_where_they_lie():
    x = torch.randn(2, 48, 7, 9).to(memory_format=torch.channels_last)
    weight, bias = torch.randn(8, 16, 3, 3), torch.randn(8)
    some = x[:, 16:32]
    assert torch.equal(winograd_conv(some, weight, bias), winograd_conv(some.contiguous(), weight, bias))


def test_depends_on_no_thread_count():
    x, weight, bias, _ = make("several_blocks", torch.float32)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(winograd_conv(x, weight, bias))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize("backend", BACKENDS)
def test_is_an_operator(backend):
    x, weight, bias, addend = make("volume", torch.float32, adds=True)
    arguments = (
        x.to(memory_format=torch.channels_last_3d),
        outputs_innermost(weight),
        bias,
        addend.to(memory_format=torch.channels_last_3d),
        False,
        True,
        0.0,
        backend,
    )
    opcheck(torch.ops.fv2v.winograd_conv.default, arguments)
    run = torch.compile(winograd_conv, fullgraph=True, backend="aot_eager")
    assert torch.equal(run(x, weight, bias, backend=backend), winograd_conv(x, weight, bias, backend=backend))


def test_gradients_are_the_convolutions():
    x, weight, bias, _ = make("picture", torch.float64)
    inputs = [each.requires_grad_() for each in (x, weight, bias)]
    found = torch.autograd.grad(winograd_conv(*inputs).square().sum(), inputs)
    expected = torch.autograd.grad(stock(*inputs, None).square().sum(), inputs)
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": torch.zeros(1, 4, 5, 5)}, r"shape \(7, 4, r, r\) with r of 3 or 7, got \(7, 5, 3, 3\)"),
        ({"x": torch.zeros(5, 5)}, r"expected x of shape \(B, C, \[D,\] H, W\), got \(5, 5\)"),
        ({"weight": torch.zeros(7, 5, 5, 5)}, r"with r of 3 or 7, got \(7, 5, 5, 5\)"),
        ({"weight": torch.zeros(7, 5, 3, 3, 3)}, r"shape \(7, 5, r, r\) with r of 3 or 7, got"),
        ({"bias": torch.zeros(17)}, r"expected a weight of shape \(17, 5, r, r\)"),
        ({"addend": torch.zeros(2, 7, 9, 10)}, r"expected an addend of shape \(2, 7, 9, 11\)"),
    ],
    ids=["channels", "x", "kernel", "depth", "bias", "addend"],
)
def test_what_does_not_fit_is_named(changed, message):
    x, weight, bias, _ = make("picture", torch.float32)
    given = {"x": x, "weight": weight, "bias": bias} | changed
    with pytest.raises(ValueError, match=message):
        winograd_conv(**given)


def test_half_precision_is_refused():
    x, weight, bias, _ = make("picture", torch.float32)
    with pytest.raises(TypeError, match=r"all in float32, or all in float64; x is in torch.float16"):
        winograd_conv(x.half(), weight, bias)
