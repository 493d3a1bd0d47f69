# SPDX-License-Identifier: Apache-2.0
"""The table of hostile files by hand: by reader, then by name, whose ending is the file's."""

import hostile_folders
from hostile_files import Content
from hostile_films import FILMS, PICTURES, SOUNDS
from hostile_models import CONFIGS, SHARDS, WEIGHTS
from hostile_numbers import COEFFICIENTS, FACES, MOTION, RATIOS
from hostile_tables import RECORDINGS, ROWS, TABLES

CASES: dict[str, dict[str, Content]] = {
    "picture": PICTURES,
    "film": FILMS,
    "frame": FILMS,
    "sound": SOUNDS,
    "faces": FACES,
    "motion": MOTION,
    "coefficients": COEFFICIENTS,
    "ratios": RATIOS,
    "weights": WEIGHTS,
    "config": CONFIGS,
    "shards": SHARDS,
    "jobs": TABLES,
    "rows": ROWS,
    "recordings": RECORDINGS,
    "frames": hostile_folders.FRAMES,
    "pattern": hostile_folders.PATTERNS,
    "weight-folders": hostile_folders.WEIGHTS,
    "videos": hostile_folders.VIDEOS,
    "states": hostile_folders.STATES,
}
