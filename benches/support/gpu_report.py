# SPDX-License-Identifier: Apache-2.0
"""The JSON of a run of gpu.sh: `gpu_report.py WORK OUT` writes OUT/<gpu>-<date>.json from what stages left.

It is pytest-benchmark's own file, for `fv2v bench --against` and `--benchmark-compare`, with one entry more,
"gpu_run": machine, driver and toolkit, how each stage ended, the suite's counts, the sanitizer's verdicts.
"""

import hashlib
import json
import platform
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
SUFFIXES = {".py", ".cpp", ".cu", ".h", ".sh"}
SOURCES = ("benches", "csrc", "fv2v", "fv2v_kernels", "tests")
TOOLS = ("memcheck", "racecheck", "initcheck")
BENCHES = ("frames", "operators", "compiled")  # each leaves pytest-benchmark's JSON
STAGES = ("build", "tests", "profile", "kernels", *TOOLS, *BENCHES)

ERRORS = re.compile(r"^========= ERROR SUMMARY: (\d+) errors?$", re.M)
HAZARDS = re.compile(
    r"^========= RACECHECK SUMMARY: \d+ hazards? displayed \((\d+) errors?, (\d+) warnings?\)$", re.M
)
KERNEL = re.compile(r"^=========.*\bat (.+?)\+0x[0-9a-f]+", re.M)  # where an error was found
SAID = re.compile(r"^========= (?!COMPUTE-SANITIZER|    )(.+)$", re.M)


def read_run(work: Path) -> dict[str, Any]:
    """What the stages of one call left in `work`: stages.tsv, <stage>.xml, <tool>.sanitizer."""
    rows = (line.split("\t") for line in (work / "stages.tsv").read_text().splitlines())
    stages = {
        name: {"ended": ended, "seconds": int(seconds), "limit": int(limit)}
        for name, ended, seconds, limit in rows
    }
    for name, stage in stages.items():
        if name == "tests":
            stage |= read_junit(work / "tests.xml")
        elif name in TOOLS:
            stage |= read_junit(work / f"{name}.xml") | read_sanitizer(work / f"{name}.sanitizer")
        stage["clean"] = is_clean(name, stage)
    return stages


def read_junit(path: Path) -> dict[str, Any]:
    """Counts of a pytest run, what failed, and why tests were skipped. Empty if it left no report."""
    if not path.exists():
        return {}
    cases = list(ET.parse(path).getroot().iter("testcase"))
    failed = [case for case in cases if any(case.find(tag) is not None for tag in ("failure", "error"))]
    skipped = [skip.get("message", "") for case in cases for skip in case.iter("skipped")]
    names = (".".join(filter(None, (case.get("classname"), case.get("name")))) for case in failed)
    return {
        "passed": len(cases) - len(failed) - len(skipped),
        "failed": len(failed),
        "skipped": len(skipped),
        "failures": sorted(set(names)),
        "skips": dict(Counter(skipped).most_common()),
    }


def read_sanitizer(path: Path) -> dict[str, Any]:
    """The errors that compute-sanitizer counted, and in which kernels; without a summary, what it said."""
    if not path.exists():
        return {}
    text = path.read_text(errors="replace")
    found = ERRORS.findall(text) or [sum(map(int, counts)) for counts in HAZARDS.findall(text)]
    said = {} if found else {"said": SAID.findall(text)[:10]}
    return {"errors": int(found[-1]) if found else None, "kernels": sorted(set(KERNEL.findall(text)))} | said


def is_clean(name: str, stage: dict[str, Any]) -> bool:
    """Ended well, and with evidence: tests that passed, none that failed, a summary without errors."""
    clean = stage["ended"] == "ok"
    if name == "tests" or name in TOOLS:
        clean = clean and stage.get("passed", 0) > 0 and stage.get("failed") == 0
    return clean and (name not in TOOLS or stage.get("errors") == 0)


def report(
    stages: dict[str, Any], results: list[dict[str, Any]], about: dict[str, Any], earlier: dict[str, Any]
) -> dict[str, Any]:
    """This call's stages and bench results, and those of an `earlier` file if its sources are the same."""
    before = earlier.get("gpu_run", {})
    if before.get("machine", {}).get("sources") != about["sources"]:
        before = earlier = {}
    rows = {row["fullname"]: row for each in (earlier, *results) for row in each.get("benchmarks", ())}
    all_stages = before.get("stages", {}) | stages
    return {
        "machine_info": {"device": about["gpu"]},
        "commit_info": {},
        "datetime": datetime.now(timezone.utc).isoformat(),
        **{key: value for each in (earlier, *results) for key, value in each.items()},
        "benchmarks": list(rows.values()),
        "gpu_run": {
            "clean": all(all_stages.get(name, {}).get("clean", False) for name in STAGES),
            "machine": about,
            "stages": all_stages,
        },
    }


def describe() -> dict[str, Any]:
    """The machine, its driver and toolkit, and which sources were measured: never the host's name."""
    device = torch.cuda.get_device_properties(0)
    return {
        "gpu": device.name,
        "capability": f"{device.major}.{device.minor}",
        "multiprocessors": device.multi_processor_count,
        "memory_bytes": device.total_memory,
        "driver": ask("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "nvcc": ask("nvcc", "--version"),
        "compute-sanitizer": ask("compute-sanitizer", "--version"),
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "python": platform.python_version(),
        "system": platform.platform(),
        "sources": digest(),
    }


def ask(*command: str) -> str | None:
    """What a tool says of its version; None where it is missing."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    except OSError:
        return None
    version = re.search(r"\bV(?:ersion )?(\d[.\d]+)", said)
    return version[1] if version else said.strip()


def digest() -> str:
    """Of every source file: a machine that gets the tree alone has no commit to name."""
    files = sorted(
        path for folder in SOURCES for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES
    )
    content = hashlib.sha256()
    for path in files:
        content.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return content.hexdigest()[:16]


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def write(work: Path, out: Path, about: dict[str, Any]) -> int:
    """Write the file, tell what is in it, and return 0 if every stage of this call was clean."""
    stages = read_run(work)
    name = re.sub(r"\W+", "-", about["gpu"].lower()).strip("-")
    target = out / f"{name}-{datetime.now():%Y-%m-%d}.json"
    earlier = load(target) or load(ROOT / "benches" / "results" / target.name)
    out.mkdir(parents=True, exist_ok=True)
    whole = report(stages, [load(work / f"{name}.json") for name in BENCHES], about, earlier)
    target.write_text(json.dumps(whole, indent=1))
    for stage, found in stages.items():
        counts = [f"{found[key]} {key}" for key in ("passed", "failed", "skipped", "errors") if key in found]
        verdict = "clean" if found["clean"] else "NOT CLEAN"
        print(f"{stage}: {verdict} ({', '.join([found['ended'], *counts])})")
    print(f"written: {target}")
    return 0 if all(found["clean"] for found in stages.values()) else 1


if __name__ == "__main__":
    sys.exit(write(Path(sys.argv[1]), Path(sys.argv[2]), describe()))
