# SPDX-License-Identifier: Apache-2.0
"""Scores of pictures and motions: accumulated scene by scene, reported as means."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from fv2v.data.synthetic import REGIONS
from fv2v.geometry import keypoints_of
from fv2v.geometry.rotation import euler_degrees
from fv2v.metrics.akd import Detector, akd
from fv2v.metrics.csim import Embedding, csim
from fv2v.metrics.fid import FrechetDistance, Network
from fv2v.metrics.pictures import gradient_distance, gradient_energy, knows_ssim, l1, ms_ssim, psnr, ssim
from fv2v.metrics.protocols import YAWS, Outputs, Reading, TruePictures

NEAR_YAWS = (-20, 20)  # of YAWS, the free views whose pictures are compared
MEASURES = {"l1": l1, "psnr": psnr}
Distance = Callable[[Tensor, Tensor], Tensor]  # pictures and true ones (B, 3, H, W) in [0, 1] -> (B,)
OF_TORCHMETRICS = {"ssim": ssim, "ms_ssim": ms_ssim}  # left out where it is not installed


@dataclass(frozen=True, slots=True)
class MetricNetworks:
    """The networks that some metrics need. Where one is None, its number is left out."""

    features: Network | None = None  # FID
    landmarks: Detector | None = None  # AKD
    embedding: Embedding | None = None  # CSIM
    lpips: Distance | None = None  # as `Lpips`


@dataclass(frozen=True, slots=True)
class Likeness:
    """How close the pictures of one protocol are to the true ones: means over pictures. None: not known."""

    pictures: int
    l1: float | None = None  # of 255
    psnr: float | None = None  # dB
    ssim: float | None = None  # as ms_ssim: where torchmetrics is installed
    ms_ssim: float | None = None
    lpips: float | None = None
    fid: float | None = None  # of 2 pictures or more; without true ones, against the source's own clip
    akd: float | None = None  # pixels
    csim: float | None = None  # with the source
    l1_ratio: float | None = None  # to the L1 of the unchanged source: a ratio of sums
    psnr_gain: float | None = None  # over the PSNR of the unchanged source

    @property
    def measured(self) -> bool:
        """Whether anything is known but how many pictures there are."""
        return any(getattr(self, each.name) is not None for each in fields(self) if each.name != "pictures")

    def against(self, still: "Likeness") -> "Likeness":
        """With ratio and gain; `still` is the unchanged source in place of the same pictures."""
        if self.l1 is None or self.psnr is None or still.l1 is None or still.psnr is None:
            return self
        ratio = self.l1 / still.l1 if still.l1 else None
        return replace(self, l1_ratio=ratio, psnr_gain=self.psnr - still.psnr)


@dataclass(frozen=True, slots=True)
class YawCheck:
    """How often the output for a yaw is closer to the true picture there than to those 10 degrees away.

    The distance is `gradient_distance`. Random outputs get 1/3; a still picture gets 1/7, and 0 without the
    yaw 0.
    """

    hits: float  # of all YAWS
    hits_without_0: float
    by_yaw: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Sharpness:
    """Gradient energy of the driven pictures over that of the true ones: ratios of sums; 1 is as sharp.

    By region where the data knows them; the face includes eyes and mouth. None: not known, or nothing there.
    """

    whole: float | None = None
    face: float | None = None
    eyes: float | None = None
    mouth: float | None = None
    hair: float | None = None
    background: float | None = None


@dataclass(frozen=True, slots=True)
class Protocols:
    """One model in all protocols; None where there are no true pictures, or no driver."""

    same_identity: Likeness
    free_view: Likeness  # at yaws of -20 and 20 degrees
    yaw_check: YawCheck | None
    frontalization: Likeness
    cross_absolute: Likeness | None
    cross_relative: Likeness | None
    unmoved: Likeness | None = None  # its ratio is to the unchanged source in place of driven pictures
    sharpness: Sharpness | None = None  # of the same identity's pictures

    def against(self, still: "Protocols") -> "Protocols":
        """With ratio and gain everywhere; `still` are the unchanged sources."""
        absolute, relative = self.cross_absolute, self.cross_relative
        return replace(
            self,
            same_identity=self.same_identity.against(still.same_identity),
            free_view=self.free_view.against(still.free_view),
            frontalization=self.frontalization.against(still.frontalization),
            cross_absolute=absolute and still.cross_absolute and absolute.against(still.cross_absolute),
            cross_relative=relative and still.cross_relative and relative.against(still.cross_relative),
            unmoved=self.unmoved and self.unmoved.against(still.same_identity),
        )


@dataclass(frozen=True, slots=True)
class MotionError:
    """Errors of the motion and keypoints that are read in frames: means over frames."""

    yaw: float  # degrees
    pitch: float
    roll: float
    keypoints: float  # distance in x and y; the picture is 2 across
    expression: float  # Σ |δ - true δ| / Σ |true δ|: 1 for δ = 0


class Comparison:
    """Accumulates the scores of one protocol's pictures."""

    def __init__(self, networks: MetricNetworks) -> None:
        self.networks = networks
        self.count = 0
        self._measures = MEASURES | (OF_TORCHMETRICS if knows_ssim() else {})
        self.found: dict[str, list[Tensor]] = defaultdict(list)
        self.fid = FrechetDistance(networks.features) if networks.features else None

    def add(self, outputs: Tensor, true: Tensor | None, clip: Tensor) -> None:
        """outputs (B, 3, n, n), true alike; clip (T, 3, n, n) is of the same person, the source first."""
        self.count += len(outputs)
        if true is not None:
            for name, measure in self._measures.items():
                self.found[name].append(measure(outputs, true))
            if self.networks.lpips:
                self.found["lpips"].append(self.networks.lpips(outputs, true))
            if self.networks.landmarks:
                self.found["akd"].append(akd(self.networks.landmarks, outputs, true))
        if self.networks.embedding:
            self.found["csim"].append(csim(self.networks.embedding, outputs, clip[:1]))
        if self.fid:
            self.fid.add(outputs, clip if true is None else true)

    def __getstate__(self) -> dict[str, Any]:
        """Without the networks, which no other process can be sent."""
        return self.__dict__ | {"networks": MetricNetworks()}

    def join(self, other: "Comparison") -> None:
        """Add what another one of as many measures accumulated."""
        self.count += other.count
        for name, found in other.found.items():
            self.found[name] += found
        if self.fid and other.fid:
            self.fid.join(other.fid)

    def likeness(self) -> Likeness:
        mean = {name: float(torch.cat(found).double().mean()) for name, found in self.found.items()}
        fid = self.fid.value() if self.fid and self.count > 1 else None
        return Likeness(pictures=self.count, fid=fid, **mean)


class Scores:
    """Accumulates the scores of one model in all protocols, source by source."""

    def __init__(self, networks: MetricNetworks) -> None:
        self.same, self.near, self.front, self.absolute, self.relative, self.unmoved = (
            Comparison(networks) for _ in range(6)
        )
        self.energies: dict[str, tuple[float, float]] = {}  # of outputs and of true pictures, by region
        self.hits: list[Tensor] = []

    def add(self, outputs: Outputs, true: TruePictures, clip: Tensor) -> None:
        """The pictures of one source; clip (T, 3, n, n) is of the same person, the source first."""
        self.same.add(outputs.driven, true.driven, clip)
        self._add_energies(outputs.driven, true)
        if outputs.unmoved is not None:
            self.unmoved.add(outputs.unmoved, clip[:1], clip)
        if outputs.views is not None and outputs.front is not None:
            near = [YAWS.index(yaw) for yaw in NEAR_YAWS]
            # the true views begin one step before YAWS
            true_near = None if true.views is None else true.views[[i + 1 for i in near]]
            self.near.add(outputs.views[near], true_near, clip)
            self.front.add(outputs.front, true.front, clip)
            if true.views is not None:
                self.hits.append(yaw_hits(outputs.views, true.views))
        if outputs.absolute is not None and outputs.relative is not None:
            self.absolute.add(outputs.absolute, true.cross, clip)
            self.relative.add(outputs.relative, true.cross, clip)

    def join(self, other: "Scores") -> None:
        """Add what another one accumulated."""
        for name, mine in vars(self).items():
            if isinstance(mine, Comparison):
                mine.join(getattr(other, name))
        for name, (found, true) in other.energies.items():
            before = self.energies.get(name, (0.0, 0.0))
            self.energies[name] = (before[0] + found, before[1] + true)
        self.hits += other.hits

    def protocols(self) -> Protocols:
        """Means over all pictures."""
        crossed = self.absolute.count > 0
        return Protocols(
            same_identity=self.same.likeness(),
            free_view=self.near.likeness(),
            yaw_check=yaw_check(torch.stack(self.hits)) if self.hits else None,
            frontalization=self.front.likeness(),
            cross_absolute=self.absolute.likeness() if crossed else None,
            cross_relative=self.relative.likeness() if crossed else None,
            unmoved=self.unmoved.likeness() if self.unmoved.count else None,
            sharpness=self.sharpness(),
        )

    def sharpness(self) -> Sharpness:
        """Of all pictures so far."""
        known = self.energies.items()
        return Sharpness(**{name: found / true for name, (found, true) in known if true > 0})

    def _add_energies(self, outputs: Tensor, true: TruePictures) -> None:
        found, known = gradient_energy(outputs).double(), gradient_energy(true.driven).double()
        for name, there in _masks(true.regions).items():
            before = self.energies.get(name, (0.0, 0.0))
            sums = (float(each.sum() if there is None else each[there].sum()) for each in (found, known))
            self.energies[name] = (before[0] + next(sums), before[1] + next(sums))


def _masks(regions: Tensor | None) -> dict[str, Tensor | None]:
    """By the fields of `Sharpness`, which pixels (T, n, n) count; None: all."""
    masks: dict[str, Tensor | None] = {"whole": None}
    if regions is not None:
        for name in ("face", "eyes", "mouth", "hair", "background"):
            parts = ("face", "eyes", "mouth") if name == "face" else (name,)
            masks[name] = torch.isin(regions, regions.new_tensor([REGIONS.index(part) for part in parts]))
    return masks


def yaw_hits(views: Tensor, true: Tensor) -> Tensor:
    """Views (7, 3, n, n) at YAWS, and true ones (9, 3, n, n) up to 10 degrees beyond them: (7,) bool."""
    before, at, after = (gradient_distance(views, true[i : i + len(YAWS)]) for i in range(3))
    return (at < before) & (at < after)


def yaw_check(hits: Tensor) -> YawCheck:
    """The check of (N, 7) bool, a row of `yaw_hits` for each source."""
    by_yaw = hits.double().mean(0)
    others = [i for i, yaw in enumerate(YAWS) if yaw != 0]
    return YawCheck(float(by_yaw.mean()), float(by_yaw[others].mean()), tuple(by_yaw.tolist()))


@dataclass
class MotionErrors:
    """Accumulates `MotionError`; `voxels` is the side of the volume."""

    voxels: int
    degrees: list[Tensor] = field(default_factory=list)  # (T, 3) each
    keypoints: list[Tensor] = field(default_factory=list)  # (T, K)
    expression: list[Tensor] = field(default_factory=list)  # (T, K)
    expressed: list[Tensor] = field(default_factory=list)  # (T, K)

    def add(self, read: Reading, true: Reading) -> None:
        """The frames of one scene, the source included, all with the source's canonical keypoints."""
        for found, known in ((read.source.motion, true.source.motion), (read.driving, true.driving)):
            angles = [torch.stack(euler_degrees(motion.rotation), dim=-1) for motion in (found, known)]
            difference = (angles[0] - angles[1] + 180) % 360 - 180
            self.degrees.append(difference.abs())
            points = [keypoints_of(r.source.canonical, m) for r, m in ((read, found), (true, known))]
            distance = (points[0] - points[1])[..., :2].norm(dim=-1)  # on the corner lattice
            self.keypoints.append(distance * (self.voxels - 1) / self.voxels)
            self.expression.append((found.expression - known.expression).norm(dim=-1))
            self.expressed.append(known.expression.norm(dim=-1))

    def join(self, other: "MotionErrors") -> None:
        """Add what another one accumulated."""
        self.degrees += other.degrees
        self.keypoints += other.keypoints
        self.expression += other.expression
        self.expressed += other.expressed

    def mean(self) -> MotionError:
        pitch, yaw, roll = torch.cat(self.degrees).double().mean(0).tolist()
        expression = torch.cat(self.expression).double().sum()
        expressed = torch.cat(self.expressed).double().sum()
        return MotionError(
            yaw=yaw,
            pitch=pitch,
            roll=roll,
            keypoints=float(torch.cat(self.keypoints).double().mean()),
            expression=float(expression / expressed),
        )
