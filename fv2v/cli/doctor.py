# SPDX-License-Identifier: Apache-2.0
"""`fv2v doctor`."""

from fv2v.cli.tables import print_table


def doctor() -> None:
    """Show what is installed, and which kernels each operator would use here, and why."""
    from fv2v.diagnostics.doctor import tables

    for table in tables():
        print_table(table)
