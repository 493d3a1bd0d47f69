# SPDX-License-Identifier: Apache-2.0
"""Pictures of a model's intermediate results."""
