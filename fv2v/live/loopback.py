# SPDX-License-Identifier: Apache-2.0
"""WebRTC that stays on this machine: media between a page and its server, which no other machine reaches.

aioice listens on every address of the machine but 127.0.0.1, and has no option for it; a machine without a
network has no other. What is gathered inside `on_loopback` listens there, and nowhere else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from aioice import ice

_inside: ContextVar[bool] = ContextVar("fv2v-on-loopback", default=False)
_all_addresses = ice.get_host_addresses


def _addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    return ["127.0.0.1"] if _inside.get() else _all_addresses(use_ipv4, use_ipv6)


ice.get_host_addresses = _addresses


@contextmanager
def on_loopback(only: bool = True) -> Iterator[None]:
    """Candidates that this task gathers in the block are 127.0.0.1's, unless `only` is False."""
    token = _inside.set(only)
    try:
        yield
    finally:
        _inside.reset(token)
