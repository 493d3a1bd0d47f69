# SPDX-License-Identifier: Apache-2.0
"""Options of commands that a driver's motion goes through, frame by frame."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from fv2v.cli.options import BatchSize, TransferOptions

Lost = Annotated[
    str,
    typer.Option(
        "--lost",
        metavar="hold|drive|source",
        help="What frames without a face do. Those of DRIVING in which the face is hidden, too dark or not "
        "there hold the last motion, drive as they are, or show the portrait at rest (source). A line at the "
        "end counts and times them.",
    ),
]


@dataclass(frozen=True)
class MotionOptions(TransferOptions):
    """How the driver's motion moves the portrait, frame by frame."""

    anchor: Annotated[
        str | None,
        typer.Option(
            metavar="N|SECONDS|best|FILE",
            help="The frame that counts as no change. With relative motion: its number, from 0; its seconds, "
            "as 1.5 or 2s; best, the one nearest to PORTRAIT in pose and expression; or a picture of the "
            "driver, or a file of motion. By default the first frame with a face, bright and with open eyes.",
            show_default=False,
        ),
    ] = None
    steady: Annotated[
        bool,
        typer.Option(
            "--steady", help="Smooth tremor out of the driver's motion; turns then come a frame late."
        ),
    ] = False
    batch_size: BatchSize = 1

    def animation_arguments(self) -> dict[str, Any]:
        """These options, as `AnimationOptions` takes them."""
        return super().animation_arguments() | {
            "anchor": frame_or_file(self.anchor),
            "steady": self.steady or None,
        }


def frame_or_file(anchor: str | None) -> int | float | str | None:
    """The value of `--anchor` as `AnimationOptions` takes it."""
    if anchor is None:
        return None
    try:
        return int(anchor)
    except ValueError:
        pass
    try:
        return float(anchor.removesuffix("s"))
    except ValueError:
        return anchor
