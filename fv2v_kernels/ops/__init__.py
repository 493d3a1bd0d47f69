# SPDX-License-Identifier: Apache-2.0
"""One file an operator: its specification, from formula to kernel table."""
