# SPDX-License-Identifier: Apache-2.0
"""The per-frame network in a file: as ONNX for other runtimes, or as a program of torch.export.

A file holds `FrameNetwork` (engine/frame.py): H and Δ on a driving frame, where the source's keypoints go, M
and G, with options and batch size fixed. Of its inputs `driving` is new with every frame; the rest is known
before the first: the portrait's tensors and, with relative motion, those of the anchor. Encoding stays with
`Reenactor`: it runs once a portrait, and its result can be stored (`numpy.savez`) and sent.

    reenactor = fv2v.Reenactor("vox-256", weights="00000189-checkpoint.pth.tar")
    export_onnx(reenactor.model, "vox.onnx", relative=True)
    known = known_inputs(reenactor.encode("portrait.png"), reenactor.extract(first_frame))
    session = onnxruntime.InferenceSession("vox.onnx")
    for frame in frames:
        driving = driving_input([frame], 256, "gaussian")
        (image,) = session.run(None, {"driving": driving, **known})  # (1, 3, 256, 256) in [0, 1]

The file's metadata names preset, config and options, and every input and output with its shape, type and
meaning, each as JSON.
"""

from fv2v.export.inputs import driving_input, known_inputs
from fv2v.export.onnx import check_installed, export_onnx
from fv2v.export.program import METADATA, export_torch

__all__ = ["METADATA", "check_installed", "driving_input", "export_onnx", "export_torch", "known_inputs"]
