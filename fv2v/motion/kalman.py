# SPDX-License-Identifier: Apache-2.0
"""The smoother of LivePortrait's release for what the frames of a film are given: rotation and expression.

A Kalman filter and its Rauch-Tung-Striebel smoother, of numbers that do not depend on each other and are
expected to stay: x is read with variance r, and the true value moves by variance q a frame. Forwards, from
m_0 = x_0 and the variance 1,

    p = P + q,  k = p / (p + r),  m ← m + k (x − m),  P ← (1 − k) p

and backwards m_t ← m_t + j_t (m_t+1 − m_t) with j = P / (P + q). The nine numbers of a rotation are smoothed
each by itself: what comes is a rotation but for the second order of its jitter, as in the release.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from fv2v.geometry import Motion

PROCESS, OBSERVATION = 1e-5, 3e-7  # q and r
AHEAD = 5  # frames: j is 0.03, so later ones change nothing that float32 can tell


class _Filtered(NamedTuple):
    """A frame once it is filtered."""

    motion: Motion  # as it was read
    mean: Tensor  # m, (1, 9 + 3K)
    back: float  # j


def smoothed(motions: Iterable[Motion]) -> Iterator[Motion]:
    """The motions of single frames with R and δ smoothed, each `AHEAD` frames late; t and s as they are."""
    window: deque[_Filtered] = deque()
    variance = 1.0
    for motion in motions:
        read = torch.cat([motion.rotation.flatten(1), motion.expression.flatten(1)], dim=1)
        if window:
            variance += PROCESS
        share = variance / (variance + OBSERVATION)
        mean = torch.lerp(window[-1].mean, read, share) if window else read
        variance *= 1 - share
        window.append(_Filtered(motion, mean, variance / (variance + PROCESS)))
        if len(window) > AHEAD:
            yield _backwards(window)
            window.popleft()
    while window:
        yield _backwards(window)
        window.popleft()


def _backwards(window: deque[_Filtered]) -> Motion:
    """The first of these frames, seen from the last."""
    mean = window[-1].mean
    for frame in reversed(window):
        mean = torch.lerp(frame.mean, mean, frame.back)
    motion = window[0].motion
    rotation, expression = mean[:, :9], mean[:, 9:]
    return replace(
        motion,
        rotation=rotation.view_as(motion.rotation),
        expression=expression.view_as(motion.expression),
    )
