# SPDX-License-Identifier: Apache-2.0
"""benches/gpu.sh without a GPU: what it says, and the report it makes of what its tools leave behind."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from places import ROOT, TESTS

from fv2v.diagnostics import bench_results

SCRIPT = ROOT / "benches" / "gpu.sh"
REPORT = runpy.run_path(str(ROOT / "benches" / "support" / "gpu_report.py"))
ABOUT = {"gpu": "NVIDIA H200", "driver": "580.159.04", "sources": "0123456789abcdef"}

SUITE = """
import pytest

@pytest.mark.parametrize("n", [1, 2, 3])
def test_passes(n):
    assert n

def test_fails():
    assert False

@pytest.fixture
def broken():
    raise RuntimeError("no fixture")

def test_errs(broken):
    pass

@pytest.mark.parametrize("n", [1, 2])
def test_skips(n):
    pytest.skip("no such kernel")
"""
CLEAN = """\
========= COMPUTE-SANITIZER
========= ERROR SUMMARY: 0 errors
"""
OUT_OF_BOUNDS = """\
========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at void fv2v::forward<float>(fv2v::Volume<const float>, float *)+0x1b0
=========     by thread (31,0,0) in block (7,0,0)
=========     Access at 0x7f3dd5a00200 is out of bounds
=========     and is 1 bytes after the nearest allocation at 0x7f3dd5a00000 of size 512 bytes
========= ERROR SUMMARY: 180 errors
========= ERROR SUMMARY: 80 errors were not printed. Use --print-limit option to adjust the number
"""
RACE = """\
========= COMPUTE-SANITIZER
========= Warning: Race reported between Read access at fv2v::add_blocks(double *)+0x2f0
=========     and Write access at fv2v::add_blocks(double *)+0x310 [24 hazards]
=========
========= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)
"""
NO_RACE = """\
========= COMPUTE-SANITIZER
========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)
"""
CUT_SHORT = """\
========= COMPUTE-SANITIZER
========= Error: process didn't terminate successfully
=========     The application may have hit an error when dereferencing Unified Memory from the host.
========= Target application terminated before first instrumented API call
"""


def run_script(*stages: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(SCRIPT), *stages], env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True,
    )  # fmt: skip


def junit(folder: Path, suite: str) -> Path:
    """A real report of pytest's."""
    (folder / "test_suite.py").write_text(suite)
    options = ["-q", "-p", "no:cacheprovider", "--junit-xml=tests.xml"]
    subprocess.run(
        [sys.executable, "-m", "pytest", "test_suite.py", *options], cwd=folder, capture_output=True
    )
    return folder / "tests.xml"


@pytest.fixture(scope="module")
def passing(tmp_path_factory):
    return junit(tmp_path_factory.mktemp("passing"), SUITE.partition("def test_fails")[0]).read_text()


@pytest.fixture
def work(tmp_path, passing):
    """A working folder after the stages of `tests` and `sanitizers`, all clean."""
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("tests", "memcheck", "racecheck", "initcheck"):
        (folder / f"{name}.xml").write_text(passing)
    rows = [
        ("build", 61),
        ("tests", 190),
        ("profile", 20),
        ("kernels", 30),
        ("memcheck", 40),
        ("racecheck", 45),
        ("initcheck", 50),
    ]
    (folder / "stages.tsv").write_text("".join(f"{name}\tok\t{took}\t200\n" for name, took in rows))
    for tool in ("memcheck", "racecheck", "initcheck"):
        (folder / f"{tool}.sanitizer").write_text(NO_RACE if tool == "racecheck" else CLEAN)
    return folder


def test_it_is_a_script_that_bash_can_read():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    assert SCRIPT.stat().st_mode & 0o111


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    for call in ("tests", "sanitizers", "benches"):
        done = run_script(call)
        assert done.returncode == 2
        assert "this needs a GPU" in done.stderr
        assert not done.stdout


@pytest.mark.parametrize("arguments", [(), ("sanitisers",), ("tests", "benches"), ("wheels",)])
def test_a_wrong_call_names_the_right_ones(arguments):
    done = run_script(*arguments)
    assert done.returncode == 2
    got = " ".join(arguments) or "nothing"
    assert done.stderr == f"gpu.sh: expected one of tests, sanitizers, benches, wheels FOLDER; got {got}\n"


def test_where_the_cases_for_a_gpu_are():
    """In the folders that the script names, or they would never run on a GPU."""
    [folders] = re.findall(r"^GPU_TESTS=\((.+?)\)", SCRIPT.read_text(), re.M)
    marked = re.compile(r"mark\.gpu\b|OpContract\)")
    found = {
        f"tests/{path.relative_to(TESTS).parts[0]}"
        for path in TESTS.rglob("test_*.py")
        if marked.search(path.read_text()) and path != Path(__file__)
    }
    assert found == set(folders.split())


def test_which_rows_of_a_frame_it_runs():
    """All but the compiled ones, which take a minute each: of those the whole frame alone, last."""
    found = {}
    for stage in ("frames", "compiled"):
        [rows] = re.findall(rf'bench {stage} "(.+?)"', SCRIPT.read_text())
        command = [sys.executable, "-m", "pytest", "benches/bench_reenactor.py", "--full", "-k", rows]
        done = subprocess.run(
            [*command, "--collect-only", "-q", "-p", "no:cacheprovider"],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        found[stage] = re.findall(r"test_reenactor\[(.+)\]", done.stdout)
    assert len([name for name in found["frames"] if name.endswith("frame path")]) == 2 * 4 * 5
    assert not [name for name in found["frames"] if name.endswith("torch.compile")]
    presets = ("vox-256", "fomm-256", "vox-256-spade", "liveportrait")
    assert found["compiled"] == [f"{preset}-whole frame-torch.compile" for preset in presets]


def test_counts_of_a_suite(tmp_path):
    assert REPORT["read_junit"](junit(tmp_path, SUITE)) == {
        "passed": 3,
        "failed": 2,
        "skipped": 2,
        "failures": ["test_suite.test_errs", "test_suite.test_fails"],
        "skips": {"no such kernel": 2},
    }


@pytest.mark.parametrize(
    ("log", "errors", "kernels"),
    [
        (CLEAN, 0, []),
        (NO_RACE, 0, []),
        (OUT_OF_BOUNDS, 180, ["void fv2v::forward<float>(fv2v::Volume<const float>, float *)"]),
        (RACE, 1, ["fv2v::add_blocks(double *)"]),
        (CUT_SHORT, None, []),
    ],
    ids=["clean", "no race", "out of bounds", "race", "cut short"],
)
def test_verdict_of_a_sanitizer(tmp_path, log, errors, kernels):
    (tmp_path / "tool.sanitizer").write_text(log)
    found = REPORT["read_sanitizer"](tmp_path / "tool.sanitizer")
    assert (found["errors"], found["kernels"]) == (errors, kernels)
    if errors is None:
        assert found["said"][-1] == "Target application terminated before first instrumented API call"


def test_a_clean_run(work, tmp_path):
    assert REPORT["write"](work, tmp_path / "out", ABOUT) == 0
    [path] = (tmp_path / "out").iterdir()
    assert path.name.startswith("nvidia-h200-20")
    whole = json.loads(path.read_text())
    run = whole["gpu_run"]
    assert run["machine"] == ABOUT
    assert not run["clean"]  # no benches yet
    assert run["stages"]["tests"]["passed"] == 3
    assert run["stages"]["racecheck"] == {
        "ended": "ok", "seconds": 45, "limit": 200, "errors": 0, "kernels": [], "clean": True,
        "passed": 3, "failed": 0, "skipped": 0, "failures": [], "skips": {},
    }  # fmt: skip
    assert bench_results.machine(bench_results.load(path)).startswith("NVIDIA H200")


def test_a_later_call_adds_to_the_file(work, tmp_path):
    REPORT["write"](work, tmp_path / "out", ABOUT)
    row = {"group": "g", "name": "row", "fullname": "row", "stats": {"median": 2e-5}, "extra_info": {}}
    info = {"device": "NVIDIA H200", "copy_GB/s": 4300.0}
    (work / "operators.json").write_text(json.dumps({"machine_info": info, "benchmarks": [row]}))
    (work / "stages.tsv").write_text("build\tok\t9\t80\noperators\tok\t300\t400\n")
    assert REPORT["write"](work, tmp_path / "out", ABOUT) == 0
    [path] = (tmp_path / "out").iterdir()
    results = bench_results.load(path)
    assert [each.name for each in bench_results.read_rows(results)] == ["row"]
    assert not results["gpu_run"]["clean"]  # no frames yet

    (work / "operators.json").unlink()
    frame = row | {"name": "frame", "fullname": "frame"}
    (work / "frames.json").write_text(json.dumps({"machine_info": info, "benchmarks": [frame]}))
    (work / "stages.tsv").write_text("build\tok\t9\t80\nframes\tok\t300\t400\ncompiled\tok\t60\t90\n")
    assert REPORT["write"](work, tmp_path / "out", ABOUT) == 0
    results = bench_results.load(path)
    assert [each.name for each in bench_results.read_rows(results)] == ["row", "frame"]
    assert results["gpu_run"]["clean"]
    assert results["gpu_run"]["stages"]["tests"]["passed"] == 3
    assert results["gpu_run"]["stages"]["build"]["seconds"] == 9

    assert REPORT["write"](work, tmp_path / "out", ABOUT | {"sources": "of another commit"}) == 0
    results = bench_results.load(path)
    assert results["gpu_run"]["stages"].keys() == {"build", "frames", "compiled"}
    assert [each.name for each in bench_results.read_rows(results)] == ["frame"]


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        ("tests", {"tests.xml": None}),
        ("memcheck", {"memcheck.sanitizer": OUT_OF_BOUNDS}),
        ("racecheck", {"racecheck.sanitizer": RACE}),
        ("initcheck", {"initcheck.sanitizer": CUT_SHORT}),
        ("memcheck", {"memcheck.xml": '<testsuites><testsuite name="pytest" tests="0" /></testsuites>'}),
        ("tests", {"stages.tsv": "build\tok\t60\t80\ntests\tout of time\t200\t200\n"}),
        ("build", {"stages.tsv": "build\tfailed\t60\t80\ntests\tnot built\t0\t0\n"}),
        ("memcheck", {"stages.tsv": "build\tok\t9\t9\nmemcheck\tcompute-sanitizer is missing\t0\t0\n"}),
    ],
)  # fmt: skip
def test_what_is_not_clean(work, tmp_path, stage, change, capsys):
    for name, content in change.items():
        (work / name).unlink()
        if content is not None:
            (work / name).write_text(content)
    assert REPORT["write"](work, tmp_path / "out", ABOUT) == 1
    assert f"{stage}: NOT CLEAN" in capsys.readouterr().out
