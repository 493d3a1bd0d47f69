# SPDX-License-Identifier: Apache-2.0
"""Every operator once, forward and backward, contiguous and channels-last, for a profiler to watch.

The functions and tensors are those of the operators' benches, at the releases' volume at 256 pixels.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import torch
from cases import Function, step
from measuring import DEVICE
from places import BENCHES
from torch import Tensor

from fv2v_kernels import OPS, available

BACKEND = "cuda" if DEVICE == "cuda" else "reference"


def once(op: Function, _: Function, tensors: Sequence[Tensor], *, mode: str, backend: str, **__: Any) -> None:
    """In place of the benches' `measure`."""
    run, _moved = step(lambda *given: op(*given, backend=backend), tensors, mode)
    run()


def main() -> None:
    sys.path.insert(0, str(BENCHES))
    for op in OPS:
        if BACKEND not in available(op, DEVICE) or not (BENCHES / f"bench_{op}.py").exists():
            continue
        bench = importlib.import_module(f"bench_{op}")
        first, *others = bench.VOLUMES
        for volume in [first, *(name for name in others if name.startswith(f"{first}, channels"))]:
            for mode in ("forward",) if op == "mask_head" else ("forward", "forward+backward"):
                getattr(bench, f"test_{op}")(once, volume, mode, BACKEND)
                print(f"{op}, {volume}, {mode}: ran", flush=True)
    if DEVICE == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
