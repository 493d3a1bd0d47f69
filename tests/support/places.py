"""Where the checkout's folders are, for tests that read or run what lies in them."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCHES = ROOT / "benches"
TESTS = ROOT / "tests"
SUPPORT = TESTS / "support"
DATA = TESTS / "data"
README = ROOT / "README.md"
