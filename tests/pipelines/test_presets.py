# SPDX-License-Identifier: Apache-2.0
"""Every preset at full size, whole files in and a whole file out, with weights in the releases' own files.

FV2V_FRAMES says how many frames each makes. By default 2, and 1 of sadtalker-512, whose frame costs a CPU
as much as four others'.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import av
import clips
import numpy as np
import parity
import pytest
from release_weights import filled, write_release
from tiny import sized_as_trained

from fv2v import PRESETS, Reenactor, checkpoints, read_motion, read_video, reenact, talk
from fv2v.geometry import Motion
from fv2v.pipelines.report import Report

FRAMES = os.environ.get("FV2V_FRAMES")
# whose files a preset reads, one after the other where they are the same; of ours there is no release
RELEASES = {
    "face-vid2vid-256": "",
    "face-vid2vid-512": "",
    "vox-256": "zlh",
    "vox-256-jacobian": "zlh_jac",
    "vox-256-spade": "zlh_spade",
    "sadtalker-256": "sad",
    "sadtalker-512": "sad",
    "liveportrait": "lp",
    "performrecast": "performrecast",
    "fomm-256": "fomm",
    "fomm-256-unaligned": "fomm",
    "fomm-256-mgif": "fomm_mgif",
    "face-vid2vid-256-k10": "",
    "face-vid2vid-256-k15": "",
    "face-vid2vid-256-direct": "",
    "face-vid2vid-256-2d": "",
    "starter": "",
}


@pytest.fixture(scope="module")
def weights(request, tmp_path_factory) -> Iterator[list[Path]]:
    """Files have half a gigabyte, and are gone before the next are written."""
    folder = tmp_path_factory.mktemp("weights")
    if request.param in PRESETS:
        config = PRESETS[request.param]
        # what no release is like has no names to be filled by
        like_a_release = config.canonical and config.volume_depth > 1 and not config.direct
        model = filled(config) if like_a_release else sized_as_trained(config)
        checkpoints.save(model, folder / "ours.safetensors")
        yield [folder / "ours.safetensors"]
    else:
        yield write_release(request.param, folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> tuple[Path, Path]:
    """A portrait and a driving clip, real ones where there are, of sizes that no network has."""
    if "FV2V_MEDIA" in os.environ:
        return clips.real("velata.jpg"), clips.real("room_480_25fps.mp4")
    images = clips.moving_picture(clips.portrait(), int(FRAMES or 2), size=320)
    return clips.PORTRAIT, clips.write_clip(tmp_path_factory.mktemp("driving") / "driving.mp4", images)


def run(preset: str, weights: list[Path], inputs: tuple[Path, Path], output: Path, count: int) -> Report:
    portrait, driving = inputs
    if not PRESETS[preset].head.window:
        return reenact(portrait, driving, output, preset, weights=weights, frames=count)
    own, driver = output.with_name("own.npy"), output.with_name("driver.npy")
    np.save(own, parity.coeffs("own", 73, 1)[0].T)
    np.save(driver, parity.coeffs("driver", 70, count)[0].T)
    return talk(portrait, driver, output, preset, source_coefficients=own, weights=weights, yaw=[-20, 20])


def test_there_is_a_case_for_every_preset():
    assert RELEASES.keys() == PRESETS.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "weights"),
    [(preset, release or preset) for preset, release in RELEASES.items()],
    indirect=["weights"],
    ids=RELEASES,
)
def test_end_to_end(preset, weights, inputs, tmp_path):
    count = int(FRAMES or (1 if preset == "sadtalker-512" else 2))
    output = tmp_path / "out.mp4"
    report = run(preset, weights, inputs, output, count)
    print(preset, report)
    made = read_video(output)
    pictures = np.stack(list(made))
    size = PRESETS[preset].output_size
    assert report.frames == count
    assert pictures.shape == (count, size, size, 3)
    assert pictures.std(axis=(1, 2)).min() > 5, "a picture has more than one grey"
    assert made.rate == 25
    with av.open(str(output)) as container:
        stream = container.streams.video[0].codec_context
        assert (stream.name, stream.pix_fmt) == ("h264", "yuv420p")  # what browsers and phones play


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["lp"], indirect=True)
def test_real_templates_drive_liveportrait(weights):
    """At full size: two frames of each, a portrait that is none of theirs."""
    templates = [clips.real(name) for name in ("talking.pkl", "shake_face.pkl", "d5.pkl")]
    reenactor = Reenactor(weights=weights)
    source = reenactor.encode(clips.PORTRAIT)
    for template in templates:
        sequence = read_motion(template)
        chosen = Motion.cat([sequence.motion[:1], sequence.motion[len(sequence) // 2 :][:1]])
        first, second = reenactor.animate(source, chosen)
        assert first.shape == (512, 512, 3)
        assert min(first.std(), second.std()) > 5, "a picture has more than one grey"
        assert not np.array_equal(first, second), template.name
