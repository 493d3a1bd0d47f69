# SPDX-License-Identifier: Apache-2.0
"""Every operator against its reference on random calls: a few, and with `--slow` 2,000 of `cpu` and 64
of `triton` in its interpreter.

They are the same in every run. `FV2V_SEED=1 pytest --slow tests/kernels/test_differential.py` explores
others, and `FV2V_CASES=40000` as many. What fails is shrunk and printed as a `Case(...)`, with its seed:
`check(Case(...), "cpu")` runs it again.
"""

import os
from typing import Any

import pytest
import torch
from differential import Case, check
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from keypoints import AFFINES
from layouts import LAYOUTS
from op_contract import FLOATS, PLACES, require

from fv2v_kernels import OPS
from fv2v_kernels._native import INTERPRETED

CASES = int(os.environ.get("FV2V_CASES", 64 if INTERPRETED else 2000))  # all operators together
FEW = 40  # of an operator, by default
SEED = int(os.environ.get("FV2V_SEED", 0))
LONGEST = 3 if INTERPRETED else 7  # of an axis: the interpreter is slow
BACKENDS = [backend for device, backend in PLACES if device == "cpu" and backend != "reference"]

batches, sizes = st.integers(1, 3), st.tuples(*[st.integers(1, LONGEST)] * 3)
formats = st.sampled_from((torch.contiguous_format, torch.channels_last_3d))
contrasts, mild = st.sampled_from((0.5, 2.0, 20.0)), st.sampled_from((0.5, 2.0))
reads = {"align_corners": st.booleans(), "memory_format": formats}
thresholds = {"mask_threshold": st.sampled_from((0.0, 0.05, 0.2)), "return_mask": st.booleans()}


def points(batch: int) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "batch": st.just(batch),
            "keypoints": st.integers(1, 5),
            "affine": st.sampled_from(AFFINES),
            "reach": st.sampled_from((0.5, 1.0, 3.0)),
        }
    )


# of two pixels the normalised ones are -1 and 1, whatever they are: the gradient cancels to roundings
pictures = st.tuples(*[st.integers(1, LONGEST + 6)] * 2).filter(lambda size: size[0] * size[1] != 2)
channels = st.one_of(st.integers(1, 5), st.sampled_from((8, 9, 17)))


def volumes(batch: int) -> st.SearchStrategy[dict[str, Any]]:
    """A third of them of batch 1, which serves every batch."""
    return st.fixed_dictionaries(
        {"batch": st.sampled_from((1, batch, batch)), "channels": channels, "size": sizes}
    )


def calls(op: str, batch: int) -> st.SearchStrategy[dict[str, Any]]:
    """What `differential.MAKERS` takes."""
    flows = {"points": points(batch)}
    return st.fixed_dictionaries(
        {
            "keypoint_flow": {"size": sizes, **flows},
            "warp_candidates": {
                "volume": volumes(batch),
                "variance": st.sampled_from((0.01, 0.3)),
                **reads,
                **flows,
            },
            "compose_flow": {"size": sizes, "contrast": contrasts, **thresholds, **flows},
            "compose_warp": {
                "volume": volumes(batch),
                "contrast": mild,  # a mask that picks the background alone ends on voxels
                "return_flow": st.booleans(),
                **reads,
                **thresholds,
                **flows,
            },
            "mask_head": {
                "taps": st.sampled_from((1, 3, 7)),
                "volume": volumes(batch),
                "contrast": mild,
                "return_flow": st.booleans(),
                **reads,
                **thresholds,
                **flows,
            },
            "warp3d": {
                "volume": volumes(batch),
                "batch": st.just(batch),
                "grid": sizes,
                "on_voxels": st.booleans(),
                "strays": st.booleans(),
                **reads,
            },
            "soft_argmax3d": {
                "batch": st.just(batch),
                "keypoints": st.integers(1, 5),
                "size": sizes,
                "maps": st.booleans(),
                "contrast": mild,  # where one voxel takes all, the gradient cancels to roundings
                "temperature": st.sampled_from((0.1, 1.0)),
            },
            "modulate": {
                "batch": st.just(batch),
                "channels": channels,
                "size": pictures,
                "offset": st.sampled_from((0.0, 3.0)),
                "eps": st.sampled_from((1e-5, 0.1)),
                "negative_slope": st.sampled_from((0.0, 0.2, 1.0)),
            },
        }[op]
    )


@st.composite
def cases(draw: st.DrawFn, op: str) -> Case:
    made = draw(calls(op, draw(batches)))
    needed = draw(st.tuples(*[st.booleans()] * 5).filter(any) | st.just((True,) * 5))
    if made.get("on_voxels"):
        needed = (True, False)  # what the grid's gradient is on a voxel, rounding decides
    layouts = draw(st.tuples(*[st.integers(0, len(LAYOUTS) - 1)] * 5))
    dtypes = FLOATS if op != "keypoint_flow" else (torch.float32, torch.float64)
    return Case(op, draw(st.sampled_from(dtypes)), made, layouts, needed, draw(st.integers(0, 2**31)))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("backend", BACKENDS, ids="cpu-{}".format)
def test_agrees_on_a_few_calls(op: str, backend: str) -> None:
    compare(op, backend, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("backend", BACKENDS, ids="cpu-{}".format)
def test_agrees_with_the_reference(op: str, backend: str) -> None:
    compare(op, backend, CASES // len(OPS) + 1)


def compare(op: str, backend: str, count: int) -> None:
    require(op, "cpu", backend)

    @seed(SEED)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,  # what failed before has no say
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(case=cases(op))
    def run(case: Case) -> None:
        check(case, backend)

    run()
