# SPDX-License-Identifier: Apache-2.0
"""Triton's interpreter, in half its time.

At every call of a device function Triton 3.6 wraps all of its language once more, though it did so when the
kernel began, and every operation then passes through all the wrappers. And for every sum and product of int32
it finds out whether they overflow, which nobody hears of.
"""

from dataclasses import replace
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


def hasten() -> None:
    interpreter.InterpretedFunction.__call__ = call
    builder = interpreter.interpreter_builder
    builder.options = replace(builder.options, sanitize_overflow=False)
