"""How networks learn: `fv2v train CONFIG`."""

import importlib.util
import sys


def check_installed() -> None:
    """ValueError where a package is missing that training needs and the networks do not."""
    needed = ["tensorboard"] if sys.version_info >= (3, 11) else ["tensorboard", "tomli"]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"training needs {' and '.join(missing)}: pip install 'fv2v[train]'")
