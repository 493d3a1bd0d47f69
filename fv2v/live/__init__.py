"""Frames at their own pace: streams."""
