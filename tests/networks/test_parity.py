# SPDX-License-Identifier: Apache-2.0
"""Every recorded tensor of the public releases, through real checkpoint files and the real loader.

Each prints, for every entry, the largest error against the release in float64 beside the release's own
float32 error. By default one release is compared; `pytest --slow` compares the rest.
"""

import json
import math
import shutil
from copy import deepcopy
from dataclasses import replace

import numpy as np
import parity
import pytest
import torch
from parity_recording import Recording, record_encoding, record_rendering, recorded_inputs
from release_weights import DATA, write_release
from torch import Tensor

from fv2v import checkpoints
from fv2v.engine import arrange
from fv2v.geometry import Motion, Placement, Source, View, keypoints_of, place, resting
from fv2v.geometry.hull import hull_volume, movement_scale
from fv2v.networks import FaceVid2Vid
from fv2v.presets import preset
from fv2v_kernels import OPS, available, use_backend

RELEASES = {
    "zlh": "vox-256",
    "zlh_jac": "vox-256-jacobian",
    "zlh_spade": "vox-256-spade",
    "sad": "sadtalker-256",
    "lp": "liveportrait",
    "performrecast": "performrecast",
}
VIEWS = {
    "freeview_abs": View(yaw=20, pitch=-10, roll=5, mode="replace"),
    "freeview_-30": View(yaw=-30, mode="replace"),
    "freeview_rel": View(yaw=-30, mode="replace"),
}
SCENARIOS = {
    "zlh": ("absolute", "relative", "relative_adapt", "freeview_abs"),
    "zlh_jac": ("relative",),
    "zlh_spade": ("absolute", "relative"),
    "sad": ("plain",),
    "lp": ("relative", "absolute"),
    "performrecast": ("enhancement", "replacement"),
}
# The releases' own float32 errors, rounded up. First match wins; any other entry may err four times as much
# as the release did, and as much as four roundings of its largest number: by luck the release can be exact.
ANGLES = [("deg.", 3e-4)]  # what is left of numbers near 100
TOLERANCES = [
    *ANGLES,
    ("kp", 2e-5),
    ("x_", 2e-5),
    (".deformation", 1e-4),
    (".mask ", 2e-4),
    (".warped", 5e-3),
    (".prediction", 1e-4),
]
# rendered whole: the one whose picture, arranged for inference, came nearest to the bound below
WHOLE = {
    "zlh": "absolute",
    "zlh_jac": "relative",
    "zlh_spade": "relative",
    "sad": "plain",
    "lp": "absolute",
    "performrecast": "enhancement",
}
ARRANGED = 3  # times a release's own error: what the manual promises of networks arranged for inference
SPADE_PICTURES = 3e-3, 3e-5  # largest and mean error: instance norms amplify
STRICT = ("performrecast",)  # releases that are held to four times their own errors, pictures too


QUICK = "zlh"  # the one that is compared by default
PARAMS = [pytest.param(name, marks=[] if name == QUICK else pytest.mark.slow) for name in RELEASES]


@pytest.fixture(scope="module", params=PARAMS)
def release(request, tmp_path_factory) -> tuple[str, FaceVid2Vid]:
    folder = tmp_path_factory.mktemp(request.param)
    model = checkpoints.load(write_release(request.param, folder), preset(RELEASES[request.param])).eval()
    shutil.rmtree(folder)
    return request.param, model


PLACES = [
    pytest.param("cpu", "cpu", id="cpu"),
    pytest.param("cpu", "reference", id="reference", marks=pytest.mark.slow),
    pytest.param("cuda", "cuda", id="cuda", marks=pytest.mark.gpu),
    pytest.param("cuda", "triton", id="triton", marks=pytest.mark.gpu),
]


@pytest.mark.parametrize(("device", "backend"), PLACES)
def test_every_recorded_tensor(release, device, backend, capsys):
    name, model = release
    if not all(backend in available(op, device) for op in OPS):
        pytest.skip(f"this build has no {backend} kernels")
    if device == "cuda":
        model = deepcopy(model).cuda()
    # in float32, not in the tensor cores' shorter one
    exactly = torch.backends.cudnn.flags(allow_tf32=False)
    with torch.inference_mode(), use_backend(backend), exactly:
        recording, source, motions = record_encoding(model)
        record = RECORDERS.get(name, record_keypoints)
        recording |= record(model, source, motions)
        for scenario in SCENARIOS[name]:
            placed = model.stitch(source, transfer(model, source, motions, scenario))
            recording |= record_rendering(model, source, scenario, placed)
    meta = json.loads((DATA / f"{name}.json").read_text())
    with np.load(DATA / f"{name}.npz") as stored, capsys.disabled():
        assert_matches(name, backend, recording, stored, meta)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_whole_pictures_from_networks_arranged_for_inference(release, device, capsys):
    """The largest error over all pixels, as the releases' own are, of which the records have every 50th.

    It is measured beside our picture in float64, in which the samples are the record's: half a minute a
    picture, and so a scenario of each release.
    """
    name, model = release
    entry = f"{WHOLE[name]}.prediction"
    meta = json.loads((DATA / f"{name}.json").read_text())
    with torch.backends.cudnn.flags(allow_tf32=False):
        exact, found = (
            rendered(arrange(deepcopy(model).to(place), torch.device(place), dtype), name)
            for place, dtype in (("cpu", torch.float64), (device, torch.float32))
        )
    own = meta["entries"][entry]["f32_max_abs_err"]
    error = float((found.double() - exact).abs().max())
    with np.load(DATA / f"{name}.npz") as stored, capsys.disabled():
        print(f"\n{name}, arranged\n{'whole picture':34}{'error':>10}{'own f32':>10}{'ratio':>7}")
        print(f"{entry:34}{error:10.1e}{own:10.1e}{error / own:7.1f}")
        assert parity.compare(stored, meta, entry, exact.numpy())[0] < own / 50
    assert error <= ARRANGED * own


def rendered(networks: FaceVid2Vid, name: str) -> Tensor:
    """The picture of the release's scenario in `WHOLE`, in the networks' dtype."""
    dtype = next(networks.parameters()).dtype
    portrait, frames = recorded_inputs(networks)
    with torch.inference_mode():
        source = networks.encode(*(each.to(dtype) for each in portrait))
        motions = {frame: networks.extract(each.to(dtype)) for frame, each in frames.items()}
        placed = networks.stitch(source, transfer(networks, source, motions, WHOLE[name]))
        return networks.render(source, placed).cpu()


def assert_matches(name: str, backend: str, recording: Recording, stored, meta) -> None:
    """All entries are compared and printed before any fails."""
    print(f"\n{name}, {backend}\n{'entry':34}{'error':>10}{'own f32':>10}{'ratio':>7}{'allowed':>10}")
    failures = []
    spade = preset(RELEASES[name]).generator.decoder == "spade" and name not in STRICT
    for entry, facts in meta["entries"].items():
        assert entry in recording, f"{name}: nothing recorded for {entry}"
        found = recording[entry].reshape(facts["shape"]).cpu().numpy()
        error, magnitude, projection = parity.compare(stored, meta, entry, found)
        own = facts["f32_max_abs_err"]
        largest = max(abs(facts["min"]), abs(facts["max"]))
        least = 4 * max(own, np.finfo(np.float32).eps * largest)
        rounded_up = ANGLES if name in STRICT else TOLERANCES
        allowed = next((bound for part, bound in rounded_up if part in f"{entry} "), least)
        mean = 0.0
        if spade and entry.endswith(".prediction"):
            allowed, mean_allowed = SPADE_PICTURES
            sampled = found.reshape(-1)[:: facts["stride"]]
            mean = float(np.abs(sampled - stored[entry]).mean()) / mean_allowed
        print(f"{entry:34}{error:10.1e}{own:10.1e}{error / own:7.1f}{allowed:10.1e}")
        if not (error <= allowed and mean <= 1 and max(magnitude, projection) <= 1e-4):
            sums = f"sums {magnitude:.1e}, {projection:.1e}"
            failures.append(f"{entry}: {error:.1e}, allowed {allowed:.1e}; {sums}, allowed 1e-4")
    assert not failures, "\n".join(failures)


def transfer(model: FaceVid2Vid, source: Source, motions: dict[str, Motion], scenario: str) -> Placement:
    """Where a scenario of the records puts the keypoints."""
    anchor = motions["driving0"] if "rel" in scenario or scenario == "enhancement" else None
    return place(
        source,
        motions["driving" if scenario == "plain" else "driving1"],
        anchor,
        VIEWS.get(scenario),
        geometry=model.config.geometry,
        movement=movement_scale(source, anchor) if "adapt" in scenario else 1.0,
    )


def record_keypoints(model: FaceVid2Vid, source: Source, motions: dict[str, Motion]) -> Recording:
    """What zhanglonghao1992's release makes of L, H and Δ."""
    recording = {"kp_canonical": source.canonical, "features": source.features}
    recording |= {f"kp.{frame}": keypoints_of(source.canonical, motion) for frame, motion in motions.items()}
    relative = transfer(model, source, motions, "relative")
    recording["kp.relative"] = relative.kp_driving
    if source.jacobians is None:
        return recording | {
            "kp.relative_adapt": transfer(model, source, motions, "relative_adapt").kp_driving,
            "kp.freeview_20_-10_5": transfer(model, source, motions, "freeview_abs").kp_driving,
            "kp.freeview_-30_None_None": transfer(model, source, motions, "freeview_-30").kp_driving,
            "kp.freeview_rel": transfer(model, source, motions, "freeview_rel").kp_driving,
        }
    posed = {frame: motion.rotation.unsqueeze(1) @ source.jacobians for frame, motion in motions.items()}
    recording |= {f"jac.{frame}": jacobians for frame, jacobians in posed.items()}
    # affine = J_s J⁻¹
    moved = torch.linalg.solve(relative.affine, posed["source"])
    return recording | {"jac_canonical": source.jacobians, "jac.relative": moved}


def record_sadtalker(model: FaceVid2Vid, source: Source, motions: dict[str, Motion]) -> Recording:
    """What SadTalker makes of L and of its mapping network's numbers."""
    keypoints = {f"kp.{name}": keypoints_of(source.canonical, motion) for name, motion in motions.items()}
    return {"kp_canonical": source.canonical, **keypoints}


def record_liveportrait(model: FaceVid2Vid, source: Source, motions: dict[str, Motion]) -> Recording:
    """What LivePortrait makes of its head's numbers, and its three small networks."""
    geometry, networks = model.config.geometry, model.retargeting
    first, frame = motions["driving0"], motions["driving1"]
    still = place(source, first, first, geometry=geometry).kp_driving
    recording = {
        # the release keeps rotations for rows
        **{f"rot.{name}": motion.rotation.mT for name, motion in motions.items()},
        "feature_3d": source.features,
        "x_s": source.keypoints,
        "x_d0.relative": still,
        "motion_multiplier": _multiplier(source.keypoints, still),
        "x_d.image_driven": place(source, frame, resting(frame, geometry), geometry=geometry).kp_driving,
        "lip_delta": networks.lip_delta(source.keypoints, source.keypoints.new_tensor([[0.22, 0.05]])),
        "eye_delta": networks.eye_delta(source.keypoints, source.keypoints.new_tensor([[0.31, 0.29, 0.12]])),
    }
    for scenario in SCENARIOS["lp"]:
        placed = transfer(model, source, motions, scenario)
        recording[f"x_d.{scenario}"] = placed.kp_driving
        recording[f"x_d.{scenario}_stitched"] = model.stitch(source, placed).kp_driving
    pair = torch.cat([source.keypoints.flatten(1), recording["x_d.relative"].flatten(1)], dim=1)
    return recording | {"stitch_delta": networks.stitching(pair)}


def record_performrecast(model: FaceVid2Vid, source: Source, motions: dict[str, Motion]) -> Recording:
    """What PerformRecast makes of its head's numbers: each picture's own keypoints, and the expression."""
    geometry, own = model.config.geometry, source.motion
    recording = {"feature_3d": source.features}
    for name, picture in recorded_inputs(model)[1].items():
        canonical = model.look(picture, picture)[1].keypoints  # each picture's own
        recording[f"x.{name}"] = keypoints_of(canonical, motions[name], geometry)
    ahead = torch.eye(3).to(own.rotation)[None]
    neutral = replace(own, rotation=ahead, translation=0 * own.translation, scale=own.scale**0)
    for scenario in SCENARIOS["performrecast"]:
        posed, unposed = (
            transfer(model, each, motions, scenario).kp_driving
            for each in (source, replace(source, motion=neutral))
        )
        recording |= {f"x_d.{scenario}": posed, f"{scenario}.kp_e": unposed}
        recording[f"{scenario}.exp"] = unposed - source.canonical
    return recording


def _multiplier(points: Tensor, others: Tensor) -> Tensor:
    volumes = [hull_volume(each[0].double().cpu().numpy()) for each in (points, others)]
    return torch.tensor(math.sqrt(volumes[0] / volumes[1]))


RECORDERS = {
    "sad": record_sadtalker,
    "lp": record_liveportrait,
    "performrecast": record_performrecast,
}
