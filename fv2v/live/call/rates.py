# SPDX-License-Identifier: Apache-2.0
"""What a call costs: bytes by part as payload, and all that goes through the socket."""

from dataclasses import dataclass, field
from time import monotonic
from typing import Any

PARTS = ("portrait", "motion", "sound", "control")
UDP = 28  # bytes of IPv4 and UDP headers a packet
RTP = 12 + 10 + UDP  # and of RTP and SRTP's tag


@dataclass
class Counts:
    """Bytes of one direction since the beginning, and packets on the wire."""

    parts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    sound_packets: int = 0
    wire: int = 0  # with headers, IP's and UDP's included

    def since(self, before: "Counts", seconds: float) -> dict[str, float]:
        """Bytes a second by part; "wire": all of it; "sound_wire": sound with its headers."""
        rates = {part: (self.parts[part] - before.parts[part]) / seconds for part in PARTS}
        packets = (self.sound_packets - before.sound_packets) / seconds
        rates["sound_wire"] = rates["sound"] + packets * RTP
        rates["wire"] = (self.wire - before.wire) / seconds
        return {name: round(rate, 1) for name, rate in rates.items()}

    def copy(self) -> "Counts":
        return Counts(dict(self.parts), self.sound_packets, self.wire)


class Rates:
    """Both directions of a call, over all its connections."""

    def __init__(self) -> None:
        self.sent, self.received = Counts(), Counts()
        self._before = self.sent.copy(), self.received.copy()
        self._at = monotonic()

    def lap(self) -> tuple[float, dict[str, dict[str, float]]]:
        """The seconds since this was asked before, and the rates of both directions in them."""
        now = monotonic()
        seconds, self._at = max(now - self._at, 1e-3), now
        before = self._before
        self._before = self.sent.copy(), self.received.copy()
        return seconds, {
            "sent": self.sent.since(before[0], seconds),
            "received": self.received.since(before[1], seconds),
        }


class Wire:
    """Adds what one connection's transport has counted since it was last asked to the call's rates."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._last: dict[str, int] = {}

    def count(self, report: Any) -> None:
        """`report` is `RTCPeerConnection.getStats()`'s."""
        sent, received = self._rates.sent, self._rates.received
        for stats in report.values():
            if stats.type == "transport":
                sent.wire += self._new("sent", stats.bytesSent + UDP * stats.packetsSent)
                received.wire += self._new("received", stats.bytesReceived + UDP * stats.packetsReceived)
            elif stats.type == "outbound-rtp":
                packets = self._new("out", stats.packetsSent)
                sent.sound_packets += packets
                sent.parts["sound"] += self._new("out bytes", stats.bytesSent)
            elif stats.type == "inbound-rtp":
                received.sound_packets += self._new("in", stats.packetsReceived)

    def _new(self, name: str, total: int) -> int:
        new = total - self._last.get(name, 0)
        self._last[name] = total
        return new
