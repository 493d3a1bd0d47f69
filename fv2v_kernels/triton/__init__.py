# SPDX-License-Identifier: Apache-2.0
"""Triton kernels, one file an operator; imported at their first use and never by `import fv2v_kernels`."""
