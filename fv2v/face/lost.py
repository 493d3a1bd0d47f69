# SPDX-License-Identifier: Apache-2.0
"""What moves the portrait in frames in which the driver's face is not seen."""

LOST = {  # each way, and what a report says of it
    "hold": "the last motion was held",
    "drive": "they drove as they are",
    "source": "the portrait rested",
}


def check_lost(lost: str, *allowed: str) -> str:
    """`lost`; ValueError for anything but a key of `LOST`, or one of those `allowed`."""
    if lost not in (allowed or LOST):
        raise ValueError(
            f"frames without the driver's face: expected lost={' or '.join(allowed or LOST)}, got {lost!r}"
        )
    return lost
