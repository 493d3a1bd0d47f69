# SPDX-License-Identifier: Apache-2.0
"""`fv2v demo`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.options import Device, WeightsOptions

Folder = Annotated[
    Path, typer.Option("--output", "-o", help="Folder to write to; made if it does not exist.")
]
Frames = Annotated[int, typer.Option(help="Frames of the video, 25 a second.")]
Seed = Annotated[int, typer.Option(help="Other seeds draw other people.")]


def demo(
    model: WeightsOptions,
    output: Folder = Path("fv2v-demo"),
    frames: Frames = 75,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Draw a head, and another one that turns, blinks and speaks; make the first do as the second does.

    Needs no files and no network: the model that ships learned on heads like these.
    """
    from fv2v.cli.progress import frame_progress
    from fv2v.pipelines.demo import demo as run

    if model == WeightsOptions():
        model = WeightsOptions(preset="starter")  # named, so that no line says that weights were left out
    with frame_progress() as progress:
        files = run(
            output,
            frames=frames,
            seed=seed,
            device=device,
            progress=progress,
            **model.reenactor_arguments(),
        )
    typer.echo(f"{files.video}: portrait, driver and output side by side")
    typer.echo(f"{files.sheet}: frames of it, and free views above the true ones")
    typer.echo(f"try: fv2v reenact {files.portrait} {files.driving} --no-crop -o out.mp4")
