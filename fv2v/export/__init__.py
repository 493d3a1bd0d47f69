"""The per-frame network in a file: as ONNX for other runtimes, or as a program of torch.export.

A file holds `FrameNetwork` (engine/frame.py): H and Δ on a driving frame, where the source's keypoints go, M
and G, with options and batch size fixed. Of its inputs `driving` is new with every frame; the rest is known
before the first: the portrait's tensors and, with relative motion, those of the anchor. Encoding stays with
`Reenactor`: it runs once a portrait, and what it says may be stored (`numpy.savez`) and sent.

    reenactor = fv2v.Reenactor("vox-256", weights="00000189-checkpoint.pth.tar")
    export_onnx(reenactor.model, "vox.onnx")
    known = known_inputs(reenactor.encode("portrait.png"), reenactor.extract(first_frame))
    session = onnxruntime.InferenceSession("vox.onnx")
    for frame in frames:
        driving = driving_input([frame], 256)
        (image,) = session.run(None, {"driving": driving, **known})  # (1, 3, 256, 256) in [0, 1]

The file's metadata names preset, config and options, and every input and output with its shape, type and
meaning, each as JSON.
"""

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fv2v.devices import find_device, find_dtype
from fv2v.engine.frame import MOTION, SOURCE, VIEWS, FrameKind, FrameNetwork
from fv2v.engine.passes.fold_norms import fold_norms
from fv2v.export.decompositions import OPSET, READS, decompositions
from fv2v.export.schema import describe, examples
from fv2v.geometry import Motion, Source
from fv2v.geometry.view import ViewTensors
from fv2v.io.paths import PathLike, check_output, whole_file
from fv2v.io.tensors import as_batch, to_images
from fv2v.networks import FaceVid2Vid

METADATA = "fv2v.json"  # the name of what `export_torch` writes beside the program
LARGEST = 2**31 - 2**24  # bytes of weights that one file of ONNX holds, with room for the graph


def export_onnx(
    model: FaceVid2Vid,
    path: PathLike,
    *,
    reads: str = "grid_sample",
    relative: bool | None = None,
    stitch: bool = True,
    adapt_scale: bool = False,
    view: str | None = None,
    batch_size: int = 1,
) -> Path:
    """Write the frame as one file of ONNX, opset 20, float32, whole or not at all.

    Args:
        model: trained, as `Reenactor.model` or `checkpoints.load` have it.
        path: ends in .onnx.
        reads: how volumes are read at points. "grid_sample": by GridSample in 3D, which ONNX has since opset
            20, and few runtimes but onnxruntime on the CPU. "gather": by Gather and arithmetic, for all.
        relative: move by the change since an anchor, or take the driver's own pose; None does what the
            preset's release does.
        stitch, adapt_scale: as `Reenactor.animate`; with `adapt_scale` the factor is an input.
        view: which form of view there will be, "compose" or "replace", which takes every view: its numbers
            are inputs. None: none.
        batch_size: driving frames at once, of one portrait.

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
    network = _network(model, relative, stitch, adapt_scale, view, batch_size).to("cpu", torch.float32)
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    if size > LARGEST:
        raise ValueError(f"{path}: the weights have {size / 1e9:.1f} GB, and a file of ONNX holds 2")
    with _quiet():
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


def export_torch(
    model: FaceVid2Vid,
    path: PathLike,
    *,
    relative: bool | None = None,
    stitch: bool = True,
    adapt_scale: bool = False,
    view: str | None = None,
    batch_size: int = 1,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype = "float32",
) -> Path:
    """Write the frame as a program of torch.export, with fv2v's operators in it, whole or not at all.

    `torch.export.load` reads it after `import fv2v_kernels`, which is all of this project that it needs, and
    fills in the metadata given `extra_files={"fv2v.json": ""}`.

    Args:
        path: ends in .pt2.
        device, dtype: where and in what the program will run, as `Reenactor` takes them.
        model, relative, stitch, adapt_scale, view, batch_size: as `export_onnx`.

    Returns, Raises: as `export_onnx`, but for onnx and the limit.
    """
    path = check_output(path, (".pt2",))
    network = _network(model, relative, stitch, adapt_scale, view, batch_size)
    network = network.to(find_device(device), find_dtype(dtype))
    with _quiet():
        program = torch.export.export(network, examples(network, batch_size), strict=False)
        with whole_file(path) as temporary:
            described = json.dumps(describe(network, batch_size))
            torch.export.save(program, temporary, extra_files={METADATA: described})
    return path


def known_inputs(
    source: Source,
    anchor: Motion | None = None,
    *,
    movement: Tensor | None = None,
    view: ViewTensors | None = None,
) -> dict[str, np.ndarray]:
    """The inputs of an exported frame but for `driving`, by name, in float32 as ONNX files take them.

    Args:
        source: one portrait, from `Reenactor.encode`.
        anchor: with relative motion: one frame's, from `Reenactor.extract`.
        movement: with `adapt_scale`: from `fv2v.geometry.hull.movement_scale(source, anchor)`.
        view: with views, one for each frame of the batch: from `fv2v.geometry.view.view_tensors([view],
            source.keypoints, "compose")`, or "replace".
    """
    known: dict[str, Tensor | None] = {
        f"source_{name}": getattr(source.motion if name in MOTION else source, name) for name in SOURCE
    }
    known |= {f"anchor_{name}": getattr(anchor, name, None) for name in MOTION}
    known |= {"movement": movement}
    known |= {f"view_{name}": getattr(view, name, None) for name in ViewTensors._fields}
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
        for name, tensor in known.items()
        if tensor is not None
    }


def driving_input(pictures: Sequence[Any], size: int) -> np.ndarray:
    """`driving` of a batch, (B, 3, size, size) float32, from pictures as `Reenactor.extract` takes them."""
    return to_images(as_batch(pictures, size, torch.device("cpu")), size).numpy()


def check_installed() -> None:
    """ValueError where a package is missing that writes .onnx."""
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"writing .onnx needs {' and '.join(missing)}: pip install 'fv2v[export]'")


def _network(
    model: FaceVid2Vid,
    relative: bool | None,
    stitch: bool,
    adapt_scale: bool,
    view: str | None,
    batch_size: int,
) -> FrameNetwork:
    """Of a copy of the model: norms folded, and without the networks that run once a portrait."""
    geometry = model.config.geometry
    relative = geometry.relative if relative is None else relative
    if adapt_scale and not (relative and geometry.transfer == "keypoint"):
        raise ValueError(
            "adapt_scale needs relative motion and a preset with `keypoint` transfer; "
            f"got relative={relative}, {model.config.name!r} with {geometry.transfer!r}"
        )
    if view not in VIEWS:
        raise ValueError(f"expected a view, 'compose' or 'replace', or None; got {view!r}")
    if batch_size < 1:
        raise ValueError(f"expected batch_size >= 1, got {batch_size}")
    model = deepcopy(model).eval().requires_grad_(False)
    unused: Any = model  # what follows is not a model to encode with
    unused.appearance = unused.canonical = None
    fold_norms(model)
    kind = FrameKind(relative=relative, stitch=stitch, adapt_scale=adapt_scale, view=view)
    return FrameNetwork(model, kind)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' words on packages that nobody needs here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
