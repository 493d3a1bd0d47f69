"""The README's Python runs as it stands, but for the weights: random ones stand in for the release's file."""

import re
from pathlib import Path

import clips
import cv2
import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = clips.portrait()
    cv2.imwrite("portrait.png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    clips.write_clip(Path("driving.mp4"), clips.moving_picture(picture, 2), audio="aac")


@pytest.mark.parametrize("block", BLOCKS, ids=["reenactor", "operators"])
def test_runs(block, files):
    given = block.replace('weights="00000189-checkpoint.pth.tar"', 'weights="random"')
    names: dict[str, object] = {}
    exec(compile(given, README.name, "exec"), names)
    if "frames" in names:
        assert Path("out.mp4").stat().st_size > 0
    else:
        assert names["warped"].shape == (2, 32, 16, 64, 64)
        assert names["candidates"].shape == (2, 80, 16, 64, 64)
        assert names["flows"].shape == (2, 16, 16, 64, 64, 3)
        assert names["deformation"].shape == (2, 16, 64, 64, 3)


def test_names_the_commands_that_ci_runs():
    install, tests = re.findall(r"^pip install .*$", README.read_text(), re.M)
    assert "fv2v reenact" in install
    assert tests.endswith("&& pytest")
