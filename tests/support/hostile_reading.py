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

from fv2v import checkpoints, cli
from fv2v.data.pairs import Draw
from fv2v.data.shards import HeadShards
from fv2v.data.synthetic import LANDMARKS
from fv2v.face.detectors.given import read_faces
from fv2v.io.audio import check_sound
from fv2v.io.image import read_image
from fv2v.io.random_access import read_frames
from fv2v.io.video import read_video
from fv2v.motion.coefficients import read_coefficients
from fv2v.motion.npz import read_motion
from fv2v.motion.ratios import read_openness
from fv2v.training.config import read_config

SECONDS, MEGABYTES = 5, 1024


def _read_shards(path: Path) -> None:
    folder = path.with_suffix("")
    folder.mkdir()
    index = path.read_bytes()
    if index.startswith(b"{") and b'"landmarks"' not in index:
        index = json.dumps(json.loads(index) | {"landmarks": list(LANDMARKS)}).encode()
    (folder / "heads.json").write_bytes(index)
    (folder / "heads-00000.safetensors").write_bytes(b"")
    HeadShards(folder)[Draw(0, 0)]


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
}


def in_a_process(work: Callable[[], object], output: Path) -> tuple[int, resource.struct_rusage]:
    """What became of it: its exit code, or less than 0 for a signal; and what it took."""
    child = os.fork()
    if child == 0:
        signal.alarm(10 * SECONDS)
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
