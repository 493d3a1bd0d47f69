# SPDX-License-Identifier: Apache-2.0
"""Exported programs run in a process that has the operators and nothing else of this project."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from exporting import BOUND, awake, fed_and_shown
from tiny import TINIES, TINY, TINY_LIVEPORTRAIT, pictures

from fv2v.export import export_torch

CASES = [(config, config.geometry.relative) for config in TINIES] + [
    (TINY, False),
    (TINY_LIVEPORTRAIT, False),
]
# every folder given: frame.pt2 on the inputs of fed.npz, in the order of its files
SCRIPT = """
import sys
from pathlib import Path
import numpy as np, torch
import fv2v_kernels
for folder in map(Path, sys.argv[1:]):
    program = torch.export.load(folder / "frame.pt2")
    fed = np.load(folder / "fed.npz")
    image = program.module()(*(torch.from_numpy(fed[name]) for name in fed.files))
    np.save(folder / "image.npy", image.numpy())
assert "fv2v" not in sys.modules
"""


def named(case):
    config, relative = case
    return f"{config.name}-{'relative' if relative else 'absolute'}"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """By case: the operators in the program, what the Reenactor shows, what the program shows."""
    found, folders = {}, {}
    for config, relative in CASES:
        reenactor = awake(config, pictures(4))
        fed, shown = fed_and_shown(reenactor, {"relative": relative})
        folder = folders[config, relative] = tmp_path_factory.mktemp("program")
        path = export_torch(reenactor.model, folder / "frame.pt2", relative=relative, device="cpu")
        program = torch.export.load(path)
        np.savez(folder / "fed.npz", **fed)
        kinds = {node.target.name() for node in program.graph.nodes if hasattr(node.target, "name")}
        found[config, relative] = kinds, shown
    command = [sys.executable, "-c", SCRIPT, *folders.values()]
    subprocess.run(command, check=True, timeout=300)
    return {case: (*each, np.load(folders[case] / "image.npy")) for case, each in found.items()}


@pytest.mark.parametrize("case", CASES, ids=map(named, CASES))
def test_it_shows_the_same_by_the_same_operators(results, case):
    config, _ = case
    kinds, shown, image = results[case]
    wanted = {"fv2v::warp_candidates", "fv2v::compose_warp"}
    if config.generator.decoder == "spade":
        wanted.add("fv2v::modulate")
    assert {kind for kind in kinds if kind.startswith("fv2v::")} == wanted
    assert np.abs(image - shown.numpy()).max() <= BOUND
