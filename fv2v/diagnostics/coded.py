# SPDX-License-Identifier: Apache-2.0
"""What a `.fv2v` file spends its bytes on."""

from rich.markup import escape
from rich.table import Table

from fv2v.codec.file import read_recording
from fv2v.io.limits import shown
from fv2v.io.paths import PathLike


def recording_tables(path: PathLike) -> list[Table]:
    """The parts of a `.fv2v`: bytes, bytes a frame, rate.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another file, or a damaged one.
    """
    recording = read_recording(path)
    timing, frames = recording.timing, len(recording.packets)
    seconds = timing.end - float(timing.pts[0] * timing.time_base)
    motion = sum(map(len, recording.packets))
    parts = {
        f"portrait, {recording.portrait_format}": len(recording.portrait),
        "motion": motion,
        "sound": len(recording.sound),
    }
    cut = ", cut short" if recording.truncated else ""
    title = (
        f"{path}: {recording.preset}, {frames} frames of {recording.keypoints} keypoints, {seconds:.2f} s, "
        f"{len(recording.refreshes)} that decode alone{cut}"
    )
    table = Table(title=escape(shown(title)))
    for heading in ("part", "bytes", "bytes a frame", "kbit/s"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for name, size in (parts | {"all": sum(parts.values())}).items():
        table.add_row(name, str(size), f"{size / frames:.2f}", f"{size / 125 / seconds:.2f}")
    return [table]
