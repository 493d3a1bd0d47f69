# SPDX-License-Identifier: Apache-2.0
"""Faces in pictures: detected, cropped, tracked over time, and pasted back."""
