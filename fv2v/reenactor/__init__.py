# SPDX-License-Identifier: Apache-2.0
"""Encode a portrait once, animate it many times: the public class, and what it is made of.

reenactor (the class) > animation (what lasts from frame to frame), film (a source a frame) > runner (networks
on a device) > placement (edits, and where keypoints go); options (how a portrait follows its driver) serves
all of them.
"""

from fv2v.reenactor.options import AnimationOptions as AnimationOptions
from fv2v.reenactor.reenactor import Reenactor as Reenactor
from fv2v.reenactor.runner import Runner as Runner
