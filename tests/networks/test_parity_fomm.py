# SPDX-License-Identifier: Apache-2.0
"""Every recorded tensor of First Order Motion's release, in both of its sampling conventions.

By default one convention, plain; `pytest --slow` compares the other, the reference, and the networks arranged
for inference, whose blocks leave out nothing that is recorded.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import parity
import pytest
import torch
from parity_recording import Recording, recorded_pictures
from release_weights import DATA, write_release
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fv2v import checkpoints
from fv2v.engine import arrange
from fv2v.geometry import Motion, Placement, Source, place
from fv2v.networks import FaceVid2Vid
from fv2v.presets import FOMM_256, FOMM_256_UNALIGNED
from fv2v_kernels import OPS, available, compose_flow, compose_warp, keypoint_flow, use_backend, warp3d

CONVENTIONS = {"aligned": FOMM_256, "default": FOMM_256_UNALIGNED}
SCENARIOS = "absolute", "relative"
OWN = 4  # times the release's own float32 error, or four roundings of the largest number
CASES = [
    pytest.param("aligned", "cpu", "cpu", False, id="aligned-cpu"),
    *(
        pytest.param(
            convention,
            device,
            backend,
            arranged,
            id=f"{convention}-{backend}{'-arranged' if arranged else ''}",
            marks=[pytest.mark.slow, *([pytest.mark.gpu] if device == "cuda" else [])],
        )
        for convention, device, backend, arranged in (
            ("default", "cpu", "cpu", False),
            ("aligned", "cpu", "reference", False),
            ("default", "cpu", "reference", False),
            ("aligned", "cpu", "cpu", True),
            ("default", "cpu", "cpu", True),
            ("aligned", "cuda", "cuda", False),
            ("default", "cuda", "triton", False),
        )
    ),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> FaceVid2Vid:
    folder = tmp_path_factory.mktemp("fomm")
    model = checkpoints.load(write_release("fomm", folder)).eval()
    shutil.rmtree(folder)
    assert model.config == FOMM_256
    return model


@pytest.mark.parametrize(("convention", "device", "backend", "arranged"), CASES)
def test_every_recorded_tensor(model, convention, device, backend, arranged, capsys):
    if not all(backend in available(op, device) for op in OPS):
        pytest.skip(f"this build has no {backend} kernels")
    networks = FaceVid2Vid(CONVENTIONS[convention]).eval()
    networks.load_state_dict(model.state_dict())
    networks.to(device)
    if arranged:
        networks = arrange(deepcopy(networks), torch.device(device), torch.float32)
    exactly = torch.backends.cudnn.flags(allow_tf32=False)
    with torch.inference_mode(), use_backend(backend), exactly:
        recording = recorded(networks, convention)
    meta = json.loads((DATA / "fomm.json").read_text())
    with np.load(DATA / "fomm.npz") as stored, capsys.disabled():
        assert_matches(recording, stored, meta, convention)


def assert_matches(recording: Recording, stored, meta, convention: str) -> None:
    """All entries of the convention are compared and printed before any fails."""
    others = tuple(f"{name}." for name in CONVENTIONS if name != convention)
    entries = {name: facts for name, facts in meta["entries"].items() if not name.startswith(others)}
    assert len(entries) == {"aligned": 39, "default": 43}[convention]
    failures = []
    print(f"\nfomm, {convention}\n{'entry':40}{'error':>10}{'own f32':>10}{'ratio':>7}")
    for entry, facts in entries.items():
        found = recording[entry].reshape(facts["shape"]).cpu().numpy()
        error, magnitude, projection = parity.compare(stored, meta, entry, found)
        own = facts["f32_max_abs_err"]
        largest = max(abs(facts["min"]), abs(facts["max"]))
        print(f"{entry:40}{error:10.1e}{own:10.1e}{error / own:7.1f}")
        if error > OWN * max(own, np.finfo(np.float32).eps * largest) or max(magnitude, projection) > 1e-4:
            failures.append(f"{entry}: {error:.1e}, own {own:.1e}; sums {magnitude:.1e}, {projection:.1e}")
    assert not failures, "\n".join(failures)


def recorded(model: FaceVid2Vid, convention: str) -> Recording:
    recording: Recording = {}
    device = next(model.parameters()).device
    pictures = {name: picture.to(device) for name, picture in recorded_pictures().items()}
    motions = {}
    for name, picture in pictures.items():
        with hooked(recording, detector(model, name)):
            motions[name] = model.extract(picture)
        logits = recording[f"kp_detector.logits.{name}"].flatten(2)
        recording[f"heatmap.{name}"] = (logits / 0.1).softmax(-1)
        recording[f"kp.{name}"], recording[f"jac.{name}"] = flat(motions[name])
    with hooked(recording, {"first": model.appearance.first}):
        source = model.encode(pictures["source"])
    recording["feature"] = source.features
    for scenario in SCENARIOS:
        placed = transfer(source, motions, scenario, model)
        recording |= rendered(model, source, placed, scenario, convention, pictures["source"])
    assert placed.affine is not None
    moved = torch.linalg.solve(placed.affine, motions["source"].jacobians)  # affine = J_s J⁻¹
    return recording | {"kp.relative": placed.kp_driving[..., :2], "jac.relative": moved[..., :2, :2]}


def transfer(source: Source, motions: dict[str, Motion], scenario: str, model: FaceVid2Vid) -> Placement:
    anchor = motions["driving0"] if scenario == "relative" else None
    return place(source, motions["driving1"], anchor, geometry=model.config.geometry)


def rendered(
    model: FaceVid2Vid, source: Source, placed: Placement, scenario: str, convention: str, picture: Tensor
) -> Recording:
    found: Recording = {}
    inside = f"{convention}.{scenario}"
    with hooked(found, renderer(model, inside), inputs={f"{inside}.decoder_in": model.generator.decoder}):
        found[f"{inside}.prediction"] = model.render(source, placed)
    points, align = (source.keypoints, *placed), model.config.align_corners
    logits = found[f"{inside}.dm.mask_logits"]
    candidates = found[f"{inside}.dm.hourglass_in"].unflatten(1, (model.config.flows, -1))
    warped, deformation, _ = compose_warp(
        source.features, logits, *points, align_corners=align, return_flow=True
    )
    mask = compose_flow(logits, *points, return_mask=True).mask
    large = interpolate(deformation[:, 0].permute(0, 3, 1, 2), picture.shape[2:], mode="bilinear")
    grid = large.permute(0, 2, 3, 1).unsqueeze(1)
    assert placed.affine is not None
    return found | {
        f"{inside}.warped": warped,
        f"{inside}.deformed": warp3d(picture.unsqueeze(2), grid, align_corners=align),
        f"{inside}.dm.mask": mask,
        f"{inside}.dm.deformation": deformation[..., :2],
        f"{inside}.dm.sparse_deformed": candidates[:, :, 1:],
        f"{scenario}.dm.heatmap": candidates[:, :, :1],
        f"{scenario}.dm.sparse_motion": keypoint_flow(*points, size=tuple(logits.shape[2:]))[..., :2],
        f"{scenario}.dm.affine": placed.affine[..., :2, :2],
    }


def flat(motion: Motion) -> tuple[Tensor, Tensor]:
    """What the release has of a motion: keypoints (B, K, 2), Jacobians (B, K, 2, 2). The rest is 0 or 1."""
    assert motion.jacobians is not None
    assert not motion.expression[..., 2].any()
    identity = motion.jacobians.clone()
    identity[..., :2, :2] = torch.eye(2, device=identity.device)
    assert torch.equal(identity, torch.eye(3, device=identity.device).expand_as(identity))
    return motion.expression[..., :2], motion.jacobians[..., :2, :2]


def detector(model: FaceVid2Vid, frame: str) -> dict[str, nn.Module]:
    L = model.canonical
    parts = {"down": L.reduce, "feature": L.hourglass, "logits": L.heatmap, "jacobian_map": L.jacobian}
    return {f"kp_detector.{name}.{frame}": module for name, module in parts.items()}


def renderer(model: FaceVid2Vid, inside: str) -> dict[str, nn.Module]:
    M, decoder = model.dense_motion, model.generator.decoder
    return {
        f"{inside}.dm": M,
        f"{inside}.dm.hourglass": M.hourglass,
        f"{inside}.dm.mask_logits": M.mask,
        f"{inside}.bottleneck_out": decoder.residual,
        f"{inside}.up0": decoder.up[0],
        f"{inside}.up1": decoder.up[1],
    }


@contextmanager
def hooked(
    recording: Recording, outputs: dict[str, nn.Module], inputs: dict[str, nn.Module] | None = None
) -> Iterator[None]:
    """Record what modules return, and of some what they take; of M the occlusion, of its hourglass both."""

    def keep(name: str, given: tuple[Tensor, ...], out) -> None:
        if name.endswith(".dm"):
            recording[f"{name}.occlusion_map"] = out.occlusion
        elif name.endswith(".hourglass"):
            recording[f"{name}_in"], recording[f"{name}_out"] = given[0].clone(), out.clone()
        elif name in (inputs or {}):
            recording[name] = given[0].clone()
        else:
            recording[name] = out.clone()

    every = outputs | (inputs or {})
    handles = [
        module.register_forward_hook(lambda _, given, out, name=name: keep(name, given, out))
        for name, module in every.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
