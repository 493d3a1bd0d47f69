# SPDX-License-Identifier: Apache-2.0
"""Sheets of `fv2v inspect`: each picture is what it says, for every preset."""

from pathlib import Path

import clips
import numpy as np
import pytest
import torch
from tiny import TINIES, coefficients, lively

from fv2v import Reenactor, View, inspect, read_image, read_video, write_image
from fv2v.face.crop import cut, middle_square
from fv2v.face.portrait import crop_portrait
from fv2v.io.tensors import to_uint8
from fv2v.viz.model import BACKGROUND, SQUARES, checkerboard, hues, marked, pixels_of, strongest
from fv2v.viz.sheet import CAPTION, GAP
from fv2v_kernels import keypoint_flow

CELL = 192  # pixels on a side, of pictures of 32 and of 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    images = clips.moving_picture(clips.portrait(), 5)
    clips.write_clip(folder / "driving.mp4", images)
    write_image(folder / "portrait.png", images[0])
    write_image(folder / "still.png", images[2])
    np.save(folder / "own.npy", coefficients(1)[0])
    np.save(folder / "driver.npy", coefficients(3, 1))
    for config in TINIES:
        weights = folder / f"{config.name}.safetensors"
        lively(Reenactor(config, weights="random", optimize=False)).save(weights)
    return folder


def cell(sheet: np.ndarray, line: int, column: int, *, gaps: int = 0) -> np.ndarray:
    """(192, 192, 3): a picture on a sheet, below `line` others and `gaps`."""
    top = line * (CAPTION + CELL) + gaps * GAP + CAPTION
    return sheet[top : top + CELL, column * CELL : (column + 1) * CELL]


def assert_shows(found: np.ndarray, picture: np.ndarray) -> None:
    """Enlarged, to one level: other threads may add in another order."""
    times = CELL // len(picture)
    large = picture.repeat(times, axis=0).repeat(times, axis=1)
    assert np.abs(found.astype(int) - large).max() <= 1


@pytest.mark.parametrize("config", TINIES, ids=lambda config: config.name)
def test_a_sheet_shows_what_is_rendered(folder, tmp_path, config):
    weights, by_coefficients = folder / f"{config.name}.safetensors", bool(config.head.window)
    driving, own = folder / ("driver.npy" if by_coefficients else "driving.mp4"), folder / "own.npy"
    inspect(
        folder / "portrait.png",
        driving,
        tmp_path / "sheet.png",
        weights=weights,
        source_coefficients=own if by_coefficients else None,
        frames=[1, 2],
        crop=False,
    )
    sheet = read_image(tmp_path / "sheet.png")
    assert sheet.shape == (3 * (CAPTION + CELL) + GAP, 6 * CELL, 3)
    reenactor = Reenactor(weights=weights, optimize=False)
    source = reenactor.encode(folder / "portrait.png", np.load(own) if by_coefficients else None)
    size = config.image_size
    drivers = [cut(frame, middle_square(frame), size) for frame in read_video(folder / "driving.mp4")]
    if by_coefficients:
        drivers = np.load(driving)
    shown = list(reenactor.animate(source, drivers))
    for line in (0, 1):
        assert_shows(cell(sheet, line, 2), shown[1 + line])
    for column, yaw in enumerate((-30, -15, 0, 15, 30)):
        view = to_uint8(reenactor.render(source, source.motion, view=View(yaw=yaw))).cpu().numpy()[0]
        assert_shows(cell(sheet, 2, column, gaps=1), view)
    assert_shows(cell(sheet, 2, 5, gaps=1), reenactor.frontalize(source))
    for column in (3, 4):
        assert cell(sheet, 0, column).std() > 1, "masks and deformation are drawn"


def test_a_picture_drives_a_sheet(fv2v, folder, tmp_path):
    weights = folder / "tiny-liveportrait.safetensors"
    inputs = (folder / "portrait.png", folder / "still.png", "--no-crop", "-w", weights)
    code, out, err = fv2v("inspect", *inputs, "-o", tmp_path / "sheet.png")
    assert (code, out, err) == (0, f"{tmp_path / 'sheet.png'}: written\n", "")
    sheet = read_image(tmp_path / "sheet.png")
    assert sheet.shape == (2 * (CAPTION + CELL) + GAP, 6 * CELL, 3)
    reenactor = Reenactor(weights=weights, optimize=False)
    source = reenactor.encode(folder / "portrait.png")
    assert_shows(cell(sheet, 0, 2), reenactor.imitate(source, folder / "still.png"))
    code, _, _ = fv2v("inspect", *inputs, "--absolute", "--overwrite", "-o", tmp_path / "sheet.png")
    absolute = reenactor.imitate(source, folder / "still.png", relative=False)
    assert_shows(cell(read_image(tmp_path / "sheet.png"), 0, 2), absolute)
    assert not np.array_equal(read_image(tmp_path / "sheet.png"), sheet)


def test_the_faces_that_are_meant(folder, tmp_path):
    portrait, driving, weights = (folder / n for n in ("portrait.png", "still.png", "tiny-vox.safetensors"))
    boxes = np.array([60, 50, 140, 130]), np.array([100, 90, 200, 190])
    inspect(portrait, driving, tmp_path / "sheet.png", weights=weights, face=boxes[0], driving_face=boxes[1])
    reenactor = Reenactor(weights=weights, optimize=False)
    shown = reenactor.imitate(
        reenactor.encode(crop_portrait(portrait, face=boxes[0]).image),
        crop_portrait(driving, face=boxes[1]).image,
    )
    assert_shows(cell(read_image(tmp_path / "sheet.png"), 0, 2), shown)


def test_three_frames_of_a_video_or_as_many_as_it_has(folder, tmp_path):
    inputs = clips.PORTRAIT, folder / "driving.mp4", tmp_path / "sheet.png"
    inspect(*inputs, weights=folder / "tiny-vox.safetensors")
    assert read_image(tmp_path / "sheet.png").shape[0] == 2 * (CAPTION + CELL) + GAP  # its last, the fifth
    clips.write_clip(tmp_path / "long.mp4", clips.moving_picture(clips.portrait(), 30))
    inspect(inputs[0], tmp_path / "long.mp4", inputs[2], weights=folder / "tiny-vox.safetensors", crop=False)
    assert read_image(tmp_path / "sheet.png").shape[0] == 4 * (CAPTION + CELL) + GAP  # 12, 25, 29


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--frame": 5}, "driving.mp4: expected a frame from 0 to 4, got 5"),
        ({"--frame": -1}, "expected frames counted from 0, got -1"),
        ({"driving": "absent.mp4"}, "absent.mp4: no such file"),
        ({"driving": "driver.npy"}, "expected the coefficients of both faces, or of neither"),
        ({"--source-coefficients": "own.npy"}, "driving.mp4, and of the portrait own.npy"),
        ({"-o": "out.mp4"}, "ends in .png, .jpg, .jpeg, .webp"),
        ({"-o": "still.png", "driving": "still.png"}, "still.png: is there already; choose another name"),
        ({"-w": "tiny-sadtalker.safetensors"}, "driven by 3DMM coefficients, no pictures"),
        ({"--face": 2}, "is its middle square: expected no face to be chosen"),
        ({"--driving-face": 2}, "is its middle square: expected no face to be chosen"),
        ({"driving": "still.png", "--relative": None}, "which 'tiny-vox' has not"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(fv2v, folder, monkeypatch, changed, message):
    monkeypatch.chdir(folder)
    given = {"driving": "driving.mp4", "-w": "tiny-vox.safetensors", "-o": "sheet.png"} | changed
    options = [part for name, value in given.items() for part in (name, value) if part is not None][2:]
    code, out, err = fv2v("inspect", "portrait.png", given["driving"], "--no-crop", *options)
    assert (code, out) == (2, "")
    assert err.startswith("fv2v: ")
    assert err.count("\n") == 1
    assert message in err
    assert not Path("sheet.png").exists()


# What is drawn


def test_the_strongest_mask():
    mask = torch.full((1, 4, 2, 1, 2), 0.1)
    mask[0, 0, :, 0, 0] = 0.7  # the background, on the left
    mask[0, 0, 1, 0, 1], mask[0, 2, 1, 0, 1] = 0.0, 0.64  # a keypoint, on the right, at one depth alone
    mask[0, 0, 0, 0, 1] = 0.9
    left, right = strongest(mask)[0, :, 0].T
    assert left.tolist() == pytest.approx([BACKGROUND] * 3)
    assert right.max() == right[1] == pytest.approx(0.8)  # a third of the way round: green


def test_keypoints_lie_on_voxels_as_the_networks_have_them():
    ends = np.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]])
    assert pixels_of(ends, 64, 256)[:, 0].tolist() == [1.5, 127.5, 253.5]  # of 4 pixels a voxel
    assert pixels_of(ends, 8, 8)[:, 1].tolist() == [0.0, 3.5, 7.0]


def test_keypoints_are_marked_in_their_hues():
    black = np.zeros((200, 200, 3), np.uint8)
    keypoints = torch.tensor([[-0.5, 0.0, 0.0], [-0.5, 0.0, -0.3], [0.5, -0.5, 0.0], [1.2, 0.0, 0.0]])
    name, image = marked("face", black, keypoints, 200)
    assert name == "face, 1 outside"
    colours = (255 * hues(4)).round().byte().numpy()
    assert image[100, 50].tolist() == colours[1].tolist(), "the near one covers the far one"
    assert image[50, 149].tolist() == colours[2].tolist()
    assert not black.any(), "drawn on a copy"
    name, image = marked("face", black, torch.full((1, 3), torch.nan), 200)
    assert (name, image.any()) == ("face, 1 outside", False)


def test_a_checkerboard_shows_where_the_source_is_read():
    still = keypoint_flow(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3), size=(2, 16, 16))[:, 0]
    board = checkerboard(still, 64)[0]
    light = board[2] > 0.5
    square = 64 // SQUARES
    expected = torch.arange(64) // square
    assert torch.equal(light, (expected[:, None] + expected) % 2 == 1)
    corners = board[:2, [square // 2, -square // 2], [-square // 2, square // 2]]
    assert corners[0, 0] > corners[0, 1], "redder to the right"
    assert corners[1, 0] < corners[1, 1], "greener down"
    moved = checkerboard(still + torch.tensor([2 / SQUARES * 16 / 15, 0.0, 0.0]), 64)[0]
    inner = slice(2, -2)  # half a voxel at the border has no flow of its own
    torch.testing.assert_close(
        moved[:, inner, 2 : -square - 2], board[:, inner, square + 2 : -2], rtol=0, atol=1e-4
    )
    assert not moved[:, :, 1 - square :].any(), "nothing is read from outside"
