# SPDX-License-Identifier: Apache-2.0
"""`fv2v bandwidth`: clips and a model in, a folder of results out."""

from collections.abc import Sequence
from pathlib import Path

import torch

from fv2v import checkpoints
from fv2v.config import ModelConfig
from fv2v.io.paths import PathLike, check_new_folder
from fv2v.metrics.bandwidth import Study, drawn_clips, measure_bandwidth, read_clips, read_judge
from fv2v.metrics.bandwidth_report import check_plots, write_study
from fv2v.metrics.report import MetricNetworksUsed, describe
from fv2v.progress import FrameProgress
from fv2v.reenactor import Reenactor

DRAWN = "drawn"


def run_study(
    data: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    weights: checkpoints.Weights | None = None,
    clips: int = 8,
    frames: int = 125,
    fps: float = 25.0,
    judges: Sequence[PathLike] = (),
    device: str | torch.device | None = None,
    dtype: str | torch.dtype = "float32",
    progress: FrameProgress | None = None,
) -> Study:
    """Measure, and write the study into a new folder, whole or not at all.

    Args:
        data: "drawn" for held-out drawn heads; a video of a face crop, or a folder of them.
        output: the folder.
        preset, weights, device, dtype: as `Reenactor` takes them.
        clips, frames: how many, and how long at most.
        fps: frames a second.
        judges: files as `read_judge` takes them, named by their stems.
        progress: called after each clip.

    Raises:
        FileNotFoundError: a file or folder is absent.
        ValueError: arguments or files that cannot be used; matplotlib is missing.
    """
    check_plots()
    check_new_folder(output)
    if clips < 1 or frames < 2:
        raise ValueError(f"expected clips >= 1 and frames >= 2, got {clips} and {frames}")
    reenactor = Reenactor(preset, weights=weights, device=device, dtype=dtype)
    config, drawn = reenactor.config, str(data) == DRAWN
    measured = {Path(path).stem: read_judge(path, reenactor.device) for path in judges}
    if drawn:
        films = drawn_clips(config.image_size, clips, frames, fps)
    else:
        films = read_clips(data, config.image_size, clips, frames, config.resize)
    study = measure_bandwidth(reenactor, films, fps=fps, judges=measured, progress=progress)
    setting = describe(
        reenactor,
        weights=checkpoints.shipped(config) if weights is None else weights,
        data="held-out drawn heads" if drawn else str(data),
        seed=0 if drawn else None,
        scenes=study.clips,
        frames=study.frames,
        networks=MetricNetworksUsed(),
        batch_size=1,
    )
    write_study(output, study, setting)
    return study
