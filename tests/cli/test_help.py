# SPDX-License-Identifier: Apache-2.0
"""`--help` in two screens, by groups; `--help-all` in full."""

import pytest

from fv2v.cli import app
from fv2v.cli.help import first_sentence

TWO_SCREENS = 100  # lines of 80 letters
COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]


@pytest.mark.parametrize("command", COMMANDS)
def test_two_screens(fv2v, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = fv2v(command, "--help")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "Usage: fv2v" in lines[0]
    assert len(lines) <= TWO_SCREENS


def test_commands_are_listed(fv2v):
    for arguments in ((), ("--help",)):
        code, out, err = fv2v(*arguments)
        assert (code, err) == (0, "")
        assert all(f"\n  {command} " in out for command in COMMANDS)


def test_options_stand_in_their_groups(fv2v):
    _, out, _ = fv2v("reenact", "--help")
    model, pose, others = (
        out.index(f"\n{title}:\n")
        for title in ("Which model, and where it runs", "The pose in which the head is shown", "Others")
    )
    assert model < out.index("--weights") < pose < out.index("--yaw") < others < out.index("--sound")
    titles = [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert len(titles) == 9  # the arguments, seven groups, the others


def test_help_all_says_more(fv2v):
    (_, short, _), (code, full, err) = fv2v("reenact", "--help"), fv2v("reenact", "--help-all")
    assert (code, err) == (0, "")
    options = (
        "output weights preset relative absolute yaw pitch roll view-mode frames adapt-scale crop no-crop "
        "batch-size device dtype"
    )
    for name in options.split():
        assert f"--{name}" in short
        assert f"--{name}" in full
    assert "the sound is cut to match" in " ".join(full.split())
    assert "the sound is cut to match" not in " ".join(short.split())


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Smooth tremor. Turns come late.", "Smooth tremor"),
        ("Begin there; the sound is cut.", "Begin there"),
        ("How much, 0 to 1. Groups as for it.  [default: 1]", "How much, 0 to 1 [default: 1]"),
        ("Sound of a file (a film; a song), or none.", "Sound of a file (a film; a song), or none"),
        ("What to write: .mp4, .mov. Also .webp.", "What to write: .mp4, .mov"),
    ],
)
def test_the_first_sentence(text, first):
    assert first_sentence(text) == first
