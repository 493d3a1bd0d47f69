# SPDX-License-Identifier: Apache-2.0
"""A bad network between two namespaces: delay, jitter, loss and cuts, as `tc netem` makes them.

Each namespace has a TUN device, whose packets a thread here passes to the other. It needs root and
/dev/net/tun; netem, which not every kernel has, it does not need.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
from time import monotonic
from types import TracebackType

TUNSETIFF = 0x4004_54CA
TUN_WITHOUT_HEADER = 0x1001  # IFF_TUN | IFF_NO_PI
MTU = 1500
ADDRESSES = ("10.77.0.1", "10.77.0.2")


class Wire:
    """`with Wire(...) as wire:` there are two namespaces, `wire.names`, at ADDRESSES.

    Args:
        delay, jitter: seconds each way, uniform from delay - jitter to delay + jitter: packets overtake.
        loss: the share of packets that are lost.

    Attributes:
        packets, bytes: of IP, sent into the wire by either side so far.
        is_cut: nothing gets through while it is set.
    """

    def __init__(self, delay: float = 0.0, jitter: float = 0.0, loss: float = 0.0, seed: int = 0) -> None:
        self.names = tuple(f"fv2v-{os.getpid()}-{side}" for side in "ab")
        self.packets, self.bytes, self.is_cut = [0, 0], [0, 0], False
        self._delay, self._jitter, self._loss = delay, jitter, loss
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._tuns: list[int] = []
        self._thread = threading.Thread(target=self._carry, name="wire")

    def __enter__(self) -> "Wire":
        try:
            for name, address in zip(self.names, ADDRESSES, strict=True):
                self._add_side(name, address)
        except (OSError, subprocess.CalledProcessError) as error:
            self._remove()
            raise RuntimeError(f"network namespaces and TUN devices cannot be made here: {error}") from error
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._remove()

    def command(self, side: int, *words: str) -> list[str]:
        """What runs a command in a side's namespace."""
        return ["ip", "netns", "exec", self.names[side], *words]

    def _add_side(self, name: str, address: str) -> None:
        tun = os.open("/dev/net/tun", os.O_RDWR)
        self._tuns.append(tun)
        device = f"f{os.getpid() % 10**7}{name[-1]}"
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", device.encode(), TUN_WITHOUT_HEADER))
        ip("netns", "add", name)
        ip("link", "set", device, "netns", name)
        ip("netns", "exec", name, "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
        ip("-n", name, "address", "add", f"{address}/30", "dev", device)
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "set", device, "up", "mtu", str(MTU))

    def _remove(self) -> None:
        for tun in self._tuns:
            os.close(tun)  # its device goes with it
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def _carry(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []  # when it is due, its number, for whom, the packet
        number = 0
        while not self._stop.is_set():
            timeout = max(0.0, waiting[0][0] - monotonic()) if waiting else 0.1
            ready, _, _ = select.select(self._tuns, [], [], min(timeout, 0.1))
            for tun in ready:
                side = self._tuns.index(tun)
                packet = os.read(tun, MTU + 100)
                self.packets[side] += 1
                self.bytes[side] += len(packet)
                if self.is_cut or self._random.random() < self._loss:
                    continue
                number += 1
                late = self._delay + self._random.uniform(-self._jitter, self._jitter)
                heapq.heappush(waiting, (monotonic() + late, number, self._tuns[1 - side], packet))
            while waiting and waiting[0][0] <= monotonic():
                _, _, other, packet = heapq.heappop(waiting)
                if not self.is_cut:
                    os.write(other, packet)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
