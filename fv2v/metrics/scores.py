"""What pictures and motions are worth, gathered head by head and told as means."""

from collections import defaultdict
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from fv2v.geometry import keypoints_of
from fv2v.geometry.rotation import euler_degrees
from fv2v.metrics.akd import Detector, akd
from fv2v.metrics.csim import Embedding, csim
from fv2v.metrics.fid import FrechetDistance, Network
from fv2v.metrics.pictures import gradient_distance, l1, ms_ssim, psnr, ssim
from fv2v.metrics.protocols import YAWS, Answers, Reading, Shown

NEAR_YAWS = (-20, 20)  # of YAWS: the free views whose pictures are compared
MEASURES = {"l1": l1, "psnr": psnr, "ssim": ssim, "ms_ssim": ms_ssim}


@dataclass(frozen=True, slots=True)
class Judges:
    """Networks that judge pictures beside formulas. Where one is None, its number is left out."""

    features: Network | None = None  # FID
    landmarks: Detector | None = None  # AKD
    embedding: Embedding | None = None  # CSIM


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like the true pictures those of one protocol are: means over pictures. None: not known."""

    pictures: int
    l1: float | None = None  # of 255
    psnr: float | None = None  # dB
    ssim: float | None = None
    ms_ssim: float | None = None
    fid: float | None = None  # of 2 pictures or more; without true ones, against the source's own clip
    akd: float | None = None  # pixels
    csim: float | None = None  # with the source
    l1_ratio: float | None = None  # to the L1 of the source unchanged: a ratio of sums
    psnr_gain: float | None = None  # over the PSNR of the source unchanged

    def against(self, still: "Likeness") -> "Likeness":
        """With ratio and gain; `still` is the source unchanged, of the same pictures."""
        if self.l1 is None or self.psnr is None or still.l1 is None or still.psnr is None:
            return self
        ratio = self.l1 / still.l1 if still.l1 else None
        return replace(self, l1_ratio=ratio, psnr_gain=self.psnr - still.psnr)


@dataclass(frozen=True, slots=True)
class YawCheck:
    """How often an output at a commanded yaw is nearer to the true picture there than to those beside it.

    Nearness is `gradient_distance`. Chance is 1/3; a still picture gets 1/7, and 0 without the yaw 0.
    """

    hits: float  # of all YAWS
    hits_without_0: float
    by_yaw: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Protocols:
    """One model in all protocols; None where there is no answer."""

    same_identity: Likeness
    free_view: Likeness  # at yaws of -20 and 20 degrees
    yaw_check: YawCheck | None
    frontalization: Likeness
    cross_absolute: Likeness | None
    cross_relative: Likeness | None

    def against(self, still: "Protocols") -> "Protocols":
        """With ratio and gain everywhere; `still` are the sources unchanged."""
        absolute, relative = self.cross_absolute, self.cross_relative
        return replace(
            self,
            same_identity=self.same_identity.against(still.same_identity),
            free_view=self.free_view.against(still.free_view),
            frontalization=self.frontalization.against(still.frontalization),
            cross_absolute=absolute and still.cross_absolute and absolute.against(still.cross_absolute),
            cross_relative=relative and still.cross_relative and relative.against(still.cross_relative),
        )


@dataclass(frozen=True, slots=True)
class MotionError:
    """How far what is read in frames is from the truth: means over frames."""

    yaw: float  # degrees
    pitch: float
    roll: float
    keypoints: float  # distance in x and y; the picture is 2 across
    expression: float  # Σ |δ - true δ| / Σ |true δ|: 1 for showing none


class Comparison:
    """Pictures of one protocol beside the true ones."""

    def __init__(self, judges: Judges) -> None:
        self.judges = judges
        self.count = 0
        self._found: dict[str, list[Tensor]] = defaultdict(list)
        self._fid = FrechetDistance(judges.features) if judges.features else None

    def add(self, shown: Tensor, true: Tensor | None, clip: Tensor) -> None:
        """shown (B, 3, n, n), true as shown; clip (T, 3, n, n) is the person's own, from the source on."""
        self.count += len(shown)
        if true is not None:
            for name, measure in MEASURES.items():
                self._found[name].append(measure(shown, true))
            if self.judges.landmarks:
                self._found["akd"].append(akd(self.judges.landmarks, shown, true))
        if self.judges.embedding:
            self._found["csim"].append(csim(self.judges.embedding, shown, clip[:1]))
        if self._fid:
            self._fid.add(shown, clip if true is None else true)

    def likeness(self) -> Likeness:
        mean = {name: float(torch.cat(found).double().mean()) for name, found in self._found.items()}
        fid = self._fid.value() if self._fid and self.count > 1 else None
        return Likeness(pictures=self.count, fid=fid, **mean)


class Scores:
    """All protocols of one model, gathered source by source."""

    def __init__(self, judges: Judges) -> None:
        self.same, self.near, self.front, self.absolute, self.relative = (
            Comparison(judges) for _ in range(5)
        )
        self._hits: list[Tensor] = []

    def add(self, shown: Shown, answers: Answers, clip: Tensor) -> None:
        """Pictures of one source; clip (T, 3, n, n) is its own, the source first."""
        self.same.add(shown.driven, answers.driven, clip)
        near = [YAWS.index(yaw) for yaw in NEAR_YAWS]
        # the true views begin one yaw before YAWS
        true = None if answers.views is None else answers.views[[i + 1 for i in near]]
        self.near.add(shown.views[near], true, clip)
        self.front.add(shown.front, answers.front, clip)
        if answers.views is not None:
            self._hits.append(yaw_hits(shown.views, answers.views))
        if shown.absolute is not None and shown.relative is not None:
            self.absolute.add(shown.absolute, answers.cross, clip)
            self.relative.add(shown.relative, answers.cross, clip)

    def protocols(self) -> Protocols:
        """Means over all pictures."""
        crossed = self.absolute.count > 0
        return Protocols(
            same_identity=self.same.likeness(),
            free_view=self.near.likeness(),
            yaw_check=yaw_check(torch.stack(self._hits)) if self._hits else None,
            frontalization=self.front.likeness(),
            cross_absolute=self.absolute.likeness() if crossed else None,
            cross_relative=self.relative.likeness() if crossed else None,
        )


def yaw_hits(views: Tensor, true: Tensor) -> Tensor:
    """Views (7, 3, n, n) at YAWS, true ones (9, 3, n, n) from 10 degrees before to 10 after: (7,) bool."""
    before, at, after = (gradient_distance(views, true[i : i + len(YAWS)]) for i in range(3))
    return (at < before) & (at < after)


def yaw_check(hits: Tensor) -> YawCheck:
    """Of (N, 7) bool, as `yaw_hits` has them."""
    by_yaw = hits.double().mean(0)
    others = [i for i, yaw in enumerate(YAWS) if yaw != 0]
    return YawCheck(float(by_yaw.mean()), float(by_yaw[others].mean()), tuple(by_yaw.tolist()))


@dataclass
class MotionErrors:
    """`MotionError` in the making, for volumes of so many voxels across."""

    voxels: int
    _degrees: list[Tensor] = field(default_factory=list)  # (T, 3) each
    _keypoints: list[Tensor] = field(default_factory=list)  # (T, K)
    _expression: list[Tensor] = field(default_factory=list)  # (T, K)
    _expressed: list[Tensor] = field(default_factory=list)  # (T, K)

    def add(self, read: Reading, true: Reading) -> None:
        """The frames of one source, itself included, all with the source's canonical keypoints."""
        for found, known in ((read.source.motion, true.source.motion), (read.driving, true.driving)):
            angles = [torch.stack(euler_degrees(motion.rotation), dim=-1) for motion in (found, known)]
            difference = (angles[0] - angles[1] + 180) % 360 - 180
            self._degrees.append(difference.abs())
            points = [keypoints_of(r.source.canonical, m) for r, m in ((read, found), (true, known))]
            distance = (points[0] - points[1])[..., :2].norm(dim=-1)  # on the corner lattice
            self._keypoints.append(distance * (self.voxels - 1) / self.voxels)
            self._expression.append((found.expression - known.expression).norm(dim=-1))
            self._expressed.append(known.expression.norm(dim=-1))

    def mean(self) -> MotionError:
        pitch, yaw, roll = torch.cat(self._degrees).double().mean(0).tolist()
        expression = torch.cat(self._expression).double().sum()
        expressed = torch.cat(self._expressed).double().sum()
        return MotionError(
            yaw=yaw,
            pitch=pitch,
            roll=roll,
            keypoints=float(torch.cat(self._keypoints).double().mean()),
            expression=float(expression / expressed),
        )
