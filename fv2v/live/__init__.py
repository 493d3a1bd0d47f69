# SPDX-License-Identifier: Apache-2.0
"""Frames at their own pace: streams, sessions and the page.

The files, from the bottom: driver (the face that a camera sees), report (pictures and counts), animation (one
frame), stream (frames as they come), session (camera and portrait). The page: server (who may ask), loopback
(media that stay here), timecode, controls, peer (a page's end of a session), films (its queue), page.
"""

from fv2v.live.session import Session as Session
