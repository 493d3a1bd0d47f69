# SPDX-License-Identifier: Apache-2.0
"""From files to files: a module for each command, which checks all that is cheap before it loads weights."""
