# SPDX-License-Identifier: Apache-2.0
"""Tables on the terminal."""

import os
import sys

from rich.console import Console
from rich.table import Table


def print_table(table: Table) -> None:
    """As wide as the terminal; uncut where there is none, for files and pipes."""
    Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160).print(table)
