# SPDX-License-Identifier: Apache-2.0
"""Where the checkout's folders and manuals are, for tests that read or run what lies in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCHES = ROOT / "benches"
TESTS = ROOT / "tests"
SUPPORT = TESTS / "support"
DATA = TESTS / "data"
README = ROOT / "README.md"
# every page whose examples are run
MANUALS = [
    README,
    ROOT / "fv2v" / "pipelines" / "README.md",
    ROOT / "fv2v" / "jobs" / "README.md",
    ROOT / "fv2v" / "checkpoints" / "README.md",
    ROOT / "fv2v" / "live" / "README.md",
    ROOT / "fv2v" / "codec" / "README.md",
    ROOT / "fv2v" / "training" / "README.md",
    ROOT / "fv2v_kernels" / "README.md",
    ROOT / "fv2v" / "export" / "README.md",
    ROOT / "fv2v" / "engine" / "README.md",
    BENCHES / "README.md",
]


def code_blocks(page: Path, language: str) -> list[str]:
    """The text of each ```language block of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.S | re.M)
