# SPDX-License-Identifier: Apache-2.0
"""`fv2v batch` and `fv2v preprocess`: inputs that change, files of others, names that nobody chose."""

import errno
import os
from pathlib import Path

import batches
import clips
import pytest
from processes import make_once
from refusals import assert_refused

from fv2v.cli.preprocess import rows_of
from fv2v.cli.rows import call_of, read_values
from fv2v.io.image import read_image, write_image
from fv2v.jobs.plan import plan
from fv2v.jobs.results import LINES, open_results
from fv2v.jobs.run import run_batch
from fv2v.jobs.table import Row, pair_rows, read_rows


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    return make_once(tmp_path_factory, "batch", batches.write_inputs)


@pytest.mark.parametrize("name", ["portrait", "driving", "weights"])
def test_an_input_that_changes_while_the_batch_runs_costs_its_row(inputs, tmp_path, name):
    """The key is of what the file held when it was read; the same again makes the clip of what it holds."""
    weights = inputs / "tiny.safetensors"
    values = {"weights": str(weights)} | batches.plain_rows(inputs, 1)[0]
    mine = tmp_path / Path(values[name]).name
    mine.write_bytes(Path(values[name]).read_bytes())
    row = Row(1, values | {name: str(mine)})

    def swap(done: float, total: int) -> None:
        os.utime(mine, ns=(1, 1))

    said: list[str] = []
    arguments = ([row], tmp_path / "out", read_values, call_of)
    summary = run_batch(*arguments, complain=said.append, progress=swap)
    assert (summary.made, summary.failed) == (0, 1)
    (line,) = said
    assert f"{mine.name}: it changed while the batch ran" in line
    again = run_batch(*arguments)
    assert (again.made, again.kept, again.failed) == (1, 0, 0)
    assert run_batch(*arguments).kept == 1


@pytest.mark.parametrize("driving", ["frames", "frames/%04d.png"])
def test_frames_drive_as_they_do_alone(fv2v, inputs, tmp_path, driving):
    (tmp_path / "frames").mkdir()
    for i, picture in enumerate(clips.moving_picture(clips.portrait(), 2, size=64)):
        write_image(tmp_path / "frames" / f"{i:04}.png", picture)
    words = [inputs / "p0.png", tmp_path / driving, "--no-crop", "-w", inputs / "tiny.safetensors"]
    assert fv2v("reenact", *words, "-o", tmp_path / "one.mp4")[0] == 0
    row = batches.plain_rows(inputs, 1)[0] | {"driving": str(tmp_path / driving), "yaw": None}
    jobs = batches.write_rows(tmp_path / "jobs.jsonl", [row])
    command = ["batch", jobs, "-o", tmp_path / "out", "-w", inputs / "tiny.safetensors"]
    assert fv2v(*command)[::2] == (0, "")
    assert batches.made(tmp_path / "out") == {"clip-00.mp4": (tmp_path / "one.mp4").read_bytes()}
    write_image(tmp_path / "frames" / "0001.png", read_image(tmp_path / "frames" / "0001.png")[:, ::-1])
    assert "1 made, 0 kept" in fv2v(*command)[1]


def test_no_file_of_others_is_overwritten(fv2v, inputs, tmp_path):
    """In a folder that batches use, a clip without a line is one whose batch was killed."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "clip-01.mp4").write_text("precious")
    jobs = batches.write_rows(tmp_path / "jobs.jsonl", batches.plain_rows(inputs, 2))
    command = ["batch", jobs, "-o", tmp_path / "out", "-w", inputs / "tiny.safetensors"]
    assert_refused(fv2v(*command), "clip-01.mp4 is there, and no batch made it: expected another folder")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip-01.mp4"]
    (tmp_path / "out" / LINES).touch()
    assert fv2v(*command)[::2] == (0, "")


def errors(rows: list[Row], folder: Path) -> list[str]:
    with open_results(folder) as results:
        return [getattr(each, "error", "") for each in plan(rows, results, read_values)]


def test_of_an_id_that_nobody_wrote_the_files_are_named(tmp_path):
    for folder, name in (("a", "p.png"), ("a", "p.webp"), ("b", "d.mp4"), ("b", "e:f.mp4")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(b"content")
    first, second, third, fourth = errors(pair_rows(tmp_path / "a", tmp_path / "b"), tmp_path / "out")
    assert first == ""
    assert (
        "'p+e:f': it has one of / \\ : * ? \" < > |, or what cannot be printed; it comes of the name of "
        in second
    )
    assert second.endswith("e:f.mp4: rename that")
    assert third.startswith(
        f"the id is that of row 1 ({tmp_path / 'a' / 'p.png'} and {tmp_path / 'b' / 'd.mp4'}), too"
    )
    assert f"p.webp and {tmp_path / 'b' / 'd.mp4'}: rename that" in third
    assert fourth


def test_names_that_the_system_cannot_hold(tmp_path, monkeypatch):
    """As under LC_ALL=C: a row each, and the others go on."""

    def ascii_alone(name: str) -> bytes:
        return name.encode("ascii")

    rows = [Row(1, {"id": "Жанна"}), Row(2, {"id": "anna"})]
    monkeypatch.setattr("fv2v.jobs.plan.os.fsencode", ascii_alone)
    first, second = errors(rows, tmp_path / "out")
    assert "names of files are ascii here, as the locale says" in first
    assert second.startswith("expected one of driving, motion, coefficients")


def test_blanks_around_an_id_are_shown(tmp_path):
    (error,) = errors([Row(1, {"id": " x"})], tmp_path / "out")
    assert "got ' x': it begins or ends with a point or a blank" in error


def test_a_full_disk_is_told_with_the_file(tmp_path, monkeypatch):
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with open_results(tmp_path / "out") as results:
        monkeypatch.setattr("fv2v.jobs.results.os.write", full)
        with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path / 'out' / LINES}'"):
            results.add({"id": "a"})


def test_columns_without_names_at_the_end(tmp_path):
    """As spreadsheets write them."""
    (tmp_path / "jobs.csv").write_text("id,yaw,,\na,20,,\nb,30,,x\n")
    first, second = read_rows(tmp_path / "jobs.csv")
    assert first == Row(2, {"id": "a", "yaw": "20"})
    assert second.fault == "expected 2 values, as there are columns, got 4"


def test_other_encodings_are_named(fv2v, tmp_path):
    (tmp_path / "jobs.csv").write_text("id,portrait\na,b.png\n", encoding="utf-16")
    result = fv2v("batch", tmp_path / "jobs.csv", "-o", tmp_path / "out", "-w", "random")
    assert_refused(
        result, "jobs.csv: expected text in UTF-8, got other bytes (invalid start byte): save it so"
    )


def test_one_option_by_two_spellings(fv2v, inputs, tmp_path):
    row = batches.plain_rows(inputs, 1)[0] | {"view-mode": "add", "view_mode": "replace"}
    jobs = batches.write_rows(tmp_path / "jobs.jsonl", [row])
    code, _, err = fv2v("batch", jobs, "-o", tmp_path / "out", "-w", inputs / "tiny.safetensors")
    assert code == 1
    assert "view_mode: expected one value, got it by two spellings" in err


def test_clips_within_the_videos_folder_are_no_videos(tmp_path):
    for name in ("one.mp4", "clips/one/face.mp4", "clips/two.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"content")
    (row,) = rows_of([tmp_path], {}, tmp_path / "clips")
    assert row.values == {"id": "one", "video": str(tmp_path / "one.mp4")}
    assert row.origin == row.values["video"]
    with pytest.raises(ValueError, match="expected another folder for clips than that of the videos"):
        rows_of([tmp_path], {}, tmp_path)
