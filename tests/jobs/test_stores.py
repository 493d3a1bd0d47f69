# SPDX-License-Identifier: Apache-2.0
"""Inputs and outputs of batches in stores that fsspec knows: in memory, in files, and S3, a local server."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import batches
import fsspec
import pytest
from processes import make_once
from refusals import assert_refused

from fv2v.cli.rows import call_of, read_values
from fv2v.io import stores
from fv2v.io.stores import check_folder, fetch, is_url, put, state_of
from fv2v.jobs.nearby import KEPT, Nearby
from fv2v.jobs.worker import Worker


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    return make_once(tmp_path_factory, "batch", batches.write_inputs)


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    """A server with an empty bucket, `clips`; processes find it by what is in their environment."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        host, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "anyone")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("clips")
        yield
    server.stop()


def test_what_is_an_address():
    assert all(map(is_url, ("s3://bucket/a.mp4", "memory://a", "file:///a")))
    assert not any(map(is_url, ("a.mp4", "/a/b", "C:\\a", "C:/a", "frames/%04d.png", "3=0.5", "s3:/a")))


def test_a_worker_takes_and_leaves_files_in_a_store(inputs, tmp_path, memory):
    """The same bytes as of files; its own copies go with it, and what goes wrong has the address."""
    for name in ("p0.png", "d0.mp4", "tiny.safetensors"):
        memory.put_file(str(inputs / name), f"/in/{name}")
    row = {"portrait": "memory://in/p0.png", "driving": "memory://in/d0.mp4", "crop": False}
    weights = {"weights": "memory://in/tiny.safetensors"}
    worker = Worker(call_of)
    outcome = worker.carry_out(read_values(row | weights, "memory://out/a.mp4").words)
    assert outcome.error == ""
    local = {"portrait": str(inputs / "p0.png"), "driving": str(inputs / "d0.mp4"), "crop": False}
    one = tmp_path / "one.mp4"
    worker.run(read_values(local | {"weights": str(inputs / "tiny.safetensors")}, one).words)
    assert memory.cat("/out/a.mp4") == one.read_bytes()
    assert memory.ls("/out", detail=False) == ["/out/a.mp4"]
    assert outcome.facts["stored"] == state_of("memory://out/a.mp4")
    memory.pipe("/in/d1.mp4", b"no film")
    broken = worker.carry_out(read_values(row | weights | {"driving": "memory://in/d1.mp4"}, one).words)
    assert "memory://in/d1.mp4" in broken.error
    gone = worker.carry_out(read_values(row | weights | {"driving": "memory://in/d2.mp4"}, one).words)
    assert gone.error.startswith("memory://in/d2.mp4: no such file")


def test_copies_are_kept_so_many_and_go_with_their_owner(tmp_path, memory, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for i in range(KEPT + 3):
        memory.pipe(f"/in/{i}.png", b"%d" % i)
    nearby = Nearby()
    for i in range(KEPT + 3):
        with nearby.words(["render", f"--still=memory://in/{i}.png", "--yaw=3"]) as (_, still, yaw):
            assert yaw == "--yaw=3"
            assert Path(still.removeprefix("--still=")).read_bytes() == b"%d" % i
    copies = [path.name for path in tmp_path.rglob("*.png")]
    assert sorted(copies) == sorted(f"{i}.png" for i in range(3, KEPT + 3))
    many = [f"memory://in/{i}.png" for i in range(KEPT + 3)]
    with nearby.words(many) as paths:  # more than are kept: those of one command stay until it ends
        assert [Path(path).read_bytes() for path in paths] == [b"%d" % i for i in range(KEPT + 3)]
    del nearby
    assert not [*tmp_path.iterdir()]


WRONG = {
    "memory://a/none": (FileNotFoundError, "memory://a/none: no such file"),
    "memory://a/empty": (ValueError, "memory://a/empty: the file is empty"),
    "memory://a": (ValueError, "memory://a: expected a file, got a folder"),
    "nowhere://a": (ValueError, "nowhere://a: Protocol not known: nowhere"),
    "http://127.0.0.1:9/a": (OSError, "http://127.0.0.1:9/a: "),
}


@pytest.mark.parametrize("url", WRONG)
def test_what_is_no_file_there(memory, url):
    memory.pipe("/a/empty", b"")
    kind, message = WRONG[url]
    with pytest.raises(kind, match="^" + message):
        state_of(url)


def test_no_more_than_a_bound_is_brought(tmp_path, memory, monkeypatch):
    memory.pipe("/a/long.mp4", bytes(1001))
    monkeypatch.setattr(stores, "LARGEST", 1000)
    with pytest.raises(ValueError, match=r"memory://a/long\.mp4: expected at most 1000 bytes, got 1001"):
        fetch("memory://a/long.mp4", tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_file_that_cannot_be_put_leaves_nothing(tmp_path, memory, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"new")
    memory.pipe("/out/a.mp4", b"old")

    def full(*arguments: object, **options: object) -> None:
        raise OSError("no place")

    monkeypatch.setattr(type(memory), "mv", full)
    with pytest.raises(OSError, match=r"memory://out/a\.mp4: no place"):
        put(tmp_path / "a.mp4", "memory://out/a.mp4")
    assert memory.find("/out") == ["/out/a.mp4"]
    assert memory.cat("/out/a.mp4") == b"old"


def test_files_of_a_web_server_are_brought(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.png").write_bytes(b"picture")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "there")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with ExitStack() as stack:
            stack.callback(server.shutdown)
            url = f"http://127.0.0.1:{server.server_port}/a.png"
            assert state_of(url).startswith("7 ")
            copy = fetch(f"{url}?size=large", tmp_path)
    assert (copy.name, copy.read_bytes()) == ("a.png", b"picture")


def rows_at(place: str, count: int) -> list[dict]:
    """`plain_rows` whose files lie there."""
    rows = batches.plain_rows(Path(), count)
    return [row | {name: f"{place}/{row[name]}" for name in ("portrait", "driving")} for row in rows]


def check_batch(fv2v, inputs: Path, tmp_path: Path, place: str, store: fsspec.AbstractFileSystem, root: str):
    """From a store into it: the bytes of a batch of files; nothing twice; what changed, again."""
    for name in ("p0.png", "p1.png", "d0.mp4", "d1.mp4", "tiny.safetensors"):
        store.put_file(str(inputs / name), f"{root}/in/{name}")
    worker = Worker(call_of)
    for job in batches.jobs_of(inputs, tmp_path / "whole", batches.plain_rows(inputs, 4)):
        worker.run(job.words)
    expected = batches.made(tmp_path / "whole")
    gone = rows_at(f"{place}/in", 1)[0] | {"id": "gone", "driving": f"{place}/in/d9.mp4"}
    rows = [*rows_at(f"{place}/in", 4), gone]
    command = ["batch", batches.write_rows(tmp_path / "jobs.jsonl", rows), "-o", tmp_path / "out"]
    command += ["-w", f"{place}/in/tiny.safetensors", "--to", f"{place}/out/"]

    def made() -> dict[str, bytes]:
        store.invalidate_cache()
        paths = [path for path in store.find(f"{root}/out") if path.endswith(".mp4")]
        return {Path(path).name: store.cat(path) for path in paths}

    code, out, err = fv2v(*command)
    assert (code, err.count("\n")) == (1, 1)
    assert f"{place}/in/d9.mp4: no such file" in err
    assert out.startswith(f"{tmp_path / 'out'}: 4 made, 0 kept, 1 failed of 5; ")
    assert made() == expected
    assert not batches.made(tmp_path / "out")
    done = {line["output"] for line in batches.lines(tmp_path / "out") if line["status"] == "done"}
    assert done == {f"{place}/out/{name}" for name in expected}
    assert fv2v(*command)[1].startswith(f"{tmp_path / 'out'}: 0 made, 4 kept, 1 failed of 5; ")
    store.put_file(str(inputs / "p0.png"), f"{root}/in/p1.png")
    store.rm_file(f"{root}/out/clip-00.mp4")
    assert fv2v(*command)[1].startswith(f"{tmp_path / 'out'}: 3 made, 1 kept, 1 failed of 5; ")
    now = made()
    assert now["clip-00.mp4"] == expected["clip-00.mp4"]
    assert now["clip-02.mp4"] == expected["clip-02.mp4"]
    assert now["clip-01.mp4"] != expected["clip-01.mp4"], "another portrait"


def test_a_batch_of_addresses_of_files(fv2v, inputs, tmp_path):
    store = fsspec.filesystem("file")
    (tmp_path / "store" / "in").mkdir(parents=True)
    check_batch(fv2v, inputs, tmp_path, f"file://{tmp_path}/store", store, f"{tmp_path}/store")
    assert sorted(path.name for path in (tmp_path / "store" / "out").iterdir()) == [
        ".fv2v",
        *(f"clip-{i:02}.mp4" for i in range(4)),
    ]


@pytest.mark.slow
def test_a_batch_of_objects_of_s3(fv2v, inputs, tmp_path, s3):
    check_batch(fv2v, inputs, tmp_path, "s3://clips/a", fsspec.filesystem("s3"), "clips/a")


@pytest.mark.slow
def test_a_bucket_that_is_not_there_costs_no_clip(fv2v, inputs, tmp_path, s3):
    jobs = batches.write_rows(tmp_path / "jobs.jsonl", batches.plain_rows(inputs, 1))
    result = fv2v("batch", jobs, "-o", tmp_path / "out", "-w", "random", "--to", "s3://other/out")
    assert_refused(result, "s3://other/out")
    assert not (tmp_path / "out").exists()


REFUSED = {
    "an output that lines cannot be added to": (("-o", "s3://clips/a"), "--to URL for the clips"),
    "a folder": (("-o", "out", "--to", "clips"), "clips: expected a folder of a store, as s3://"),
    "no store": (("-o", "out", "--to", "nowhere://clips"), "Protocol not known: nowhere"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_place_for_clips(fv2v, inputs, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    jobs = batches.write_rows(tmp_path / "jobs.jsonl", batches.plain_rows(inputs, 1))
    options, message = REFUSED[name]
    assert_refused(fv2v("batch", jobs, "-w", "random", *options), message)
    assert not (tmp_path / "out").exists()


def test_without_s3fs_a_line_says_which_extra(monkeypatch):
    monkeypatch.setattr("fv2v.extras.installed", lambda package: package != "s3fs")
    with pytest.raises(ValueError, match=r"s3://b/a: s3:// needs s3fs: pip install '\.\[s3\]'"):
        check_folder("s3://b/a")
