# SPDX-License-Identifier: Apache-2.0
"""Results and the setting they were measured in: as JSON, and as tables for the terminal."""

import json
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from rich.markup import escape
from rich.table import Table

from fv2v import checkpoints
from fv2v.extras import install_hint
from fv2v.io.digest import sha256_of
from fv2v.io.paths import PathLike, check_input, check_output, whole_file
from fv2v.metrics.evaluation import PersonScore, Results
from fv2v.metrics.lpips import GET_WEIGHTS
from fv2v.metrics.pictures import ms_ssim_scales
from fv2v.metrics.protocols import YAWS
from fv2v.metrics.scores import Likeness, MotionError, Protocols, Sharpness
from fv2v.reenactor import Reenactor

SUFFIXES = (".json",)
PROTOCOLS = {
    "same_identity": "same identity",
    "unmoved": "source unmoved",
    "free_view": "free view ±20°",
    "frontalization": "frontalization",
    "cross_absolute": "cross identity, absolute",
    "cross_relative": "cross identity, relative",
}
# fields of `Results`, and their names in the table: of all protocols, and of the same identity only
MODELS = {"model": "model", "true_keypoints": "true keypoints", "unchanged": "source unchanged"}
CONTROLS = {"mean_frame": "mean of the frames", "other_frame": "another frame's motion"}
COLUMNS = {  # of `Likeness`: heading, decimals
    "pictures": ("pictures", 0),
    "l1": ("L1", 2),
    "l1_ratio": ("ratio", 3),
    "psnr": ("PSNR", 2),
    "psnr_gain": ("gain", 2),
    "ssim": ("SSIM", 3),
    "ms_ssim": ("MS-SSIM", 3),
    "lpips": ("LPIPS", 3),
    "fid": ("FID", 2),
    "akd": ("AKD", 2),
    "csim": ("CSIM", 3),
}


@dataclass(frozen=True, slots=True)
class WeightsFile:
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class MetricNetworksUsed:
    """The files of `MetricNetworks`; None where there was none."""

    features: WeightsFile | None = None
    landmarks: WeightsFile | None = None
    embedding: WeightsFile | None = None
    alexnet: WeightsFile | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """Which model was measured, on which data and machine."""

    model: str  # its config's name
    weights: tuple[WeightsFile, ...]  # (): random weights
    data: str
    seed: int | None  # of drawn heads
    scenes: int  # identities, or clips
    frames: int  # of each, the source included
    size: int  # pixels
    ms_ssim_scales: int
    networks: MetricNetworksUsed
    batch_size: int
    dtype: str
    device: str
    threads: int
    torch: str
    fv2v: str
    date: str  # UTC


@dataclass(frozen=True, slots=True)
class Report:
    setting: Setting
    results: Results
    people: tuple[PersonScore, ...] = ()  # one a scene

    def save(self, path: PathLike) -> None:
        """Write as JSON, with the names of the dataclasses' fields. The file appears whole or not at all."""
        path = check_output(path, SUFFIXES)
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1, allow_nan=False) + "\n")


def describe(
    reenactor: Reenactor,
    *,
    weights: checkpoints.Weights,
    data: str,
    seed: int | None,
    scenes: int,
    frames: int,
    networks: MetricNetworksUsed,
    batch_size: int,
) -> Setting:
    """The setting of an evaluation that runs here and now."""
    size = reenactor.config.output_size
    return Setting(
        model=reenactor.config.name,
        weights=() if weights == "random" else tuple(map(weights_file, checkpoints.find(weights))),
        data=data,
        seed=seed,
        scenes=scenes,
        frames=frames,
        size=size,
        ms_ssim_scales=ms_ssim_scales(size),
        networks=networks,
        batch_size=batch_size,
        dtype=str(reenactor.dtype).removeprefix("torch."),
        device=_hardware(reenactor.device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        fv2v=_version(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def weights_file(path: Path) -> WeightsFile:
    """A file's name, and the checksum that identifies it."""
    path = check_input(path)
    return WeightsFile(path.name, sha256_of(path))


def tables(report: Report) -> list[Table]:
    """One table of picture scores by protocol; one of the yaw check, errors of motion and time."""
    return [_likenesses(report), _others(report)]


def _likenesses(report: Report) -> Table:
    setting = report.setting
    title = f"{setting.model} on {setting.data}, {setting.scenes} scenes of up to {setting.frames} frames"
    rows = [
        (name, label, likeness)
        for field, name in PROTOCOLS.items()
        for label, likeness in _likenesses_of(report.results, field)
        if likeness.measured
    ]
    measured = [c for c in COLUMNS if any(getattr(likeness, c) is not None for _, _, likeness in rows)]
    caption = "L1 of 255; ratio and gain against the unchanged source"
    if report.results.true_keypoints is not None:
        caption += "; true keypoints: the model's pictures by the renderer's keypoints and motion"
    if "ms_ssim" in measured:
        caption += f". MS-SSIM of {setting.ms_ssim_scales} scales"
    table = Table("protocol", "pictures of", title=title, caption=caption, title_justify="left")
    for column in measured:
        table.add_column(COLUMNS[column][0], justify="right")
    before = None
    for name, label, likeness in rows:
        if name != before:
            table.add_section()
        table.add_row(name if name != before else "", label, *_cells(likeness, measured))
        before = name
    return table


def _others(report: Report) -> Table:
    results, setting = report.results, report.setting
    table = Table(show_header=False, box=None)
    for label, protocols in _models(results):
        if check := protocols.yaw_check:
            by_yaw = ", ".join(f"{yaw:+d}: {hits:.2f}" for yaw, hits in zip(YAWS, check.by_yaw, strict=True))
            table.add_row(
                f"yaw check, {label}", f"{check.hits:.3f}; without 0: {check.hits_without_0:.3f} ({by_yaw})"
            )
    for label, protocols in _models(results):
        if label != MODELS["unchanged"] and (sharpness := protocols.sharpness):
            table.add_row(f"sharpness, {label}", _sharpness(sharpness))
    if motion := results.motion:
        for name, value in _motion(motion):
            table.add_row(name, value)
    elif setting.seed is not None:
        table.add_row(
            "pose and keypoints", "not measured: the model's keypoints are not the drawn heads' landmarks"
        )
    if results.model.same_identity.ssim is None:
        hint = escape(install_hint("train"))  # rich would take [train] for markup
        table.add_row("SSIM, MS-SSIM and LPIPS", f"not measured: they need torchmetrics: {hint}")
    elif results.model.same_identity.lpips is None:
        table.add_row("LPIPS", f"not measured: it needs {GET_WEIGHTS}, by --alexnet or where torch keeps it")
    table.add_row(
        "a frame",
        f"{1e3 * results.seconds_per_frame:.3g} ms, batches of {setting.batch_size}, {setting.dtype}, "
        f"{setting.device}",
    )
    return table


def _sharpness(sharpness: Sharpness) -> str:
    """Gradient energy over the true pictures'."""
    known = [(each.name, getattr(sharpness, each.name)) for each in fields(sharpness)]
    return ", ".join(f"{name} {value:.3f}" for name, value in known if value is not None)


def _motion(motion: MotionError) -> Sequence[tuple[str, str]]:
    return (
        ("pose error", f"yaw {motion.yaw:.2f}°, pitch {motion.pitch:.2f}°, roll {motion.roll:.2f}°"),
        ("keypoint error", f"{motion.keypoints:.4f} in x and y, the picture being 2 across"),
        ("expression error", f"{motion.expression:.3f}, 1 for no expression"),
    )


def _likenesses_of(results: Results, protocol: str) -> list[tuple[str, Likeness]]:
    """Labels and scores of the model and its controls in one protocol."""
    found = [(label, getattr(protocols, protocol)) for label, protocols in _models(results)]
    if protocol == "same_identity":
        found += [(label, getattr(results, name)) for name, label in CONTROLS.items()]
    return [(label, likeness) for label, likeness in found if likeness is not None]


def _models(results: Results) -> list[tuple[str, Protocols]]:
    found = [(label, getattr(results, name)) for name, label in MODELS.items()]
    return [(label, protocols) for label, protocols in found if protocols is not None]


def _cells(likeness: Likeness, columns: Sequence[str]) -> list[str]:
    values = [(getattr(likeness, column), COLUMNS[column][1]) for column in columns]
    return ["" if value is None else f"{value:.{decimals}f}" for value, decimals in values]


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    listed = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", listed.read_text()) if listed.exists() else None
    return found[1] if found else platform.machine()


def _version() -> str:
    try:
        return version("fv2v")
    except PackageNotFoundError:
        return "not installed"
