"""The commands that make videos and pictures."""

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
    Coefficients,
    Crop,
    Device,
    Driving,
    DrivingFace,
    DrivingPicture,
    Dtype,
    ExpressionScale,
    Face,
    Fps,
    Frames,
    PasteBack,
    Picture,
    Pitch,
    PitchWalk,
    Portrait,
    Preset,
    Relative,
    RelativePicture,
    Roll,
    RollWalk,
    SourceCoefficients,
    Steady,
    Still,
    Stitch,
    Video,
    ViewMode,
    Weights,
    Yaw,
    YawWalk,
    the_face,
    the_preset,
    the_view,
    the_weights,
)


def reenact(
    portrait: Portrait,
    driving: Driving,
    output: Video,
    weights: Weights = None,
    preset: Preset = None,
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
    frames: Frames = None,
    crop: Crop = True,
    face: Face = "1",
    driving_face: DrivingFace = "1",
    paste_back: PasteBack = False,
    batch_size: BatchSize = 1,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Move PORTRAIT as the face in DRIVING moves, and write the video: same frames, time stamps and sound."""
    from fv2v.cli.progress import frame_progress
    from fv2v.pipelines.reenact import reenact as run

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
        normalize_lips=normalize_lips,
        driving_option=driving_option,
    )
    with frame_progress() as progress:
        report = run(
            portrait,
            driving,
            output,
            the_preset(preset, weights),
            weights=the_weights(weights),
            relative=relative,
            view=view,
            adapt_scale=adapt_scale,
            stitch=stitch,
            steady=steady,
            edit=edit,
            still=still,
            frames=frames,
            crop=crop,
            face=the_face(face),
            driving_face=the_face(driving_face),
            paste_back=paste_back,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            progress=progress,
        )
    typer.echo(report)


def talk(
    portrait: Portrait,
    coefficients: Coefficients,
    output: Video,
    source_coefficients: SourceCoefficients,
    weights: Weights = None,
    preset: Preset = None,
    still: Still = False,
    expression_scale: ExpressionScale = 1.0,
    yaw: YawWalk = None,
    pitch: PitchWalk = None,
    roll: RollWalk = None,
    fps: Fps = 25.0,
    crop: Crop = True,
    face: Face = "1",
    paste_back: PasteBack = False,
    batch_size: BatchSize = 1,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Move PORTRAIT by 3DMM COEFFICIENTS, as SadTalker does, and write the video: a frame a row, no sound."""
    from fv2v.cli.progress import frame_progress
    from fv2v.pipelines.reenact import talk as run

    with frame_progress() as progress:
        report = run(
            portrait,
            coefficients,
            output,
            the_preset(preset, weights, "sadtalker-256", ships=False),
            source_coefficients=source_coefficients,
            weights=the_weights(weights),
            still=still,
            expression_scale=expression_scale,
            pitch=_degrees("pitch", pitch),
            yaw=_degrees("yaw", yaw),
            roll=_degrees("roll", roll),
            fps=fps,
            crop=crop,
            face=the_face(face),
            paste_back=paste_back,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            progress=progress,
        )
    typer.echo(report)


def imitate(
    portrait: Portrait,
    driving: DrivingPicture,
    output: Picture,
    weights: Weights = None,
    preset: Preset = None,
    relative: RelativePicture = None,
    yaw: Yaw = None,
    pitch: Pitch = None,
    roll: Roll = None,
    view_mode: ViewMode = "compose",
    stitch: Stitch = True,
    region: Region = "all",
    strength: Strength = None,
    multiplier: Multiplier = 1.0,
    crop: Crop = True,
    face: Face = "1",
    driving_face: DrivingFace = "1",
    paste_back: PasteBack = False,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Give PORTRAIT the expression of the face in the picture DRIVING."""
    from fv2v.pipelines.reenact import imitate as run

    report = run(
        portrait,
        driving,
        output,
        the_preset(preset, weights),
        weights=the_weights(weights),
        relative=relative,
        view=the_view(pitch, yaw, roll, view_mode),
        stitch=stitch,
        edit=the_edit(region, strength, multiplier),
        crop=crop,
        face=the_face(face),
        driving_face=the_face(driving_face),
        paste_back=paste_back,
        device=device,
        dtype=dtype,
    )
    typer.echo(f"{report.output}: written")


def frontalize(
    portrait: Portrait,
    output: Picture,
    weights: Weights = None,
    preset: Preset = None,
    crop: Crop = True,
    face: Face = "1",
    paste_back: PasteBack = False,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Turn the face in PORTRAIT to the front."""
    from fv2v.pipelines.reenact import frontalize as run

    report = run(
        portrait,
        output,
        the_preset(preset, weights),
        weights=the_weights(weights),
        crop=crop,
        face=the_face(face),
        paste_back=paste_back,
        device=device,
        dtype=dtype,
    )
    typer.echo(f"{report.output}: written")


def _degrees(name: str, angles: str | None) -> list[float] | None:
    """The numbers of `--yaw -30,0,30`."""
    try:
        return None if angles is None else [float(angle) for angle in angles.split(",")]
    except ValueError:
        raise ValueError(f"--{name}: expected degrees, as 20 or -30,0,30; got {angles!r}") from None
