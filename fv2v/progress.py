# SPDX-License-Identifier: Apache-2.0
"""How long work tells how far it has come: functions that its caller passes in."""

from collections.abc import Callable, Mapping

# Called with the frames done so far, and the frames in all, None where that is not known.
FrameProgress = Callable[[int, int | None], None]

# Called with the steps done so far, the steps in all, the samples of a step, and the losses by name.
StepProgress = Callable[[int, int, int, Mapping[str, float]], None]

# Called with the clips done so far, those under way counted by the part that is done, and the clips in all.
BatchProgress = Callable[[float, int], None]
