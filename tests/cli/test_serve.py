# SPDX-License-Identifier: Apache-2.0
"""`fv2v serve` from the command line: one address, a warning where others are let in, a quiet end."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from urllib.error import HTTPError

import pytest
from tiny import TINY_SADTALKER, TINY_VOX, lively

from fv2v import Reenactor


def test_prints_an_address_warns_and_ends_quietly(tmp_path):
    lively(Reenactor(TINY_VOX, weights="random")).save(tmp_path / "tiny.safetensors")
    command = [sys.executable, "-m", "fv2v", "serve", "-w", str(tmp_path / "tiny.safetensors")]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen([*command, "--host", "0.0.0.0"], **pipes) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:")
            state = json.load(urllib.request.urlopen(f"{address}state"))
            assert (state["preset"], state["size"]) == ("tiny-vox", 32)
            with pytest.raises(HTTPError, match="403"):
                urllib.request.urlopen(address.rpartition("/")[0][:-1] + "x/")
            assert list(tmp_path.glob("fv2v-serve-*"))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=600)
        finally:
            process.kill()
    assert process.returncode == 0
    assert out == ""
    assert err.startswith("fv2v: warning: --host 0.0.0.0 lets other machines reach this page")
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("fv2v-serve-*"))


def test_what_cannot_be_served(fv2v, tmp_path):
    lively(Reenactor(TINY_SADTALKER, weights="random")).save(tmp_path / "sad.safetensors")
    code, out, err = fv2v("serve", "-w", tmp_path / "sad.safetensors")
    assert (code, out) == (2, "")
    assert "is driven by 3DMM coefficients, no pictures" in err
    code, _, err = fv2v("serve", "--preset", "starter", "--host", "192.0.2.77")
    assert code == 2
    assert "address" in err


def test_what_is_missing_is_named(fv2v, monkeypatch):
    monkeypatch.setattr("fv2v.extras.installed", lambda package: package != "aiortc")
    code, _, err = fv2v("serve")
    assert code == 2
    assert "fv2v serve needs aiortc: pip install '.[live]'" in err
