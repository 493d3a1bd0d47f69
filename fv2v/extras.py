# SPDX-License-Identifier: Apache-2.0
"""Packages that only some work needs: the extras of pyproject.toml."""

import importlib.util
from collections.abc import Sequence


def installed(package: str) -> bool:
    """Whether it can be imported; it is not imported."""
    return importlib.util.find_spec(package) is not None


def install_hint(extra: str) -> str:
    """How to install an extra, in words for errors. No index has fv2v, so from its sources."""
    return f"pip install '.[{extra}]' in the folder of fv2v's sources"


def check_extra(work: str, packages: Sequence[str], extra: str) -> None:
    """ValueError where a package is missing that `work` needs."""
    missing = [package for package in packages if not installed(package)]
    if missing:
        raise ValueError(f"{work} needs {' and '.join(missing)}: {install_hint(extra)}")
