# SPDX-License-Identifier: Apache-2.0
"""Runs commands with faults of faults.c, each in a fork of this process, which imports what earlier ones did.

It reads a job a line from stdin, as JSON, and answers a line: exit code or -signal, counted calls, stderr.
"""

import ctypes
import json
import os
import signal
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from runs import CPU, config

import fv2v.export
import fv2v.pipelines.demo
import fv2v.pipelines.extract
import fv2v.pipelines.reenact  # noqa: F401  what the commands import when they run
from fv2v.cli import main
from fv2v.cli.progress import frame_progress  # noqa: F401
from fv2v.data import shards  # noqa: F401
from fv2v.training.interrupts import deferred_signals
from fv2v.training.trainer import Trainer

SHIM = ctypes.CDLL(None)


def save_of_training(folder: str, step: str) -> None:
    """What `fv2v train` does after so many steps."""
    trainer = Trainer(replace(config(Path(folder)), keep=1), CPU)
    trainer.step = int(step)
    try:
        with deferred_signals():  # as while it runs
            trainer.save()
    except ValueError as error:
        print(f"fv2v: {error}", file=sys.stderr)
        sys.exit(2)


def run(job: dict[str, Any]) -> None:
    """In the child: never returns."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest-xdist's children may ignore it
    SHIM.fault_arm(job["folder"].encode(), job["what"], job["signal"], ctypes.c_long(job["at"]))
    code: Any = 1
    try:
        if job["command"][0] == "save_of_training":
            save_of_training(*job["command"][1:])
        else:
            sys.argv = ["fv2v", *job["command"]]
            main()
        code = 0
    except SystemExit as stopped:
        code = stopped.code or 0
    finally:
        with suppress(OSError):
            sys.stderr.flush()
        Path(job["calls"]).write_text(str(ctypes.c_long(SHIM.fault_calls()).value))
        Path(job["modules"]).write_text("\n".join(sys.modules))
        os._exit(code)


def serve() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        with tempfile.TemporaryDirectory() as place:
            job["calls"], job["modules"] = f"{place}/calls", f"{place}/modules"
            err = os.open(f"{place}/err", os.O_RDWR | os.O_CREAT)
            if (child := os.fork()) == 0:
                os.dup2(os.open(os.devnull, os.O_RDWR), 1)
                os.dup2(err, 2)
                run(job)
            _, status = os.waitpid(child, 0)
            os.close(err)
            calls, modules = Path(job["calls"]), Path(job["modules"])
            for name in modules.read_text().split() if modules.exists() else ():
                if name not in sys.modules:
                    with suppress(Exception):
                        import_module(name)
            answer = {
                "code": os.waitstatus_to_exitcode(status),
                "calls": int(calls.read_text()) if calls.exists() else None,
                "err": Path(f"{place}/err").read_text(),
            }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
