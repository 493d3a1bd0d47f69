"""Rewrites of the networks for inference, one a file, named as the rows of the benchmark tables."""
