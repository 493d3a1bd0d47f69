# SPDX-License-Identifier: Apache-2.0
"""The frame as a file of ONNX."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fv2v.engine.frame import FrameKind
from fv2v.export.decompositions import OPSET, READS, decompositions
from fv2v.export.frame import frame_network, quiet_exporter
from fv2v.export.schema import describe, examples
from fv2v.extras import check_extra
from fv2v.io.paths import PathLike, check_output, whole_file
from fv2v.networks import FaceVid2Vid

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fv2v.engine.frame import FrameKeywords

LARGEST = 2**31 - 2**24  # bytes of weights that one file of ONNX holds, with room for the graph


def export_onnx(
    model: FaceVid2Vid,
    path: PathLike,
    *,
    reads: str = "grid_sample",
    batch_size: int = 1,
    **options: "Unpack[FrameKeywords]",
) -> Path:
    """Write the frame as one file of ONNX, opset 20, float32, whole or not at all.

    Args:
        model: trained, from `Reenactor.model` or `checkpoints.load`.
        path: ends in .onnx.
        reads: how volumes are read at points. "grid_sample": by GridSample in 3D, which ONNX has since opset
            20, and few runtimes but onnxruntime on the CPU. "gather": by Gather and arithmetic, for all.
        batch_size: driving frames at once, for one portrait.
        options: what is the same for all frames, as `fv2v.engine.frame.FrameKind` has it: `relative`, `view`
            (the form of view whose numbers become inputs) and the others.

    Returns:
        The path.

    Raises:
        ValueError: another suffix, or an option that does not fit; onnx is not installed; more than 2 GB.
        OSError: the file cannot be written.
    """
    path = check_output(path, (".onnx",))
    if reads not in READS:
        raise ValueError(f"expected reads, one of {', '.join(READS)}; got {reads!r}")
    check_installed()
    network = frame_network(model, FrameKind(**options), batch_size).to("cpu", torch.float32)
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    if size > LARGEST:
        raise ValueError(f"{path}: the weights have {size / 1e9:.1f} GB, and a file of ONNX holds 2")
    with quiet_exporter():
        program = torch.export.export(network, examples(network, batch_size), strict=False)
        converted = torch.onnx.export(
            program.run_decompositions(decompositions(READS[reads])),
            dynamo=True,
            opset_version=OPSET,
            input_names=network.inputs,
            output_names=["image"],
            verbose=False,
        )
        assert converted is not None
        described = describe(network, batch_size) | {"reads": reads}
        converted.model.metadata_props.update({key: json.dumps(value) for key, value in described.items()})
        with whole_file(path) as temporary:
            converted.save(temporary, external_data=False)
    return path


def check_installed() -> None:
    """ValueError where a package is missing that writes .onnx."""
    check_extra("writing .onnx", ("onnx", "onnxscript"), "export")
