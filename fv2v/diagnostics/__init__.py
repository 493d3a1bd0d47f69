# SPDX-License-Identifier: Apache-2.0
"""What is installed, what the presets cost, and benchmark results."""
