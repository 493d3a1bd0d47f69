# SPDX-License-Identifier: Apache-2.0
"""Bytes of all kinds, found by coverage: nothing but a CodecError.

One run feeds four targets, the decoder, the `.fv2v` reader, the readers of messages and the finder of
messages in H.265; an input's first byte chooses. It tries 5,000, the same every time.
`FV2V_FUZZ_SECONDS=900 pytest --slow tests/codec/test_codec_fuzz.py` searches on, for a quarter of an hour.
"""

import importlib.util
import os
import re
import subprocess
import sys

import pytest
from places import SUPPORT
from processes import through_a_shell

SECONDS = int(os.environ.get("FV2V_FUZZ_SECONDS", "0"))
RUNS = 5000


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has wheels for Linux alone")
def test_only_the_documented_error(tmp_path):
    extent = f"-max_total_time={SECONDS}" if SECONDS else f"-runs={RUNS}"
    command = through_a_shell([sys.executable, str(SUPPORT / "fuzz_codec.py"), extent, str(tmp_path)])
    environment = os.environ | {"PYTHONPATH": str(SUPPORT)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=1200 + 2 * SECONDS
    )
    assert done.returncode == 0, done.stderr[-2000:]
    finished = re.search(r"Done (\d+) runs in", done.stderr)
    assert finished, done.stderr[-2000:]
    assert int(finished[1]) >= (5 * SECONDS or RUNS)  # a search that hangs or starts late has tried little
