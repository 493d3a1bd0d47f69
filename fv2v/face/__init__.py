"""Faces in pictures: detected, cropped, tracked over time, and pasted back."""
