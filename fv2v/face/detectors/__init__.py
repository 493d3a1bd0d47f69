# SPDX-License-Identifier: Apache-2.0
"""Face detectors, one a file, with the signatures of base.py."""
