# SPDX-License-Identifier: Apache-2.0
"""Streams and events as the CPU does not have them: who has to wait for whom, and where nobody does.

Every operation runs at once, as the host asks for it; what is kept is what a GPU would know. A stream's clock
says how far it has waited for each stream (a vector clock). What was written or read on a stream that one's
own has not waited for, and is written now, or was written and is read, is a race.
"""

import sys
from contextlib import contextmanager
from functools import cache

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fv2v.engine import stages

aten = torch.ops.aten


class Race(Exception):
    """Two streams at one tensor, without order."""


class Stream:
    def __init__(self, name: str) -> None:
        self.name, self.clock = name, {}

    def tick(self, host: "Stream") -> int:
        """The number of the operation that starts now; it comes after all that the host has waited for."""
        self.learn(host.clock)
        self.clock[self.name] = self.clock.get(self.name, 0) + 1
        return self.clock[self.name]

    def learn(self, clock: dict[str, int]) -> None:
        self.clock |= {name: max(time, self.clock.get(name, 0)) for name, time in clock.items()}


class Watched(TorchDispatchMode):
    """In place of `torch.cpu`'s streams while it is entered.

    Args:
        dropped: the line (file, number) of a wait that is left out.
    """

    def __init__(self, dropped: tuple[str, int] | None = None) -> None:
        super().__init__()
        self.dropped, self.waits = dropped, set()
        self.host, self.current = Stream("host"), Stream("current")
        self.made = 0
        self.on_host, self.history, self.kept = set(), {}, []

    def waits_here(self) -> bool:
        """Whether the caller's caller waits; noted."""
        frame = sys._getframe(2)
        line = frame.f_code.co_filename, frame.f_lineno
        self.waits.add(line)
        return line != self.dropped

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        watched = self

        class Lane(Stream):
            def __init__(self, priority: int = 0) -> None:
                watched.made += 1
                super().__init__(f"lane {watched.made}")

        def wait_event(stream: Stream, event: "Event") -> None:
            if watched.waits_here():
                stream.learn(event.clock)

        class Event:
            def __init__(self) -> None:
                self.clock = {}

            def record(self, stream: Stream) -> None:
                stream.learn(watched.host.clock)
                self.clock = dict(stream.clock)

            def synchronize(self) -> None:
                if watched.waits_here():
                    watched.host.learn(self.clock)

        @contextmanager
        def entered(stream: Stream):
            before, watched.current = watched.current, stream
            yield
            watched.current = before

        monkeypatch.setattr(Stream, "wait_event", wait_event, raising=False)
        for name, value in {"Stream": Lane, "Event": Event, "stream": entered}.items():
            monkeypatch.setattr(torch.cpu, name, value)
        monkeypatch.setattr(torch.cpu, "current_stream", lambda: watched.current)
        monkeypatch.setattr(stages, "lanes_of", cache(stages.lanes_of.__wrapped__))
        pinned = stages._pinned

        def noted(*args) -> Tensor:
            tensor = pinned(*args)
            self.on_host.add(tensor.untyped_storage()._cdata)
            return tensor

        monkeypatch.setattr(stages, "_pinned", noted)

    def handed_over(self, tensor: Tensor) -> Tensor:
        """A tensor of the host's own, whatever made it."""
        storage = tensor.untyped_storage()._cdata
        self.kept.append(tensor)
        self.on_host.add(storage)
        self.history.pop(storage, None)
        return tensor

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        view = function.is_view and function.overloadpacket is not aten.to
        moment = None if view else self.check(function, args, kwargs)
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.kept.append(tensor)  # or another storage could take its address
                storage = tensor.untyped_storage()._cdata
                if moment is not None and storage not in self.history:
                    self.history[storage] = (moment, [])
                    if moment[0] == self.host.name:
                        self.on_host.add(storage)
        return result

    def check(self, function, args, kwargs) -> tuple[str, int]:
        """When the operation is, by whose clock. Race if its tensors are not ready for it."""
        places = [each.alias_info for each in function._schema.arguments]
        written = {
            tensor.untyped_storage()._cdata
            for place, value in zip(places, args, strict=False)
            for tensor in tree_leaves(value)
            if isinstance(tensor, Tensor) and place is not None and place.is_write
        }
        seen = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        if function is aten.empty_like.default:
            seen = []  # it looks at no number
        storages = {each.untyped_storage()._cdata for each in seen if not each.is_mkldnn}  # those are weights
        actor = self.host if storages and storages <= self.on_host else self.current
        moment = actor.name, actor.tick(self.host)
        for storage in storages:
            writer, readers = self.history.get(storage, (("nobody", 0), []))
            for name, time in [writer, *(readers if storage in written else [])]:
                if time > actor.clock.get(name, 0):
                    raise Race(f"{function}: {actor.name} at what {name} is at")
            self.history[storage] = (moment, []) if storage in written else (writer, [*readers, moment])
        return moment
