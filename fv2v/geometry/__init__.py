"""Where things are: coordinates, rotations, views, and how motion goes from one face to another."""

from fv2v.geometry.transfer import Motion as Motion
from fv2v.geometry.transfer import Placement as Placement
from fv2v.geometry.transfer import Source as Source
from fv2v.geometry.transfer import View as View
from fv2v.geometry.transfer import Views as Views
from fv2v.geometry.transfer import check_motion as check_motion
from fv2v.geometry.transfer import coordinate_dtype as coordinate_dtype
from fv2v.geometry.transfer import euler_degrees as euler_degrees
from fv2v.geometry.transfer import frontal as frontal
from fv2v.geometry.transfer import keypoints_of as keypoints_of
from fv2v.geometry.transfer import place as place
from fv2v.geometry.transfer import resting as resting
from fv2v.geometry.transfer import rotation_from_euler as rotation_from_euler
from fv2v.geometry.transfer import seen as seen
from fv2v.geometry.transfer import used_translation as used_translation
