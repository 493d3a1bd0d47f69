# SPDX-License-Identifier: Apache-2.0
"""Procedurally drawn heads: identities, expressions and poses, their pictures, and their exact motion.

    identity = Identity.sample(rng, 1)        shape, colours, hair, clothes, background, light
    expression = Expression.sample(rng, 1)    eleven numbers, which fit every identity
    pose = Pose.sample(rng, 1)                R and t; `turned` is the free view R_u R
    picture = render(identity, expression, pose, 128)           (1, 3, 128, 128)
    canonical, motion = truth(identity, expression, pose)       x_c and R, t, δ of its `LANDMARKS`

All parameters come in batches from a numpy generator, so a seed gives the same heads on every machine.
`performance` makes them move smoothly, `SyntheticHeads` makes pairs of frames of them. The steps from
parameters to a picture, each in the file of its name:

    anatomy     where eyes, brows and mouth are under an expression, for all steps below
    sdf         signed distances of ellipsoids and their smooth unions
    surfaces    skin, hair and glasses as signed distances, in head coordinates
    figure      the head in its pose on neck and shoulders, in picture coordinates
    render      sphere tracing: rays step along the distances to the surface; pixels are means of rays
    albedo      the colour of each surface point
    lighting    the light on it
    photo       what makes it look photographed, if wanted: skin, hats, the camera; hand: before the face
    landmarks   points of the skin, found by the same distances
    regions     what each pixel shows: eyes, mouth, hair and so on
"""

from fv2v.data.synthetic.acting import performance as performance
from fv2v.data.synthetic.dataset import SyntheticHeads as SyntheticHeads
from fv2v.data.synthetic.expression import Expression as Expression
from fv2v.data.synthetic.identity import Identity as Identity
from fv2v.data.synthetic.landmarks import LANDMARKS as LANDMARKS
from fv2v.data.synthetic.landmarks import TrueMotion as TrueMotion
from fv2v.data.synthetic.landmarks import landmarks as landmarks
from fv2v.data.synthetic.landmarks import truth as truth
from fv2v.data.synthetic.pose import Pose as Pose
from fv2v.data.synthetic.regions import REGIONS as REGIONS
from fv2v.data.synthetic.regions import regions as regions
from fv2v.data.synthetic.regions import without_occluders as without_occluders
from fv2v.data.synthetic.render import render as render
