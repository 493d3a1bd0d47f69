# SPDX-License-Identifier: Apache-2.0
"""A camera's frames, or a film's as a camera would give them."""

import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import cv2
import numpy as np

from fv2v.io.video import read_video

AHEAD = 1.0  # seconds that a film may fall behind before its clock is set anew


def camera_frames(
    source: str, stop: threading.Event, *, again: bool = False
) -> Iterator[tuple[np.ndarray, float]]:
    """(H, W, 3) uint8 RGB and the `time.monotonic()` at which it was taken, at their own pace.

    Args:
        source: a camera's number, as "0"; or a film, which is shown at its own rate.
        stop: when it is set, no more frames come.
        again: show a film over and over.

    Raises:
        FileNotFoundError: there is no such film.
        ValueError: no such camera, one that stopped, or no film.
    """
    if source.isdecimal():
        yield from _of_camera(int(source), stop)
        return
    yield from _of_film(source, stop)
    while again and not stop.is_set():
        yield from _of_film(source, stop)


def _of_camera(number: int, stop: threading.Event) -> Iterator[tuple[np.ndarray, float]]:
    # OpenCV would print its own message about a camera that is not there
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture: Any = cv2.VideoCapture(number)
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            raise ValueError(f"camera {number}: there is none, or another program uses it")
        while not stop.is_set():
            there, frame = capture.read()
            if not there:
                raise ValueError(f"camera {number}: it stopped giving pictures")
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), monotonic()
    finally:
        capture.release()


def _of_film(path: str, stop: threading.Event) -> Iterator[tuple[np.ndarray, float]]:
    reader = read_video(path)
    begun: float | None = None
    for frame in reader:
        seconds = reader.times[-1] - reader.times[0]
        if begun is None or monotonic() - (begun + seconds) > AHEAD:
            begun = monotonic() - seconds
        if stop.wait(max(0.0, begun + seconds - monotonic())):
            return
        yield frame, begun + seconds
    if begun is not None:  # the last frame lasts, too
        stop.wait(
            max(0.0, begun + reader.times[-1] - reader.times[0] + 1 / float(reader.timing.rate) - monotonic())
        )
