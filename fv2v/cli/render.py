"""The commands that keep motion in files, and show it."""

import typer

from fv2v.cli.edit_options import (
    Blend,
    DrivingOpen,
    DrivingOption,
    Eyes,
    Lips,
    Multiplier,
    NormalizeLips,
    PortraitOpen,
    Region,
    StillPicture,
    Strength,
    the_edit,
)
from fv2v.cli.options import (
    AdaptScale,
    BatchSize,
    Crop,
    Device,
    Driver,
    DrivingFace,
    Dtype,
    Face,
    Frames,
    MotionInput,
    MotionOutput,
    OwnCoefficients,
    PasteBack,
    Pitch,
    Portrait,
    Preset,
    Relative,
    Roll,
    Sound,
    Steady,
    Stitch,
    Video,
    ViewMode,
    Weights,
    Yaw,
    the_face,
    the_preset,
    the_view,
    the_weights,
)


def extract(
    driving: Driver,
    output: MotionOutput,
    weights: Weights = None,
    preset: Preset = None,
    source_coefficients: OwnCoefficients = None,
    frames: Frames = None,
    crop: Crop = True,
    driving_face: DrivingFace = "1",
    batch_size: BatchSize = 1,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Keep the motion of the face in DRIVING in a file, for `fv2v render`: time stamps with it, no sound."""
    from fv2v.cli.progress import frame_progress
    from fv2v.pipelines.render import extract as run

    with frame_progress() as progress:
        report = run(
            driving,
            output,
            the_preset(preset, weights),
            weights=the_weights(weights),
            source_coefficients=source_coefficients,
            frames=frames,
            crop=crop,
            driving_face=the_face(driving_face),
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            progress=progress,
        )
    typer.echo(f"{report}; without sound, which fv2v render takes with --sound")


def render(
    portrait: Portrait,
    motion: MotionInput,
    output: Video,
    weights: Weights = None,
    preset: Preset = None,
    source_coefficients: OwnCoefficients = None,
    sound: Sound = None,
    relative: Relative = None,
    yaw: Yaw = None,
    pitch: Pitch = None,
    roll: Roll = None,
    view_mode: ViewMode = "compose",
    adapt_scale: AdaptScale = False,
    stitch: Stitch = True,
    steady: Steady = False,
    region: Region = "all",
    strength: Strength = None,
    still: StillPicture = None,
    blend: Blend = None,
    multiplier: Multiplier = 1.0,
    eyes: Eyes = None,
    lips: Lips = None,
    portrait_open: PortraitOpen = None,
    driving_open: DrivingOpen = None,
    normalize_lips: NormalizeLips = False,
    driving_option: DrivingOption = "expression-friendly",
    crop: Crop = True,
    face: Face = "1",
    paste_back: PasteBack = False,
    batch_size: BatchSize = 1,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Move PORTRAIT by MOTION from a file, and write the video: a frame for each of its frames."""
    from fv2v.cli.progress import frame_progress
    from fv2v.pipelines.render import render as run

    view = the_view(pitch, yaw, roll, view_mode)
    edit = the_edit(
        region,
        strength,
        multiplier,
        still=still,
        blend=blend,
        eyes=eyes,
        lips=lips,
        portrait_open=portrait_open,
        driving_open=driving_open,
        motion=motion,
        normalize_lips=normalize_lips,
        driving_option=driving_option,
    )
    with frame_progress() as progress:
        report = run(
            portrait,
            motion,
            output,
            the_preset(preset, weights),
            weights=the_weights(weights),
            source_coefficients=source_coefficients,
            sound=sound,
            relative=relative,
            view=view,
            adapt_scale=adapt_scale,
            stitch=stitch,
            steady=steady,
            edit=edit,
            still=still,
            crop=crop,
            face=the_face(face),
            paste_back=paste_back,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            progress=progress,
        )
    typer.echo(report)
