# SPDX-License-Identifier: Apache-2.0
"""What every rewrite of the inference form saved: the whole frame with one pass after another applied.

Each row is timed in rounds with the row before it, so a ratio is what that one pass gained; milliseconds and
GFLOP are of the frame with all passes up to it. The first row is stock PyTorch, the second this project's
operators in the trained modules.
"""

from collections.abc import Callable, Iterator
from functools import cache

import pytest
import torch
from frames import EAGER, PATH, Stage, config_of, reenactor_of, whole_of
from measuring import DEVICE, wall

from fv2v import engine

pytestmark = pytest.mark.benchmark(timer=wall)

PASSES = engine.CPU_PASSES if DEVICE == "cpu" else engine.GPU_PASSES
ROWS = ("stock PyTorch", "operators", *(rewrite.__name__ for rewrite in PASSES))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    full = DEVICE == "cuda" or metafunc.config.getoption("full")
    presets = ("vox-256", "vox-256-spade", "liveportrait") if full else ("vox-256",)
    metafunc.parametrize("preset", presets, scope="module")
    metafunc.parametrize("row", range(len(ROWS)), ids=ROWS)


@pytest.fixture(scope="module")
def rewritten(preset: str) -> Iterator[Callable[[int], Stage]]:
    """rewritten(row): the frame with the passes up to that row."""

    @cache
    def stage(row: int) -> Stage:
        form = PATH if row else EAGER
        with pytest.MonkeyPatch.context() as patch:
            for name in ("CPU_PASSES", "GPU_PASSES"):
                patch.setattr(engine, name, PASSES[: max(row - 1, 0)])
            return whole_of(reenactor_of(config_of(preset), form), form)

    with torch.inference_mode():
        yield stage


def test_rewrites(benchmark, measure_frame, preset, rewritten, row):
    benchmark.group = f"{preset}, what each rewrite saved"
    before = rewritten(max(row - 1, 0))
    measure_frame(rewritten(row), before, label=ROWS[row], preset=preset, rewrite=row)
