# SPDX-License-Identifier: Apache-2.0
"""Frames at their own pace: streams."""
