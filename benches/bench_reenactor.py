# SPDX-License-Identifier: Apache-2.0
"""A driving frame, whole and stage by stage, beside what the public releases do. The source is encoded once.

Three forms (frames.py) of the same random weights, which cost what trained ones cost, on the same pictures;
every row is timed in rounds with plain eager and with its own floor (floor.py). In First Order Motion's
frame L is in H's place; its whole frame in plain eager computes the source's features, as its release does
in every frame. `--full` adds what takes minutes: on a CPU the larger presets, batch 8 and torch.compile,
which takes about two minutes to compile `vox-256` for two cores and makes it no faster. A GPU runs all of it
anyway.

How memory is allocated decides much on a CPU: by default glibc gives large blocks back at once, and every
tensor's pages are made anew. CI and the results in results/ run with MALLOC_MMAP_THRESHOLD_=1000000000,
MALLOC_TRIM_THRESHOLD_=2000000000 and MALLOC_TOP_PAD_=100000000, which helps stock PyTorch most: a ratio is
larger without. The file's machine_info has what was set.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from frame_row import frame_memory
from frames import COMPILED, EAGER, PATH, STAGES, WHOLE, Stage, config_of, reenactor_of, stages_of
from measuring import DEVICE, TINY, wall

pytestmark = pytest.mark.benchmark(timer=wall)

PRESETS = ("vox-256", "fomm-256", "vox-256-spade", "liveportrait")
Forms = dict[str, dict[str, Stage]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    full = DEVICE == "cuda" or metafunc.config.getoption("full")
    presets = PRESETS if full else PRESETS[:1]
    given = [(preset, batch) for batch in ((1, 8) if full else (1,)) for preset in presets]
    ids = [preset if batch == 1 else f"{preset}, batch {batch}" for preset, batch in given]
    metafunc.parametrize("forms", given, ids=ids, indirect=True, scope="module")
    metafunc.parametrize("stage", STAGES)
    metafunc.parametrize("form", (EAGER, COMPILED, PATH) if full else (EAGER, PATH))


@pytest.fixture(scope="module")
def forms(request: pytest.FixtureRequest) -> Iterator[tuple[str, int, Forms]]:
    preset, batch = request.param
    torch.compiler.reset()  # after eight versions of a function it would run uncompiled
    with torch.inference_mode():
        eager, path = (reenactor_of(config_of(preset), form) for form in (EAGER, PATH))
        of = {EAGER: eager, COMPILED: eager, PATH: path}
        yield preset, batch, {form: stages_of(of[form], form, batch) for form in of}


def test_reenactor(benchmark, measure_frame, forms, stage, form):
    preset, batch, stages = forms
    frames = "one frame" if batch == 1 else f"{batch} frames"
    benchmark.group = f"{preset}, {frames}"
    memory = {}
    if stage == WHOLE:  # or a ratio means nothing
        shown, plain = (np.stack(stages[each][WHOLE].run()).astype(int) for each in (form, EAGER))
        assert np.abs(shown - plain).mean() < 1
    if (
        (stage, batch, DEVICE) == (WHOLE, 1, "cpu")
        and form != COMPILED
        and (preset == PRESETS[0] or not TINY)
    ):
        memory = frame_memory(preset, form)
    about = {"label": f"{stage}, {form}", "preset": preset, "batch": batch, "stage": stage, "form": form}
    measure_frame(stages[form][stage], stages[EAGER][stage], **about, **memory)
