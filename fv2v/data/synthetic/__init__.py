"""Heads drawn by arithmetic: who they are, what they do, how they are turned, and the exact truth of it.

    identity = Identity.sample(rng, 1)        who: shape, colours, hair, clothes, background, light
    expression = Expression.sample(rng, 1)    what the face does: eight numbers, which fit every identity
    pose = Pose.sample(rng, 1)                R and t; `turned` is the free view R_u R
    picture = render(identity, expression, pose, 128)           (1, 3, 128, 128)
    canonical, motion = truth(identity, expression, pose)       x_c and R, t, δ of its `LANDMARKS`

All parameters are batches of numbers from a numpy generator, so a seed means the same heads anywhere.
`performance` makes them move smoothly, `SyntheticHeads` makes pairs of frames of them. How a picture comes
about, each step in the file of its name:

    anatomy     where eyes, brows and mouth are under an expression: one answer for all that follows
    solids      ellipsoids and how they melt into each other, as signed distances
    head        skin, hair and glasses made of solids, in head coordinates
    figure      the head in its pose on neck and shoulders, in picture coordinates
    render      rays walk along the distances to the surface; pixels are means of rays
    paint       the colour there
    light       and the light on it
    landmarks   points of the skin, found by the same distances
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
from fv2v.data.synthetic.render import render as render
