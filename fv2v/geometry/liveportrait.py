# SPDX-License-Identifier: Apache-2.0
"""LivePortrait's constants: what of an expression is the driver's, and lips at rest.

They mean something for its 21 keypoints and its weights only.
"""

EYES_MOUTH_BROWS = (1, 2, 6, *range(11, 21))  # keypoints whose δ is all the driver's
PARTLY = {3: "y", 4: "y", 5: "z", 8: "z", 9: "yz"}  # and those of which only these coordinates are

GROUPS = {"lips": (6, 12, 14, 17, 19, 20), "eyes": (11, 13, 15, 16, 18), "brows": (1, 2)}
LIPS_APART = 0.03  # height over width, from which on lips count as open
EYES_OPEN, LIPS_CLOSED = 0.3, 0.0  # height over width at rest, about as in its own templates

# (21, 3): whether that number of δ comes from the driver when motion is absolute
DRIVEN_EXPRESSION = tuple(
    tuple(k in EYES_MOUTH_BROWS or axis in PARTLY.get(k, "") for axis in "xyz") for k in range(21)
)

# δ (21, 3) of a face with its lips at rest: what a single driving picture is measured against
LIPS_AT_REST = (
    (-9.4524e-05, 0.00024222, -4.009739999999999e-05),
    (0.000208596, 0.000468054, 1.2746399999999999e-05),
    (-0.000124602, 0.00032497200000000003, 4.425e-06),
    (0.000119652, -0.000456624, 5.40852e-05),
    (-0.000265254, -7.459799999999999e-05, -1.5527999999999998e-05),
    (-3.3488399999999996e-05, -0.000183036, -3.4940399999999998e-06),
    (-4.7542799999999996e-07, -4.5246599999999997e-07, 1.59498e-06),
    (-0.000541296, 0.0026328000000000002, 7.2485999999999995e-06),
    (-1.1694e-05, 5.00502e-06, 9.9888e-06),
    (8.028599999999999e-07, 5.1913199999999995e-06, -0.00040934399999999996),
    (0.000166878, -1.9815000000000003e-05, -8.854799999999999e-05),
    (-1.51536e-05, 8.2506e-05, 5.94012e-06),
    (-2.61054e-07, 2.7591e-06, 2.21028e-06),
    (-6.6282e-05, -6.828599999999999e-05, -3.4531799999999997e-06),
    (-0.00083262, -0.00179592, -2.59176e-06),
    (6.9714e-06, 3.65514e-05, -1.8977999999999999e-06),
    (-4.808759999999999e-06, 7.1148e-06, -1.03236e-05),
    (-0.0006368400000000001, -0.0011661, 5.62314e-05),
    (0.00028329, -1.4565599999999998e-05, 1.09746e-05),
    (-4.16022e-06, -0.0150906, -0.0025494),
    (0.000222474, 0.00562788, 0.0027264599999999996),
)
