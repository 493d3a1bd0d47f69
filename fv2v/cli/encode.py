# SPDX-License-Identifier: Apache-2.0
"""`fv2v encode`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.crop_options import CropOptions
from fv2v.cli.options import BatchSize, Detector, DrivingFace, Face, ModelOptions, Portrait, chosen_face
from fv2v.cli.output_options import Frames, Overwrite, free_name

Driving = Annotated[
    Path,
    typer.Argument(
        metavar="DRIVING",
        help="Video of the face whose motion is taken; or motion that `fv2v extract` wrote.",
        show_default=False,
    ),
]
SoundFile = Annotated[
    Path | None,
    typer.Option(
        "--sound",
        metavar="FILE",
        help="Video or sound file whose sound goes along, where DRIVING is motion, which has none.",
        show_default=False,
    ),
]
Coded = Annotated[Path, typer.Option("--output", "-o", help="File to write: .fv2v.", show_default=False)]
Quality = Annotated[
    str,
    typer.Option(
        metavar="1-100|adaptive",
        help="Of the motion: 12.5 more halve its steps. adaptive leaves out changes that hardly show.",
    ),
]
Kbps = Annotated[
    float | None,
    typer.Option(help="At most so many kbit/s of motion, on average: small changes are left out."),
]
Keypoints = Annotated[
    int | None,
    typer.Option(
        help="Send the expression of so many keypoints alone, from the first on; by default of all."
    ),
]
Refresh = Annotated[float, typer.Option(help="Seconds from one frame that decodes alone to the next.")]
PortraitFormat = Annotated[
    str, typer.Option(metavar="smallest|avif|webp|jpeg", help="Of the portrait's picture.")
]
PortraitPsnr = Annotated[float, typer.Option(help="Decibels that the portrait's picture reaches.")]
SoundKbps = Annotated[
    float | None, typer.Option(help="Encode the sound as Opus at so many kbit/s; by default it is copied.")
]


def encode(
    portrait: Portrait,
    driving: Driving,
    output: Coded,
    model: ModelOptions,
    cropping: CropOptions,
    quality: Quality = "75",
    kbps: Kbps = None,
    keypoints: Keypoints = None,
    refresh: Refresh = 5.0,
    portrait_format: PortraitFormat = "smallest",
    portrait_psnr: PortraitPsnr = 40.0,
    sound_kbps: SoundKbps = None,
    sound: SoundFile = None,
    frames: Frames = None,
    face: Face = "1",
    driving_face: DrivingFace = "1",
    detector: Detector = None,
    batch_size: BatchSize = 1,
    overwrite: Overwrite = False,
) -> None:
    """Code PORTRAIT and the motion and sound of DRIVING as a small file, for `fv2v decode`."""
    from fv2v.cli.progress import frame_progress, print_report
    from fv2v.pipelines.coded import CodingOptions
    from fv2v.pipelines.coded import encode as run

    coding = CodingOptions(
        quality=_number(quality),
        kbps=kbps,
        keypoints=keypoints,
        refresh=refresh,
        portrait_format=portrait_format,
        portrait_psnr=portrait_psnr,
        sound_kbps=sound_kbps,
    )
    with frame_progress() as progress:
        report = run(
            portrait,
            driving,
            free_name(output, overwrite),
            coding=coding,
            sound=sound,
            frames=frames,
            crop=cropping.crops(),
            face=chosen_face(face, detector),
            driving_face=chosen_face(driving_face, detector),
            batch_size=batch_size,
            progress=progress,
            **model.reenactor_arguments(),
        )
    print_report(report, f"; {output.stat().st_size} bytes")


def _number(quality: str) -> float | str:
    try:
        return float(quality)
    except ValueError:
        return quality
