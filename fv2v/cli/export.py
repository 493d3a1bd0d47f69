# SPDX-License-Identifier: Apache-2.0
"""`fv2v export`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fv2v.cli.options import Device, Dtype, TransferOptions, WeightsOptions

Onnx = Annotated[Path | None, typer.Option(metavar="FILE.onnx", help="Write it as ONNX, opset 20, float32.")]
Torch = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.pt2",
        help="Write it as a program of torch.export with fv2v's kernels in it, for --device and --dtype.",
    ),
]
Gather = Annotated[
    bool,
    typer.Option(
        "--gather/--grid-sample",
        help="How the ONNX file reads volumes: by GridSample in 3D, which onnxruntime supports on the CPU "
        "and few other runtimes do; or by Gather and arithmetic, which all support.",
    ),
]
ViewInput = Annotated[
    str | None,
    typer.Option(
        "--view",
        metavar="compose|replace",
        help="Make the receiver's view an input of the file: compose turns the head from where the driver "
        "has it; replace can also hold it at an angle.",
    ),
]
BatchSize = Annotated[
    int, typer.Option(help="How many driving frames of one portrait the file takes at once.")
]


def export(
    model: WeightsOptions,
    transfer: TransferOptions,
    onnx: Onnx = None,
    torch: Torch = None,
    gather: Gather = False,
    view: ViewInput = None,
    batch_size: BatchSize = 1,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Write what runs for every frame to a file for other runtimes: a driving frame in, a picture out.

    Portraits are still encoded with fv2v; `fv2v.export.known_inputs` turns one into the file's other inputs.
    """
    from fv2v.devices import find_device, find_dtype
    from fv2v.export import check_installed, export_onnx, export_torch
    from fv2v.io.paths import check_output
    from fv2v.reenactor import Reenactor

    if onnx is None and torch is None:
        raise ValueError("expected --onnx FILE.onnx, --torch FILE.pt2, or both; got neither")
    if onnx is not None:
        check_output(onnx, (".onnx",))
        check_installed()
    if torch is not None:
        check_output(torch, (".pt2",))
    where: dict[str, Any] = {"device": find_device(device), "dtype": find_dtype(dtype)}
    # float32 on the CPU, as trained: norms are folded before weights are rounded
    trained = Reenactor(**model.reenactor_arguments(), device="cpu", optimize=False).model
    options: dict[str, Any] = transfer.animation_arguments() | {"view": view, "batch_size": batch_size}
    if onnx is not None:
        export_onnx(trained, onnx, reads="gather" if gather else "grid_sample", **options)
        typer.echo(f"{onnx}: {_size(onnx)}")
    if torch is not None:
        export_torch(trained, torch, **where, **options)
        typer.echo(f"{torch}: {_size(torch)}")


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB"
