# SPDX-License-Identifier: Apache-2.0
"""stdin in a test's own process."""

import io


class Typed(io.TextIOWrapper):
    """stdin as a test has it."""

    def __init__(self, data: bytes, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(data))
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal
