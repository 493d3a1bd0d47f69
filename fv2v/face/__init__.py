"""Faces in pictures: found, cut out, followed over time, and pasted back."""
