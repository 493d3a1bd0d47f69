# SPDX-License-Identifier: Apache-2.0
"""Where things are: coordinates, rotations, views, and how motion goes from one face to another.

The convention is on this page; each file beside it has its part: types (Motion, Source), rotation, view,
transfer (from a driver's motion to the source's keypoints), hull (how large a face is), liveportrait and
performrecast (their releases' constants), plane (pictures as volumes of depth 1).

Coordinates. Points are (x, y, z): x to the right, y down, z away from the viewer. Volumes are (D, H, W)
= (z, y, x). Every axis runs over [-1, 1]; along one of a single voxel that voxel is at 0.

Two lattices are in use and they differ by up to half a voxel. Keypoints and flows live on the **corner
lattice**: -1 and +1 are the *centres* of the first and last voxel, voxel i at 2 i / (n - 1) - 1. A
preset with `align_corners=True` reads volumes there too, and its identity flow is an identity warp. A
preset with `align_corners=False` reads on the **face lattice**: -1 and +1 are the *outer faces*, voxel i
at (2 i + 1) / n - 1. The identity flow then reads voxel i at i + i / (n - 1) - 1/2, from half a voxel
before the first to half a voxel past the last. The published weights were trained with this mismatch, so
it is kept, in that one field of the preset. Reads outside the volume are zero.

Rotations act on columns, x' = R x, and `rotation_from_euler` says in which order angles make them.
Positive yaw turns the nose (z < 0) to the left of the picture, positive pitch turns it down, positive
roll turns the head clockwise.
"""

from fv2v.geometry.rotation import euler_degrees as euler_degrees
from fv2v.geometry.rotation import rotation_from_euler as rotation_from_euler
from fv2v.geometry.transfer import Views as Views
from fv2v.geometry.transfer import apply_view as apply_view
from fv2v.geometry.transfer import jacobians_of as jacobians_of
from fv2v.geometry.transfer import keypoints_of as keypoints_of
from fv2v.geometry.transfer import place as place
from fv2v.geometry.transfer import resting as resting
from fv2v.geometry.transfer import used_translation as used_translation
from fv2v.geometry.types import POSED as POSED
from fv2v.geometry.types import Motion as Motion
from fv2v.geometry.types import Placement as Placement
from fv2v.geometry.types import Source as Source
from fv2v.geometry.types import check_motion as check_motion
from fv2v.geometry.types import coordinate_dtype as coordinate_dtype
from fv2v.geometry.types import direct_motion as direct_motion
from fv2v.geometry.view import View as View
