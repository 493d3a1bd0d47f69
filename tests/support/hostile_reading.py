# SPDX-License-Identifier: Apache-2.0
"""Reads hostile files, one a process: `python hostile_reading.py FOLDER RESULTS.json [READER]`.

Processes are forked from one that has imported all readers, since that takes seconds; memory and time are a
file's own, with what the imports take.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import hostile_cases
from hostile_files import Content
from hostile_folders import folder, unpacked
from hostile_tables import PLACE

from fv2v import checkpoints, cli
from fv2v.cli.rows import read_values
from fv2v.codec.file import read_recording
from fv2v.codec.portrait import decode_portrait
from fv2v.data.pairs import Draw
from fv2v.data.shards import HeadShards
from fv2v.data.synthetic import LANDMARKS
from fv2v.data.videos import VideoFolder
from fv2v.diagnostics.coded import recording_tables
from fv2v.face.detectors.given import read_faces
from fv2v.io.audio import check_sound
from fv2v.io.frame_folder import FrameFolder
from fv2v.io.image import read_image
from fv2v.io.limits import reading
from fv2v.io.random_access import read_frames
from fv2v.io.video import read_video
from fv2v.jobs.plan import Job, Refused, plan
from fv2v.jobs.results import open_results
from fv2v.jobs.table import read_rows
from fv2v.motion.coefficients import read_coefficients
from fv2v.motion.npz import read_motion
from fv2v.motion.ratios import read_openness
from fv2v.training.config import read_config
from fv2v.training.state import latest

PATIENCE = 300  # seconds: with what else the machine does, until a process is ended that waits


def _read_shards(path: Path) -> None:
    folder = path.with_suffix("")
    folder.mkdir()
    index = path.read_bytes()
    if index.startswith(b"{") and b'"landmarks"' not in index:
        index = json.dumps(json.loads(index) | {"landmarks": list(LANDMARKS)}).encode()
    (folder / "heads.json").write_bytes(index)
    (folder / "heads-00000.safetensors").write_bytes(b"")
    HeadShards(folder)[Draw(0, 0)]


def _read_plan(path: Path) -> None:
    """One row is refused, and the last is a job all the same."""
    os.chdir(path.parent)
    unpacked(folder(PLACE, b"content"), path.parent)
    with open_results("out") as results:
        planned = list(plan(read_rows(path), results, read_values))
    (refused,) = (each for each in planned if isinstance(each, Refused))
    assert isinstance(planned[-1], Job)
    raise ValueError(f"{path}: row {refused.row}: {refused.error}")


def _read_recording(path: Path) -> None:
    recording_tables(path)
    with reading(path, "no portrait"):
        decode_portrait(read_recording(path).portrait)


def _in_folder(read: Callable[[Path], object]) -> Callable[[Path], object]:
    """A reader of a folder, which is unpacked from the file."""

    def unpack_and_read(path: Path) -> None:
        place = path.with_name(f"{path.name}-folder")
        place.mkdir()
        unpacked(path.read_bytes(), place)
        read(place)

    return unpack_and_read


def _read_state(folder: Path) -> None:
    found = latest(folder)
    assert found.state is None
    raise ValueError(f"{folder}: {found.left_out[0]}")


READERS: dict[str, Callable[[Path], object]] = {
    "picture": read_image,
    "film": lambda path: [None for _ in read_video(path)],
    "frame": lambda path: read_frames(path, lambda count: [0]),
    "sound": check_sound,
    "faces": read_faces,
    "motion": read_motion,
    "coefficients": read_coefficients,
    "ratios": read_openness,
    "weights": checkpoints.load,
    "config": lambda path: read_config(path, ["data=clips", "output=run"]),
    "shards": _read_shards,
    "jobs": read_rows,
    "rows": _read_plan,
    "recordings": _read_recording,
    "frames": _in_folder(lambda folder: [None for _ in FrameFolder(folder)]),
    "pattern": _in_folder(lambda folder: [None for _ in FrameFolder(folder / "%d.png")]),
    "weight-folders": _in_folder(checkpoints.load),
    "videos": _in_folder(lambda folder: VideoFolder(folder, 8)[Draw(0, 0)]),
    "states": _in_folder(_read_state),
}


def in_a_process(work: Callable[[], object], output: Path) -> tuple[int, resource.struct_rusage]:
    """What became of it: its exit code, or less than 0 for a signal; and what it took."""
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = 99
        try:
            work()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), usage


def as_command(read: Callable[[Path], object], path: Path) -> None:
    """The reader in place of the commands: its errors go the way of theirs."""
    cli.app = lambda *_, **__: read(path)  # type: ignore[assignment]
    cli.main()


def measured(reader: str, name: str, content: Content, folder: Path) -> dict[str, object]:
    path, output = folder / name, folder / "output.txt"
    made, _ = in_a_process(lambda: path.write_bytes(content()), output)
    assert made == 0, output.read_text()
    code, usage = in_a_process(lambda: as_command(READERS[reader], path), output)
    size = path.stat().st_size
    path.unlink()
    return {
        "code": code,
        "said": output.read_text(errors="replace").replace(str(path), name),
        "bytes": size,
        "seconds": usage.ru_utime + usage.ru_stime,
        "megabytes": usage.ru_maxrss / 1024,
    }


def main(folder: str, results: str, only: str = "") -> None:
    found: dict[str, dict[str, object]] = {}
    for reader, cases in hostile_cases.CASES.items():
        if only in ("", reader):
            place = Path(folder) / reader
            place.mkdir()
            found[reader] = {name: measured(reader, name, content, place) for name, content in cases.items()}
    Path(results).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
