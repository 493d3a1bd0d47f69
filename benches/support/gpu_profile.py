# SPDX-License-Identifier: Apache-2.0
"""Which kernels a driving frame is made of: `gpu_profile.py FOLDER` writes FOLDER/profile-<preset>.txt.

One replay of the frame path of each preset, in the form that benches/bench_reenactor.py times, once it is
warm: kernels by their time, how often each runs, and what the host does beside them.
"""

import sys
from pathlib import Path

import torch
from frames import PATH, config_of, reenactor_of, whole_of
from measuring import DEVICE
from torch.profiler import ProfilerActivity, profile

PRESETS = ("vox-256", "vox-256-spade", "liveportrait")
WARM_UPS = 5
ROWS = 100


def table(preset: str) -> str:
    """The profiler's own table of one frame."""
    frame = whole_of(reenactor_of(config_of(preset), PATH), PATH).run
    for _ in range(WARM_UPS):
        frame()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if DEVICE == "cuda" else [])]
    with profile(activities=activities) as found:
        frame()
    events = found.key_averages()
    return str(events.table(sort_by=f"self_{DEVICE}_time_total", row_limit=ROWS, max_name_column_width=120))


@torch.inference_mode()
def main(folder: Path) -> None:
    for preset in PRESETS:
        text = table(preset)
        (folder / f"profile-{preset}.txt").write_text(text)
        print(f"{preset}\n{text}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
