"""Face detectors, one a file, with the signatures of base.py."""
