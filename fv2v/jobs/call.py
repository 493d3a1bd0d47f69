# SPDX-License-Identifier: Apache-2.0
"""A pipeline with its arguments, before it runs: what a command line asks for."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Call(NamedTuple):
    """`run(**arguments, **model)` makes a clip; one that has the model passes `reenactor` for it."""

    run: Callable[..., Any]  # it returns a `Report`, or of what is no clip a dict of what was found
    model: dict[str, Any]  # preset, weights, device and dtype, as `Reenactor` takes them; {}: it has none
    arguments: dict[str, Any]  # all others but `progress`, `keep_partial` and `resume`
