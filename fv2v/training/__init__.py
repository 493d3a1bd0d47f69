# SPDX-License-Identifier: Apache-2.0
"""How networks learn: `fv2v train CONFIG`."""

import sys

from fv2v.extras import check_extra


def check_installed() -> None:
    """ValueError where a package is missing that training needs and the networks do not."""
    needed = ["tensorboard"] if sys.version_info >= (3, 11) else ["tensorboard", "tomli"]
    check_extra("training", needed, "train")
