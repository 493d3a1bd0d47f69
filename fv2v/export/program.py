# SPDX-License-Identifier: Apache-2.0
"""The frame as a program of torch.export."""

import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fv2v.devices import find_device, find_dtype
from fv2v.engine.frame import FrameKind
from fv2v.export.frame import frame_network, quiet_exporter
from fv2v.export.schema import describe, examples
from fv2v.io.paths import PathLike, check_output, whole_file
from fv2v.networks import FaceVid2Vid

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fv2v.engine.frame import FrameKeywords

METADATA = "fv2v.json"  # the name of the metadata beside the program


def export_torch(
    model: FaceVid2Vid,
    path: PathLike,
    *,
    batch_size: int = 1,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype = "float32",
    **options: "Unpack[FrameKeywords]",
) -> Path:
    """Write the frame as a program of torch.export, with fv2v's operators in it, whole or not at all.

    `torch.export.load` reads it after `import fv2v_kernels`; the package `fv2v` is not needed. Given
    `extra_files={"fv2v.json": ""}` it fills in the metadata.

    Args:
        path: ends in .pt2.
        device, dtype: where and in what the program will run, as `Reenactor` takes them.
        model, batch_size, options: as `export_onnx`.

    Returns, Raises: as `export_onnx`, but for onnx and the limit.
    """
    path = check_output(path, (".pt2",))
    network = frame_network(model, FrameKind(**options), batch_size)
    network = network.to(find_device(device), find_dtype(dtype))
    with quiet_exporter():
        program = torch.export.export(network, examples(network, batch_size), strict=False)
        described = json.dumps(describe(network, batch_size))
        stored = BytesIO()  # a disk that is full while torch writes would abort the process
        torch.export.save(program, stored, extra_files={METADATA: described})
        with whole_file(path) as temporary:
            temporary.write_bytes(stored.getbuffer())
    return path
