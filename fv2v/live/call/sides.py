# SPDX-License-Identifier: Apache-2.0
"""What a connection is given by its side of a call, what it calls, and what is left of it."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiortc import RTCIceServer
from aiortc.mediastreams import MediaStreamTrack

from fv2v.config import ModelConfig
from fv2v.geometry import Motion
from fv2v.live.call.messages import Hello
from fv2v.live.call.rates import Rates
from fv2v.live.call.sound import SoundSource


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a connection is over."""

    reason: str  # a line
    again: bool  # whether another may be tried: the network failed, or the other side did not answer
    fault: bool  # whether one side was at fault; if neither is true, somebody hung up


@dataclass
class Mine:
    """What a side brings into each connection of a call."""

    config: ModelConfig
    hello: Hello
    portrait: bytes
    sound: SoundSource | None = None
    servers: Sequence[RTCIceServer] = ()  # STUN and TURN; none by default: aiortc's default asks Google
    quality: float = 75.0
    redundancy: int = 1
    rates: Rates = field(default_factory=Rates)


@dataclass
class Reactions:
    """What is called, in the event loop, when something of the other side has come."""

    portrait: Callable[[str, bytes | None], Coroutine[Any, Any, None]]  # its digest and file, None: as before
    # a frame's number, its sender's clock when it was taken, how much that is ahead of ours, the motion
    motion: Callable[[int, int, int, Motion], None]
    sound: Callable[[MediaStreamTrack], Coroutine[Any, Any, None]]
