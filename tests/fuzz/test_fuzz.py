# SPDX-License-Identifier: Apache-2.0
"""Each reader is fuzzed, from small good files; inputs that once failed are tried first, always.

A minute each from one seed, nearly the same inputs every time: whoever changes something else is not stopped
by what was never tried before. `FV2V_FUZZ_SECONDS=600 pytest --slow tests/fuzz` searches on, ten minutes.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT, SUPPORT, TESTS
from processes import through_a_shell

HERE = TESTS / "fuzz"
SECONDS = os.environ.get("FV2V_FUZZ_SECONDS")
EXTENT = [f"-max_total_time={SECONDS}"] if SECONDS else ["-max_total_time=60", "-seed=1"]
TARGETS = (
    "pictures",
    "films",
    "sounds",
    "faces-json",
    "faces-csv",
    "faces-npy",
    "motion",
    "templates",
    "pickles",
    "coefficients",
    "ratios",
    "shards",
    "configs",
    "weights",
    "torch",
    "jobs",
    "folders",
)


def fuzz(target: str, *options: object, folder: Path) -> None:
    command = [sys.executable, HERE / "fuzz.py", target, *options, f"-artifact_prefix={folder}/"]
    result = subprocess.run(
        through_a_shell(list(map(str, command))),
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, (HERE, SUPPORT)))},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-4000:]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has wheels for Linux alone")
@pytest.mark.parametrize("target", TARGETS)
def test_no_input_does_harm(target, tmp_path):
    import seeds

    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, content in seeds.of(target, tmp_path).items():
        (corpus / f"seed-{name.replace('/', '-')}").write_bytes(content)
    for kept in sorted((HERE / "regressions").glob(f"{target}-*")):
        (corpus / kept.name).write_bytes(kept.read_bytes())
    fuzz(target, corpus, *EXTENT, folder=tmp_path)
