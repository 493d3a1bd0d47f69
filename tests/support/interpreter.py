# SPDX-License-Identifier: Apache-2.0
"""Triton's interpreter, several times as fast.

At every call of a device function Triton 3.6 wraps all of its language once more, though it did so when the
kernel began, and every operation then passes through all the wrappers.
"""

from typing import Any

import triton.language as tl
from triton.runtime import interpreter

PLAIN = {language: language.load for language in (tl, tl.core)}  # before they are wrapped


def call(self: interpreter.InterpretedFunction, *args: Any, **kwargs: Any) -> Any:
    """In place of `InterpretedFunction.__call__`: wraps what is not wrapped yet."""
    seen = [value for value in self.fn.__globals__.values() if value is tl or value is tl.core]
    if any(language.load is PLAIN[language] for language in seen):
        interpreter._patch_lang(self.fn)
    return self.rewrite()(*args, **kwargs)


def wrap_once() -> None:
    interpreter.InterpretedFunction.__call__ = call
