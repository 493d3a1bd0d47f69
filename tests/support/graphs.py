# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for CUDA graphs: what a frame's path does can be seen without a GPU."""

from collections.abc import Callable, Sequence
from time import monotonic

from tiny import lively
from torch import Tensor

from fv2v import Reenactor
from fv2v.engine.cuda_graph import capture
from fv2v.engine.graph_cache import FrameGraphs
from fv2v.geometry import POSED

STAGES = ("extract", "render")


def called(function: Callable[[], Sequence[Tensor]]) -> tuple[Callable[[], None], Sequence[Tensor]]:
    """In place of a graph `function`, called when that would be replayed; results lie where the first did."""
    results = [result.clone() for result in function()]

    def replay() -> None:
        for place, result in zip(results, function(), strict=True):
            place.copy_(result)

    return replay, results


class Counted:
    """`by`, and how often it was called; of each stage, when it was replayed and how often it ran without."""

    def __init__(self, by: Callable = called) -> None:
        self.by, self.count, self.inside = by, 0, False
        self.replays = {stage: [] for stage in STAGES}
        self.outside = dict.fromkeys(STAGES, 0)

    def __call__(
        self, function: Callable[[], Sequence[Tensor]]
    ) -> tuple[Callable[[], None], Sequence[Tensor]]:
        self.count += 1
        self.inside = True
        replay, results = self.by(function)
        self.inside = False
        stage = STAGES[0] if len(results) >= len(POSED) else STAGES[1]

        def counted() -> None:
            self.replays[stage].append(monotonic())
            self.inside = True
            replay()
            self.inside = False

        return counted, results

    def watch(self, reenactor: Reenactor) -> None:
        """Counts the runs of the networks, one of each stage, that no graph makes."""
        model = reenactor.networks
        for stage, module in zip(STAGES, (model.head or model.canonical, model.generator), strict=True):
            module.register_forward_hook(lambda *_, stage=stage: self._ran(stage))

    def _ran(self, stage: str) -> None:
        self.outside[stage] += not self.inside


def on_the_path(config, device, **options) -> Reenactor:
    """One whose frames are captured, or seem so."""
    reenactor = lively(Reenactor(config, weights="random", device=device, **options))
    by = Counted(capture if device == "cuda" else called)
    runner = reenactor.runner
    runner.graphs = FrameGraphs(runner.networks, runner.device, runner.dtype, by)
    return reenactor


def captures(reenactor: Reenactor) -> int:
    return reenactor.runner.graphs.capture.count
