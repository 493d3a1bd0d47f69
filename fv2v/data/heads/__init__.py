"""Heads drawn by arithmetic: who, with what on their face, how turned, and the exact truth about it.

An `Identity` is who it is, an `Expression` what the face does, a `Pose` which way the head is turned. All
three are batches of numbers drawn from a numpy generator, so a seed means the same heads anywhere.
"""

from fv2v.data.heads.expression import Expression as Expression
from fv2v.data.heads.identity import Identity as Identity
from fv2v.data.heads.landmarks import LANDMARKS as LANDMARKS
from fv2v.data.heads.landmarks import TrueMotion as TrueMotion
from fv2v.data.heads.landmarks import landmarks as landmarks
from fv2v.data.heads.landmarks import truth as truth
from fv2v.data.heads.performance import performance as performance
from fv2v.data.heads.pose import Pose as Pose
from fv2v.data.heads.render import render as render
from fv2v.data.heads.synthetic import SyntheticHeads as SyntheticHeads
