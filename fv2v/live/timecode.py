# SPDX-License-Identifier: Apache-2.0
"""The time at which a page captured a frame, painted into the frame: latency is measured, not estimated.

A row of blocks at the bottom of the picture, black for 0 and white for 1: 24 bits of milliseconds, the
highest first, and 6 bits that are their number of ones, so that other pictures count as none.
"""

import numpy as np

BITS, CHECK = 24, 6
ROWS = 8  # pixels at the bottom
PERIOD = 1 << BITS  # milliseconds after which codes begin anew: four hours and a half


def read_time(picture: np.ndarray) -> int | None:
    """Milliseconds, from 0 to PERIOD - 1, of (H, W, 3) uint8; None where no code is painted."""
    width = picture.shape[1] // (BITS + CHECK)
    if width < 4 or len(picture) < ROWS:
        return None
    rows = picture[-ROWS + 2 : -2, : width * (BITS + CHECK), 1].reshape(ROWS - 4, BITS + CHECK, width)
    middle = rows[:, :, width // 4 : width - width // 4]
    level = middle.sum(axis=(0, 2)) / (middle.shape[0] * middle.shape[2])
    if (abs(level - 127.5) < 48).any():
        return None
    code = int.from_bytes(np.packbits(level > 127).tobytes(), "big") >> (-(BITS + CHECK) % 8)
    time, ones = code >> CHECK, code & ((1 << CHECK) - 1)
    return time if ones == time.bit_count() else None


def paint_time(picture: np.ndarray, milliseconds: int) -> None:
    """Write the code into (H, W, 3) uint8, as the page does."""
    ones = milliseconds.bit_count()
    code = f"{milliseconds:0{BITS}b}{ones:0{CHECK}b}"
    width = picture.shape[1] // len(code)
    for i, bit in enumerate(code):
        picture[-ROWS:, i * width : (i + 1) * width] = 255 * int(bit)
