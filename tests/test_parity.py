"""Every recorded tensor of zhanglonghao1992's release, through a real checkpoint file and the real loader.

`pytest tests/test_parity.py` prints, for every entry, the largest error against the release in float64
beside the release's own float32 error.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import parity
import pytest
import torch
from release_weights import DATA, state_dicts
from torch import Tensor, nn

from fv2v import checkpoints
from fv2v.config import preset
from fv2v.geometry import Motion, Placement, Source, View, keypoints_of, place
from fv2v.hull import movement_scale
from fv2v.networks import FaceVid2Vid
from fv2v_kernels import OPS, available, compose_warp, keypoint_flow, use_backend

RELEASES = {"zlh": "vox-256", "zlh_jac": "vox-256-jacobian"}
FRAMES = ("source", "driving0", "driving1")
VIEWS = {
    "freeview_abs": View(yaw=20, pitch=-10, roll=5, mode="replace"),
    "freeview_-30": View(yaw=-30, mode="replace"),
    "freeview_rel": View(yaw=-30, mode="replace"),
}
SCENARIOS = {"zlh": ("absolute", "relative", "relative_adapt", "freeview_abs"), "zlh_jac": ("relative",)}
# The release's own float32 errors, rounded up. First match wins; any other entry may err four times
# as much as the release did.
TOLERANCES = [
    ("deg.", 3e-4),
    ("kp", 2e-5),
    (".deformation", 1e-4),
    (".mask ", 2e-4),
    (".warped", 5e-3),
    (".prediction", 1e-4),
]

Recording = dict[str, Tensor]


@pytest.fixture(scope="module", params=RELEASES)
def release(request, tmp_path_factory) -> tuple[str, FaceVid2Vid]:
    file = tmp_path_factory.mktemp(request.param) / "00000189-checkpoint.pth.tar"
    torch.save({**state_dicts(request.param), "epoch": 189}, file)
    model = checkpoints.load(file, preset(RELEASES[request.param])).eval()
    file.unlink()
    return request.param, model


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_every_recorded_tensor(release, backend, capsys):
    name, model = release
    if not all(backend in available(op, "cpu") for op in OPS):
        pytest.skip(f"this build has no {backend} kernels")
    with torch.inference_mode(), use_backend(backend):
        recording, source, motions = record_encoding(model)
        recording |= record_transfers(model, source, motions)
        for scenario in SCENARIOS[name]:
            recording |= record_rendering(model, source, scenario, transfer(model, source, motions, scenario))
    meta = json.loads((DATA / f"{name}.json").read_text())
    with np.load(DATA / f"{name}.npz") as stored, capsys.disabled():
        assert_matches(name, backend, recording, stored, meta)


def assert_matches(name: str, backend: str, recording: Recording, stored, meta) -> None:
    """All entries are compared and printed before any fails."""
    print(f"\n{name}, {backend}\n{'entry':34}{'error':>10}{'own f32':>10}{'ratio':>7}{'allowed':>10}")
    failures = []
    for entry, facts in meta["entries"].items():
        assert entry in recording, f"{name}: nothing recorded for {entry}"
        error, magnitude, projection = parity.compare(stored, meta, entry, recording[entry].numpy())
        own = facts["f32_max_abs_err"]
        allowed = next((bound for part, bound in TOLERANCES if part in f"{entry} "), 4 * own)
        print(f"{entry:34}{error:10.1e}{own:10.1e}{error / own:7.1f}{allowed:10.1e}")
        if not (error <= allowed and max(magnitude, projection) <= 1e-4):
            sums = f"sums {magnitude:.1e}, {projection:.1e}"
            failures.append(f"{entry}: {error:.1e}, allowed {allowed:.1e}; {sums}, allowed 1e-4")
    assert not failures, "\n".join(failures)


def record_encoding(model: FaceVid2Vid) -> tuple[Recording, Source, dict[str, Motion]]:
    """F, L, H and Δ."""
    recording: Recording = {}
    with np.load(DATA / "inputs.npz") as inputs:
        pictures = {
            frame: torch.from_numpy(inputs[frame]).permute(2, 0, 1)[None] / np.float32(255)
            for frame in FRAMES
        }
    motions = {}
    for frame in FRAMES:
        with hooked(model, recording, f".{frame}."):
            motions[frame] = model.extract(pictures[frame])
    with hooked(model, recording, ".encode."):
        source = model.encode(pictures["source"])
    recording |= {"kp_canonical": source.canonical, "features": source.features}
    if source.jacobians is not None:
        recording["jac_canonical"] = source.jacobians
    for frame, motion in motions.items():
        recording |= {
            f"he.{frame}.t": motion.translation,
            f"he.{frame}.exp": motion.expression.flatten(1),
            f"rot.{frame}": motion.rotation,
            f"kp.{frame}": keypoints_of(source.canonical, motion),
        }
        if source.jacobians is not None:
            recording[f"jac.{frame}"] = motion.rotation.unsqueeze(1) @ source.jacobians
    return recording, source, motions


def transfer(model: FaceVid2Vid, source: Source, motions: dict[str, Motion], scenario: str) -> Placement:
    """Where a scenario of the records puts the keypoints."""
    anchor = motions["driving0"] if "rel" in scenario else None
    return place(
        source,
        motions["driving1"],
        anchor,
        VIEWS.get(scenario),
        geometry=model.config.geometry,
        movement=movement_scale(source, anchor) if "adapt" in scenario else 1.0,
    )


def record_transfers(model: FaceVid2Vid, source: Source, motions: dict[str, Motion]) -> Recording:
    relative = transfer(model, source, motions, "relative")
    recording = {"kp.relative": relative.kp_driving}
    if relative.affine is not None:  # affine = J_s J⁻¹
        own = motions["source"].rotation.unsqueeze(1) @ source.jacobians
        return recording | {"jac.relative": torch.linalg.solve(relative.affine, own)}
    return recording | {
        "kp.relative_adapt": transfer(model, source, motions, "relative_adapt").kp_driving,
        "kp.freeview_20_-10_5": transfer(model, source, motions, "freeview_abs").kp_driving,
        "kp.freeview_-30_None_None": transfer(model, source, motions, "freeview_-30").kp_driving,
        "kp.freeview_rel": transfer(model, source, motions, "freeview_rel").kp_driving,
    }


def record_rendering(model: FaceVid2Vid, source: Source, scenario: str, placed: Placement) -> Recording:
    """M and G, and what the operators never store, from the operators."""
    recording: Recording = {}
    with hooked(model, recording, f"{scenario}."):
        recording[f"{scenario}.prediction"] = model.render(source, placed)
    points = (source.keypoints, *placed)
    logits = recording[f"{scenario}.dm.mask_logits"]
    candidates = recording[f"{scenario}.dm.hourglass_in"].unflatten(1, (model.config.flows, -1))
    size = tuple(logits.shape[2:])
    _, deformation, mask = compose_warp(
        source.features,
        logits,
        *points,
        align_corners=model.config.align_corners,
        return_flow=True,
        return_mask=True,
    )
    return recording | {
        f"{scenario}.feature_3d": source.features,
        f"{scenario}.occlusion_map": recording[f"{scenario}.dm.occlusion_map"],
        f"{scenario}.warped": recording[f"{scenario}.warped_flat"].unflatten(1, (-1, size[0])),
        f"{scenario}.dm.compressed_prerelu": model.dense_motion.norm(
            model.dense_motion.compressor(source.features)
        ),
        f"{scenario}.dm.sparse_motion": keypoint_flow(*points, size=size),
        f"{scenario}.dm.heatmap": candidates[:, :, :1],
        f"{scenario}.dm.deformed_feature": candidates[:, :, 1:],
        f"{scenario}.dm.mask": mask,
        f"{scenario}.dm.deformation": deformation,
    }


@contextmanager
def hooked(model: FaceVid2Vid, recording: Recording, scope: str) -> Iterator[None]:
    """Record what the networks' parts take and give under the names of the records."""
    head, M, G = model.head, model.dense_motion, model.generator
    outputs: dict[str, nn.Module] = {
        f"{scope}dm.hourglass_out": M.hourglass,
        f"{scope}dm.mask_logits": M.mask,
        f"{scope}third": G.project,
        f"{scope}fourth": G.mix,
    }
    for angle in ("pitch", "yaw", "roll"):
        outputs[f"he{scope}{angle}"] = getattr(head, angle).bins
        outputs[f"deg{scope}{angle}"] = getattr(head, angle)
    inputs = {
        f"{scope}dm.hourglass_in": M.hourglass,
        f"{scope}warped_flat": G.project,
        f"{scope}decoder_in": G.decoder,
    }

    def keep(name: str, tensor: Tensor) -> None:
        recording[name] = tensor

    handles = [
        module.register_forward_hook(lambda _, __, out, name=name: keep(name, out))
        for name, module in outputs.items()
    ]
    handles += [
        module.register_forward_pre_hook(lambda _, args, name=name: keep(name, args[0]))
        for name, module in inputs.items()
    ]
    handles.append(
        M.register_forward_hook(lambda _, __, field: keep(f"{scope}dm.occlusion_map", field.occlusion))
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
