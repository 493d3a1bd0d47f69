# SPDX-License-Identifier: Apache-2.0
"""What of a face cannot be seen, told from its box and its five points: where the paper's model fails."""

import math

from fv2v.face.detectors.base import Face

# fitted on drawn heads, bare and covered, and checked on paintings (tests/face/test_visibility.py)
NOSE = 0.47  # how far the nose's tip is before the eyes, in distances of the eyes
BARE = 0.92  # the score of a whole face that is seen from the front
SHARE_OF_SCORE = 9.0  # times what the score lacks of that is the share of the face that is covered
YAW, COVERED, OUTSIDE = 60.0, 0.25, 0.15  # beyond which a remark is made: degrees, and shares of the face


def yaw(face: Face) -> float | None:
    """Degrees by which the head is turned to either side, 0 to 90; None: the face has no points.

    It is right to 10 degrees up to 60, and too low by up to 15 beyond.
    """
    if face.points is None:
        return None
    across = face.points[1] - face.points[0]
    distance = math.hypot(*across)
    middle = (face.points[0] + face.points[1]) / 2
    offset = abs(float((face.points[2] - middle) @ across)) / max(distance, 1e-6)
    return math.degrees(math.atan2(offset, NOSE * distance))


def covered(face: Face) -> float | None:
    """The share of the face that something hides, 0 to 1, roughly: ± 0.2; None where it cannot be told.

    The detector is less sure of such faces, and of heads turned by more than 45 degrees, too.
    """
    turned = yaw(face)
    if turned is None or turned > 45:
        return None
    return min(1.0, max(0.0, SHARE_OF_SCORE * (BARE - face.score)))


def outside(face: Face, size: tuple[int, int]) -> float:
    """The share of the face's box that lies outside a picture of `size` (H, W)."""
    inside = 1.0
    for centre, extent in zip((face.y, face.x), size, strict=True):
        low, high = centre - face.side / 2, centre + face.side / 2
        inside *= max(0.0, min(high, extent) - max(low, 0.0)) / face.side
    return 1 - inside


def is_turned_away(face: Face) -> bool:
    """Whether half of the face is turned away, as far as its points tell."""
    turned = yaw(face)
    return turned is not None and turned > YAW


def is_covered(face: Face) -> bool:
    """Whether something hides a part of the face, as far as the detector's certainty tells."""
    hidden = covered(face)
    return hidden is not None and hidden > COVERED


def remarks(face: Face, size: tuple[int, int]) -> list[str]:
    """What the networks have to guess of a face in a picture of `size` (H, W), a line each; often none."""
    lines = []
    turned, hidden, cut = yaw(face), covered(face), outside(face, size)
    if turned is not None and is_turned_away(face):
        lines.append(
            f"the head is turned by about {turned:.0f} degrees: beyond {YAW:.0f} half of it is guessed"
        )
    if cut > OUTSIDE:
        lines.append(f"{100 * cut:.0f} % of the face lies outside the picture: that part is guessed")
    elif hidden is not None and is_covered(face):
        lines.append(f"about {100 * hidden:.0f} % of the face is covered: what is there moves with the face")
    return lines
