"""Options that several commands of `fv2v` share."""

from pathlib import Path
from typing import Annotated

import typer

Portrait = Annotated[
    Path, typer.Argument(metavar="PORTRAIT", help="Picture with the face to be shown.", show_default=False)
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        "-w",
        metavar="PATH|random",
        help="Trained weights: a release's .pth.tar, or the folder with its files, or our .safetensors; once "
        "a file for a release of several. `random` runs untrained ones, for timing and plumbing: the "
        "pictures are grey.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        "-p",
        help="Which model the weights are for (`fv2v info` lists them). Our .safetensors knows; a release is "
        "recognised; `random` needs it, and takes vox-256 (talk: sadtalker-256).",
    ),
]
Crop = Annotated[
    bool,
    typer.Option(
        "--crop/--no-crop",
        help="Find the face and cut a steady square around it. --no-crop takes the middle square as it is, "
        "for pictures and videos that are face crops already.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda or cuda:1. By default the GPU where there is one."),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype", help="float32 is exact; float16 and bfloat16 are faster on a GPU and use half the memory."
    ),
]
Video = Annotated[
    Path,
    typer.Option("--output", "-o", help="Video to write: .mp4, .m4v, .mov or .mkv.", show_default=False),
]
BatchSize = Annotated[
    int,
    typer.Option(help="Frames rendered at once: more is faster on a GPU, and takes more of its memory."),
]
