# SPDX-License-Identifier: Apache-2.0
"""Words of files on a terminal: names and metadata may hold escape sequences, which would be obeyed."""

LONGEST = 2000  # characters of a message


def printable(text: str) -> str:
    r"""The text with what is no printable character as its escape (`\x1b`), cut where it is very long."""
    plain = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text[: LONGEST + 1])
    return plain if len(text) <= LONGEST else f"{plain[:LONGEST]}..."
