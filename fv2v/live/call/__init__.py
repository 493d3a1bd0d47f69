# SPDX-License-Identifier: Apache-2.0
"""A call: the portrait once, then motion and sound between two machines, each of which renders the other.

The files, from the bottom: link (address and secret), messages (what is said), portrait (a peer's picture),
model (what both must share), rates (what it costs), jitter, sound, sides, connection (two peers, once),
signalling (how they find each other), reader and own (this side's motion), person (the other side), call (a
side of it all), run.
"""
