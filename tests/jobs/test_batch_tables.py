# SPDX-License-Identifier: Apache-2.0
"""Tables of jobs, what is wrong with rows of them, and the file of results."""

import os
from pathlib import Path

import batches
import pytest
from refusals import assert_refused

from fv2v.checkpoints import search
from fv2v.cli.rows import call_of, read_values
from fv2v.face.cropping import CropChoice
from fv2v.jobs.call import Call
from fv2v.jobs.plan import Job, Refused, plan
from fv2v.jobs.recent import Recent
from fv2v.jobs.results import LINES, LOCK, open_results
from fv2v.jobs.table import Row, pair_rows, read_rows

GOOD = {"portrait": "p.png", "driving": "d.mp4"}
TABLES = {
    "jobs.jsonl": '\ufeff{"id": "a", "yaw": -20, "strength": ["3=0.5", "1=2"]}\n\n{"id": 7, "crop": false}\n',
    "jobs.csv": "\ufeffid, yaw,crop\r\na,-20,\r\n\r\n7,,false\r\n",
    "jobs.toml": 'relative = true\n[[jobs]]\nid = "a"\nyaw = -20\n[[jobs]]\nid = 7\nrelative = false\n',
}
READ = {
    "jobs.jsonl": [
        Row(1, {"id": "a", "yaw": -20, "strength": ["3=0.5", "1=2"]}),
        Row(3, {"id": 7, "crop": False}),
    ],
    "jobs.csv": [
        Row(2, {"id": "a", "yaw": "-20", "crop": ""}),
        Row(4, {"id": "7", "yaw": "", "crop": "false"}),
    ],
    "jobs.toml": [Row(1, {"relative": True, "id": "a", "yaw": -20}), Row(2, {"relative": False, "id": 7})],
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read(tmp_path, name):
    (tmp_path / name).write_text(TABLES[name], encoding="utf-8")
    assert read_rows(tmp_path / name) == READ[name]


HOSTILE = {
    "suffix.txt": ("{}\n", "expected jobs in a .jsonl, .csv, .toml"),
    "empty.jsonl": ("\n\n", "expected jobs, a row a clip, got none"),
    "header.csv": ("id,portrait\n", "expected jobs"),
    "nameless.csv": ("portrait,driving\na,b\n", "id among them"),
    "twice.csv": ("id,id\na,b\n", "each once"),
    "quote.csv": ('id,portrait\na,"b\n', "no CSV"),
    "wide.jsonl": ('{"id": "' + "a" * 70_000 + '"}\n', "at most 65536 characters of a line"),
    "cell.csv": ("id\n" + "a" * 70_000, "at most 65536 characters of a line"),
    "many.jsonl": ("1\n" * 262_145, "at most 262144 jobs"),
    "lines.jsonl": ("\n" * 1_048_577, "at most 1048576 lines"),
    "columns.csv": ("id," + ",".join(map(str, range(256))) + "\n1\n", "at most 256 columns, got 257"),
    "dotted.toml": (f"{'a.' * 2000}b = 1\n" * 9, "steps through names with dots"),
    "defaults.toml": ("".join(f"a{i} = 1\n" for i in range(257)), "at most 256 names above the tables"),
    "bytes.csv": (b"id\n\xff\xfe", "expected text in UTF-8"),
    "nested.toml": ("a = " + "[" * 2000, "no TOML"),
    "table.toml": ("jobs = 3\n", "expected tables [[jobs]]"),
    "nul.csv": ("id\n\0\n", ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_table_is_refused_in_one_line(fv2v, tmp_path, name):
    content, message = HOSTILE[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = fv2v("batch", path, "-o", tmp_path / "out", "-w", "random")
    if name == "nul.csv":  # Python before 3.11 refuses the file, later ones the row's id
        assert (result[0], result[2].count("\n")) in ((1, 1), (2, 1))
        return
    assert_refused(result, message)
    assert name in result[2]
    assert not (tmp_path / "out").exists()


ROWS = {
    "no id": (GOOD, "expected an id"),
    "a list for an id": (GOOD | {"id": ["a"]}, "expected an id"),
    "a folder": (GOOD | {"id": "../a"}, "expected an id that is a file's name"),
    "hidden": (GOOD | {"id": ".a"}, "expected an id that is a file's name"),
    "escape": (GOOD | {"id": "a\x1b[1m"}, "expected an id that is a file's name"),
    "long": (GOOD | {"id": "ü" * 101}, "more than 200 bytes"),
    "no driver": (
        {"id": "a", "portrait": "p.png"},
        "expected one of driving, motion, coefficients, got none",
    ),
    "two": (GOOD | {"id": "a", "motion": "m.npz"}, "got driving and motion"),
    "no portrait": ({"id": "a", "driving": "d.mp4"}, "expected a value for portrait"),
    "number": (GOOD | {"id": "a", "portrait": 3}, "portrait: expected a file's name, got 3"),
    "name": (GOOD | {"id": "a", "yow": 3}, "unknown name 'yow': expected id, an argument of fv2v reenact"),
    "output": (GOOD | {"id": "a", "output": "/etc/x.mp4"}, "unknown name 'output'"),
    "help": (GOOD | {"id": "a", "help": True}, "unknown name 'help'"),
    "overwrite": (GOOD | {"id": "a", "overwrite": True}, "unknown name 'overwrite'"),
    "of another command": (GOOD | {"id": "a", "expression_scale": 2}, "unknown name 'expression_scale'"),
    "value": (GOOD | {"id": "a", "yaw": "left"}, "--yaw"),
    "truth": (GOOD | {"id": "a", "strict": "perhaps"}, "strict: expected true or false, got 'perhaps'"),
    "truth for a number": (GOOD | {"id": "a", "yaw": True}, "yaw: expected a value, got true"),
    "several": (GOOD | {"id": "a", "yaw": [1, 2]}, "yaw: expected one value, got 2"),
    "coefficients": (
        {"id": "a", "portrait": "p.png", "coefficients": "c.npy"},
        "source-coefficients",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_what_is_wrong_with_a_row(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for file in ("p.png", "d.mp4", "m.npz", "c.npy"):
        Path(file).write_bytes(b"content")
    values, message = ROWS[name]
    with open_results("out") as results:
        (refused,) = plan([Row(1, values)], results, read_values)
    assert isinstance(refused, Refused)
    assert message in refused.error
    assert "\n" not in refused.error


@pytest.mark.parametrize(
    "line", ['{"id"', "[1]", "3", '{"id": {"a": 1}}', '{"id": "' + "[" * 60_000, "[" * 60_000]
)
def test_a_line_that_is_no_row_costs_no_other(tmp_path, line):
    path = tmp_path / "jobs.jsonl"
    path.write_text(f'{line}\n{{"id": "b"}}\n')
    first, second = read_rows(path)
    assert first.fault
    assert second == Row(2, {"id": "b"})


def test_a_row_of_too_much_costs_no_other(tmp_path):
    """A number that Python makes no text of, more names than any command has, a list within lists."""
    whole = f"0x{'f' * 4000}"
    (tmp_path / "jobs.toml").write_text(
        f"[[jobs]]\nid = {whole}\n[[jobs]]\nid = 'b'\nyaw = [1, {whole}]\n[[jobs]]\nid = 'c'\n"
    )
    names = ", ".join(f'"a{i}": 1' for i in range(300))
    nested = "[" * 900 + "]" * 900
    (tmp_path / "jobs.jsonl").write_text(
        f'{{"id": "a", {names}}}\n{{"id": {nested}}}\n{nested}\n{{"id": "d"}}\n'
    )
    *faulty, last = read_rows(tmp_path / "jobs.toml")
    assert [row.fault for row in faulty] == [
        "id: expected a number of at most 64 bits, got int",
        "yaw: expected a number of at most 64 bits, got list",
    ]
    assert faulty[1].values == {"id": "b"}
    assert last == Row(3, {"id": "c"})
    *faulty, last = read_rows(tmp_path / "jobs.jsonl")
    assert [row.fault.partition(":")[0] for row in faulty] == [
        "expected at most 256 names, got 301",
        "id",
        "expected names with values, got list",
    ]
    assert last == Row(4, {"id": "d"})


def test_a_folder_of_weights_is_not_searched_without_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("p.png", "d.mp4"):
        Path(file).write_bytes(b"content")
    monkeypatch.setattr(search, "MOST", 5)
    for i in range(6):
        (tmp_path / "weights" / str(i)).mkdir(parents=True)
    (refused,) = planned(tmp_path / "out", GOOD | {"id": "a", "weights": "weights"})
    assert isinstance(refused, Refused)
    assert "more than 5 folders" in refused.error


@pytest.mark.parametrize("name", [LINES, LOCK])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_results_are_in_files(tmp_path, name, make):
    (tmp_path / "out").mkdir()
    make(tmp_path / "out" / name)
    with (
        pytest.raises(ValueError, match=f"{name}: expected a file, got a folder, a pipe"),
        open_results(tmp_path / "out"),
    ):
        pass


def planned(folder: Path, *rows: dict) -> list[Job | Refused]:
    with open_results(folder) as results:
        return list(plan([Row(i, row) for i, row in enumerate(rows, 1)], results, read_values))


def test_values_become_the_options_of_their_command(tmp_path):
    words = read_values(
        GOOD
        | {
            "id": "a",
            "yaw": -20,
            "relative": "FALSE",
            "paste-back": True,
            "crop": False,
            "strict": False,
            "strength": ["3=0.5", "1=2"],
            "weights": "random",
            "roll": None,
            "still": "",
        },
        tmp_path / "a.mp4",
    ).words
    call = call_of(words)
    assert isinstance(call, Call)
    given = call.arguments
    assert (given["portrait"], given["driving"]) == (Path("p.png"), Path("d.mp4"))
    assert (given["view"].yaw, given["view"].roll, given["relative"]) == (-20, None, False)
    assert (given["paste_back"], given["strict"], given["still"]) == (True, False, None)
    assert given["crop"] == CropChoice("none")
    assert given["edit"].strength == {(3,): 0.5, (1,): 2.0}
    assert call.model["weights"] == "random"


def test_the_key_is_of_content_and_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("p.png", "same.png", "d.mp4", "still.png"):
        Path(file).write_bytes(b"content")
    Path("weights").mkdir()
    Path("weights/a.pth").write_bytes(b"1")
    base = GOOD | {"weights": "weights"}

    def keys(*rows: dict) -> list[str]:
        jobs = planned(tmp_path / "out", *({"id": str(i), **row} for i, row in enumerate(rows)))
        return [job.key for job in jobs if isinstance(job, Job)]

    same = keys(
        base, base | {"portrait": "same.png"}, base | {"lost": "hold", "yaw": None}, base | {"face": 1}
    )
    assert len(same) == 4
    assert len(set(same)) == 1, "names of files and defaults do not count"
    others = keys(
        base | {"yaw": 0}, base | {"still": "still.png"}, base | {"relative": False}, base | {"face": 2}
    )
    assert len({*same, *others}) == 5
    for file in ("p.png", "d.mp4", "still.png", "weights/a.pth"):
        before = keys(base | {"still": "still.png"})
        Path(file).write_bytes(b"other")
        assert keys(base | {"still": "still.png"}) != before, file


def test_no_job_reads_what_another_one_makes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("p.png", "d.mp4"):
        Path(file).write_bytes(b"content")
    Path("out").mkdir()
    Path("out/a.mp4").write_bytes(b"content")
    rows = [
        GOOD | {"id": "a"},
        GOOD | {"id": "b", "driving": "./out/a.mp4"},
        GOOD | {"id": "c", "still": "out/a.mp4"},
    ]
    one, *others = planned(Path("out"), *rows)
    assert isinstance(one, Job)
    for other in others:
        assert isinstance(other, Refused)
        assert "row 1 makes this file" in other.error


def test_folders_are_paired(fv2v, tmp_path):
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png"):
        (tmp_path / "p").mkdir(exist_ok=True)
        (tmp_path / "p" / name).write_bytes(b"1")
    for name in ("x.mp4", "y.npz"):
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / "d" / name).write_bytes(b"1")
    rows = pair_rows(tmp_path / "p", tmp_path / "d")
    assert [row.values["id"] for row in rows] == ["a+x", "a+y", "b+x", "b+y"]
    assert rows[3].values["motion"] == str(tmp_path / "d" / "y.npz")
    assert [row.values["id"] for row in pair_rows(tmp_path / "p", tmp_path / "d", zipped=True)] == [
        "a+x",
        "b+y",
    ]
    (tmp_path / "d" / "z.mp4").write_bytes(b"1")
    command = ["batch", "--portraits", tmp_path / "p", "--drivers", tmp_path / "d", "-o"]
    assert_refused(fv2v(*command, tmp_path / "out", "--zip"), "got 2 in")
    assert_refused(fv2v(*command, tmp_path / "d"), "expected another folder")
    assert_refused(
        fv2v("batch", "--portraits", tmp_path / "p", "-o", tmp_path / "out"), "expected JOBS, or both"
    )


@pytest.mark.parametrize("part", [b'{"id": "b", "st', b"\0" * 200_000, b""])
def test_a_part_of_a_last_line_is_cut_off(tmp_path, part):
    with open_results(tmp_path / "out") as results:
        results.output("a").write_bytes(b"clip")
        digest = "58a4a4be1fb3cd2a2e1ec1aba8ab3a4cca0b5bea8aafa8a50cc2b9a9d9a3b9ae"
        results.add({"id": "a", "status": "done", "key": "k", "sha256": digest})
    with (tmp_path / "out" / LINES).open("ab") as file:
        file.write(part)
    with open_results(tmp_path / "out") as results:
        results.add({"id": "c", "status": "failed"})
    assert [line["id"] for line in batches.lines(tmp_path / "out")] == ["a", "c"]


def test_a_clip_is_kept_that_is_as_it_was_written(tmp_path):
    import hashlib

    damage = [b"[1]\n", b"\xff\n", b"{}\n", b'{"status": "done"}\n', b"[" * 100_000 + b"\n"]
    with open_results(tmp_path / "out") as results:
        clip = results.output("a")
        clip.write_bytes(b"clip")
        results.add({"id": "a", "status": "done", "key": "k", "sha256": hashlib.sha256(b"clip").hexdigest()})
        results.add({"id": "a", "status": "failed", "error": "of another row of that id"})
    with (tmp_path / "out" / LINES).open("ab") as file:
        file.write(b"".join(damage))
    with open_results(tmp_path / "out") as results:
        assert results.has("a", "k")
        assert not results.has("a", "other")
        assert not results.has("b", "k")
        clip.write_bytes(b"clap")
        assert not results.has("a", "k")
        clip.unlink()
        assert not results.has("a", "k")


def test_recent_keeps_so_many_and_what_fails_is_not_kept():
    made = []
    recent: Recent[int] = Recent(2)
    for key in (1, 2, 1, 3, 1, 2):
        recent.get(key, lambda key=key: made.append(key) or key)
    assert made == [1, 2, 3, 2], "the one that was not asked for the longest goes"
    with pytest.raises(ZeroDivisionError):
        recent.get(4, lambda: 1 // 0)
    assert recent.get(4, lambda: 5) == 5
