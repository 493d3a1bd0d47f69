# SPDX-License-Identifier: Apache-2.0
"""What makes a drawn head look more like a photographed one: skin, shadows, hats; and the camera."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from fv2v.batch import Batched
from fv2v.data.synthetic.uniform import Uniform

LINEAR = 2.2  # the exponent from sRGB to linear light, about


@dataclass(frozen=True, slots=True)
class Photo(Batched):
    """Of B identities: how their skin takes light, and their hats. Lengths are as in `Identity`."""

    subsurface: Tensor  # (B,)  0 none; 1: where light fades on skin it is red
    gloss: Tensor  # (B,)  of the skin, 0 powdered, 1 oily
    shadow: Tensor  # (B,)  how dark the shadows are that nose, chin, hair and hands throw
    pores: Tensor  # (B,)  how uneven the skin is
    hat: Tensor  # (B,)  0 or 1
    hat_y: Tensor  # (B,)  its edge in front
    brim: Tensor  # (B,)  how wide, negative for none
    visor: Tensor  # (B,)  how much further the brim reaches in front
    hat_colour: Tensor  # (B, 3)

    @classmethod
    def sample(cls, rng: np.random.Generator, count: int) -> "Photo":
        u = Uniform(rng, count)
        brimmed = u.chance(0.6)
        return cls(
            subsurface=u(0.2, 1.0),
            gloss=u(0.1, 1.0),
            shadow=u(0.3, 0.9),
            pores=u(0.2, 1.0),
            hat=u.chance(0.2),
            hat_y=u(-0.34, -0.25),
            brim=brimmed * u(0.46, 0.62) - (1 - brimmed),
            visor=u.chance(0.5) * u(0.05, 0.16),
            hat_colour=u(0.06, 0.85, 3),
        )


@dataclass(frozen=True, slots=True)
class Camera(Batched):
    """What cameras do to B pictures."""

    exposure: Tensor  # (B,)  factor of the light
    balance: Tensor  # (B, 3)  of its colours
    blur: Tensor  # (B,)  standard deviation of a Gaussian, in pixels of 128 across
    noise: Tensor  # (B,)  standard deviation in mid-grey
    quality: Tensor  # (B,)  of the JPEG, 100 for none
    seed: Tensor  # (B,)  of the noise, a whole number

    @classmethod
    def sample(cls, rng: np.random.Generator, count: int) -> "Camera":
        u = Uniform(rng, count)
        stored = u.chance(0.6)
        return cls(
            exposure=2 ** u(-0.6, 0.5),
            balance=1 + u(-0.08, 0.08, 3),
            blur=u.chance(0.5) * u(0.2, 0.7),
            noise=u.chance(0.7) * u(0.003, 0.025),
            quality=(stored * u(55, 96) + 100 * (1 - stored)).floor(),
            seed=(u(0, 1) * 2**23).floor(),
        )

    def of_a_clip(self, rng: np.random.Generator, frames: int) -> "Camera":
        """One camera in so many frames: its exposure drifts a little, and each has noise of its own."""
        u, camera = Uniform(rng, frames), self.repeat(frames)
        return replace(camera, exposure=camera.exposure * 2 ** u(-0.05, 0.05), seed=(u(0, 1) * 2**23).floor())


def photographed(pictures: Tensor, camera: Camera) -> Tensor:
    """B pictures (B, 3, n, n) in [0, 1] as a camera would have taken them, on the CPU."""
    return torch.stack([_photographed(*each) for each in zip(pictures, _rows(camera), strict=True)])


def _rows(camera: Camera) -> list[Camera]:
    return [camera[row : row + 1] for row in range(len(camera))]


def _photographed(picture: Tensor, camera: Camera) -> Tensor:
    """(3, n, n) by a camera of one row."""
    light = picture**LINEAR * (camera.exposure * camera.balance)[0, :, None, None]
    light = light / (1 + 0.15 * light) * 1.15  # highlights roll off
    image = light.permute(1, 2, 0).contiguous().numpy()
    if camera.blur > 0:
        image = cv2.GaussianBlur(image, (0, 0), float(camera.blur) * len(image) / 128)
    image = image.clip(0, 1) ** (1 / LINEAR)
    if camera.noise > 0:
        noise = np.random.default_rng(int(camera.seed)).standard_normal(image.shape, np.float32)
        image = image + float(camera.noise) * (1.4 - 0.8 * image) * noise
    levels = (255 * image.clip(0, 1) + 0.5).astype(np.uint8)
    if camera.quality < 100:
        _, stored = cv2.imencode(".jpg", levels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(camera.quality)])
        found = cv2.imdecode(stored, cv2.IMREAD_COLOR)
        assert found is not None  # it was just made
        levels = np.ascontiguousarray(found[..., ::-1], np.uint8)
    return torch.from_numpy(levels / np.float32(255)).permute(2, 0, 1)
