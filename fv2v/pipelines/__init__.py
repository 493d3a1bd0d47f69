"""Whole files in, whole files out: one file a command."""
