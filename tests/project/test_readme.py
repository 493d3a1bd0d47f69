# SPDX-License-Identifier: Apache-2.0
"""The manuals: their Python runs as it stands, but for random weights; links lead to files."""

import re
from pathlib import Path

import clips
import cv2
import numpy as np
import pytest
from places import MANUALS, README, ROOT, code_blocks

import fv2v
from fv2v.extras import install_hint

BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in MANUALS
    for number, block in enumerate(code_blocks(page, "python"))
    if "onnxruntime" not in block  # that one wants a file: test_export_vox.py
]
LINK = re.compile(r"\]\(([^)#:]+)\)|<img src=\"([^\"]+)\"")  # to files, not to the web or within the page


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = clips.portrait()
    cv2.imwrite("portrait.png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    clips.write_clip(Path("driving.mp4"), clips.moving_picture(picture, 2), audio="aac")
    rows = np.random.default_rng(0).normal(size=(3, 70)).astype(np.float32)
    np.save("portrait.npy", rows[0])
    np.save("driving.npy", rows[1:])


@pytest.mark.parametrize("block", BLOCKS)
def test_runs(block, files):
    given = re.sub(r'weights="[^"]+"', 'weights="random"', block)
    names: dict[str, object] = {}
    exec(compile(given, "README.md", "exec"), names)
    if "source" in names:
        written = Path("talking.mp4" if "moved" in names else "out.mp4")
        assert len(list(fv2v.read_video(written))) == 2
    elif "stream" in names:
        assert str(names["stream"]).startswith("2 frames pushed, 2 shown, 0 dropped; latency ")
        assert names["latest"].shape == (256, 256, 3)
    else:
        assert names["modulated"].shape == (1, 256, 64, 64)
        assert names["warped"].shape == names["summed"].shape == (2, 32, 16, 64, 64)
        assert names["candidates"].shape == (2, 80, 16, 64, 64)
        assert names["flows"].shape == (2, 16, 16, 64, 64, 3)
        assert names["deformation"].shape == (2, 16, 64, 64, 3)


def test_names_the_commands_that_ci_runs():
    install, tests = re.findall(r"^pip install .*$", README.read_text(), re.M)
    assert install.endswith("&& fv2v demo")
    assert tests.endswith("&& pytest")


HINT = re.compile(r"\.\[(\w+)\]'|fv2v\[(\w+)\]")  # '.[train]', or what no index has: fv2v[train]


def test_what_is_said_of_installing_works_in_a_clone():
    """In manuals and messages: extras that there are, of the folder's sources."""
    texts = [*MANUALS, *(ROOT / "fv2v").rglob("*.py"), *(ROOT / "fv2v_kernels").rglob("*.py")]
    found = [match for path in texts for match in HINT.findall(path.read_text())]
    extras = re.search(
        r"\[project.optional-dependencies\](.*?)\n\[", (ROOT / "pyproject.toml").read_text(), re.S
    )
    assert {"train", "export", "test"} <= set(re.findall(r"^(\w+) = \[", extras[1], re.M))
    assert {local for local, _ in found} >= {"test", "train"}
    assert not [name for _, name in found if name]
    for name in ("train", "export"):
        assert f"'.[{name}]'" in install_hint(name)


def test_every_manual_is_listed_and_found_from_the_readme():
    folders = ("fv2v", "fv2v_kernels", "benches", "csrc")
    there = {README, *(path for folder in folders for path in (ROOT / folder).rglob("README.md"))}
    assert there == set(MANUALS)
    assert there <= {README, *linked(README)}


@pytest.mark.parametrize(
    "page",
    [*MANUALS, ROOT / "fv2v" / "starter" / "MODEL_CARD.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_lead_somewhere(page):
    assert [path for path in linked(page) if not path.exists()] == []


def linked(page: Path) -> list[Path]:
    return [(page.parent / (text or image)).resolve() for text, image in LINK.findall(page.read_text())]


def test_the_first_page_is_short_and_moves():
    text = README.read_text()
    assert len(text.splitlines()) < 160
    assert text.index("<img src=") < text.index("```")
