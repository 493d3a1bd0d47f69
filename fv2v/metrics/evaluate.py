# SPDX-License-Identifier: Apache-2.0
"""`fv2v evaluate`: measure a model, and write the report and a contact sheet."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fv2v import checkpoints
from fv2v.config import ModelConfig
from fv2v.io.image import IMAGE_SUFFIXES
from fv2v.io.paths import PathLike, check_input, check_output
from fv2v.metrics.clips import Clips
from fv2v.metrics.evaluation import evaluate
from fv2v.metrics.held_out import HeldOut
from fv2v.metrics.html import SUFFIXES as PAGES
from fv2v.metrics.html import write_html
from fv2v.metrics.lpips import Lpips, kept_by_torch
from fv2v.metrics.report import SUFFIXES, MetricNetworksUsed, Report, describe, weights_file
from fv2v.metrics.scores import Distance, MetricNetworks
from fv2v.metrics.sheet import write_sheet
from fv2v.progress import FrameProgress
from fv2v.reenactor import Reenactor

IDENTITIES, PAIRS = 64, 32  # drawn heads, and how many of them another face drives, too
HEADS = "held-out drawn heads"  # their name in the report


@dataclass(frozen=True, slots=True)
class MetricNetworkFiles:
    """Programs of torch.export (.pt2) for `MetricNetworks`, which take any number of pictures; and AlexNet.

    LPIPS takes torchvision's AlexNet from `alexnet`, a file as `Lpips.load` takes it, or from where torch
    keeps it; without either it is left out.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a .pt2 without `trust`: torch.export reads pickles in it, which can run any code.
    """

    features: Path | None = None
    landmarks: Path | None = None
    embedding: Path | None = None
    trust: bool = False  # whether these may run code here
    alexnet: Path | None = None

    def __post_init__(self) -> None:
        found = [check_input(path) for path in (self.features, self.landmarks, self.embedding) if path]
        if found and not self.trust:
            raise ValueError(
                f"{found[0]}: a .pt2 can run any code when it is read; give trust=True (--trust) where you "
                "made it yourself or trust who did"
            )

    def load(self, device: torch.device) -> MetricNetworks:
        """The networks on `device`, which they must be exported for. Their results are on the CPU."""
        found = (self.features, self.landmarks, self.embedding)
        features, landmarks, embedding = (None if path is None else _program(path, device) for path in found)
        return MetricNetworks(features, landmarks, embedding, _lpips(self.found_alexnet(), device))

    def used(self) -> MetricNetworksUsed:
        """Their names and checksums."""
        found = (self.features, self.landmarks, self.embedding, self.found_alexnet())
        return MetricNetworksUsed(*(None if path is None else weights_file(path) for path in found))

    def found_alexnet(self) -> Path | None:
        """The file for LPIPS; None: there is none, or torchmetrics is not installed."""
        return self.alexnet or kept_by_torch()


def measure(
    data: PathLike | None = None,
    preset: str | ModelConfig | None = None,
    *,
    weights: checkpoints.Weights | None = None,
    identities: int | None = None,
    frames: int = 16,
    seed: int = 0,
    output: PathLike | None = None,
    sheet: PathLike | None = None,
    html: PathLike | None = None,
    rows: int = 4,
    networks: MetricNetworkFiles | None = None,
    batch_size: int = 1,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype = "float32",
    progress: FrameProgress | None = None,
) -> Report:
    """Evaluate a model; write a report, a contact sheet and a page where asked, each whole or not at all.

    Args:
        data: a folder of videos; None: `HeldOut` heads.
        preset, weights, device, dtype: as `Reenactor` takes them.
        identities: heads, 64 by default, or clips, by default all.
        frames: of each, at most; the first is the source.
        seed: of the heads.
        output: .json to write.
        sheet: picture to write.
        html: page to write, with the sheet on it; of weights in a run's folder, the run's curves too.
        rows: scenes on the sheet.
        networks: files of networks for FID, AKD, CSIM and LPIPS.
        batch_size: frames that go through the networks together.
        progress: called after each scene.

    Raises:
        FileNotFoundError: no such folder or file.
        ValueError: arguments or files that cannot be used; before any work is done.
    """
    networks = networks or MetricNetworkFiles()
    if rows < 1:
        raise ValueError(f"expected at least 1 row on the sheet, got {rows}")
    if output is not None:
        check_output(output, SUFFIXES)
    if sheet is not None:
        check_output(sheet, IMAGE_SUFFIXES)
    if html is not None:
        check_output(html, PAGES)
    used = networks.used()
    reenactor = Reenactor(preset, weights=weights, device=device, dtype=dtype)
    scenes = _scenes(data, reenactor, identities, frames, seed)

    def report_progress(done: int) -> None:
        if progress is not None:
            progress(done * frames, len(scenes) * frames)

    found = evaluate(
        reenactor,
        scenes,
        networks=networks.load(reenactor.device),
        batch_size=batch_size,
        examples=0 if sheet is None and html is None else rows,
        progress=report_progress,
    )
    setting = describe(
        reenactor,
        weights=checkpoints.shipped(reenactor.config) if weights is None else weights,
        data=HEADS if data is None else Path(data).name,
        seed=seed if data is None else None,
        scenes=found.scenes,
        frames=frames,
        networks=used,
        batch_size=batch_size,
    )
    report = Report(setting, found.results, tuple(found.people))
    if output is not None:
        report.save(output)
    if sheet is not None:
        write_sheet(sheet, found.examples)
    if html is not None:
        write_html(html, report, found.examples, _run_of(weights))
    return report


def _run_of(weights: checkpoints.Weights | None) -> Path | None:
    """The folder in which weights lie, perhaps a training run's."""
    if not isinstance(weights, str | os.PathLike) or weights == "random":
        return None
    path = Path(weights)
    return path if path.is_dir() else path.parent


def _scenes(
    data: PathLike | None, reenactor: Reenactor, identities: int | None, frames: int, seed: int
) -> HeldOut | Clips:
    size = reenactor.config.output_size
    if data is not None:
        return Clips(data, size, frames, identities)
    count = IDENTITIES if identities is None else identities
    return HeldOut(
        size=size, identities=count, frames=frames, seed=seed, pairs=PAIRS, device=reenactor.device
    )


def _lpips(alexnet: Path | None, device: torch.device) -> Distance | None:
    if alexnet is None:
        return None
    network = Lpips.load(alexnet).to(device)
    return lambda images, true: network(images.to(device), true.to(device)).cpu()


def _program(path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    path = check_input(path)
    try:
        network = torch.export.load(path).module()
    except Exception as error:  # torch documents none: anything that its reader raises
        raise ValueError(f"{path}: expected a program of torch.export (.pt2): {error}") from None

    def run(pictures: Tensor) -> Tensor:
        return network(pictures.to(device)).cpu()

    return run
