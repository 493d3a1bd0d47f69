# SPDX-License-Identifier: Apache-2.0
"""Which sizes of H.264 pictures play everywhere."""

PLAYED = 36_864  # macroblocks of 16 x 16 in a frame of level 5.2, the last that most players know (Annex A)
LARGEST = 139_264  # of level 6.2, the last there is


def note_on_size(size: tuple[int, ...]) -> str | None:
    """A line for the user where frames of `size` (H, W, ...) are larger than most players take."""
    H, W = size[:2]
    blocks = -(-H // 16) * -(-W // 16)
    if blocks <= PLAYED:
        return None
    level = "level 6 of H.264" if blocks <= LARGEST else "more than any level of H.264 has"
    return (
        f"frames of {W} x {H} pixels take {level}, which many players and browsers do not show; "
        "a smaller portrait (--source-max-side), of at most 4096 x 2304, plays everywhere"
    )
