# SPDX-License-Identifier: Apache-2.0
"""What drives a portrait: motion sequences, the files that hold them, edits and smoothing."""
