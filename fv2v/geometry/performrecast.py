# SPDX-License-Identifier: Apache-2.0
"""PerformRecast's constants: how much of an expression stays the source's where the driver's replaces it.

They mean something for its 49 keypoints and its weights only.
"""

# by the first and last of neighbouring keypoints: the share of the source's δ in x, y and z; elsewhere none
OWN_SHARES = {
    (31, 33): (0.3, 0.3, 1.0),
    (36, 38): (0.3, 0.3, 1.0),
    (44, 46): (1.0, 0.2, 1.0),
}
