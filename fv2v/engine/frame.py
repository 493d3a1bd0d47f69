# SPDX-License-Identifier: Apache-2.0
"""One driving frame as a function of tensors: what is exported."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypedDict

from torch import Tensor, nn

from fv2v.config import ModelConfig
from fv2v.geometry import POSED, Motion, Source
from fv2v.geometry.hull import check_adapt_scale
from fv2v.geometry.view import ViewTensors, check_has_pose
from fv2v.networks import FaceVid2Vid

MOTION = (*POSED, "jacobians")
SOURCE = ("features", "compressed", "canonical", "jacobians", *POSED, "keypoints")
DETAIL = "source_detail_"
VIEWS = {  # the inputs of each form of view
    None: (),
    "compose": ("view_degrees", "view_translation"),
    "replace": ("view_degrees", "view_translation", "view_keeps"),
}


class FrameKeywords(TypedDict, total=False):
    """The fields of `FrameKind` that a user chooses, as keyword arguments."""

    relative: bool | None
    stitch: bool
    adapt_scale: bool
    view: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameKind:
    """What is the same for all frames of one exported file.

    Args:
        extract: look at driving frames; else take the motion that H and Δ read in them.
        relative: move by the change since the anchor, or take the driver's own pose; None does what the
            preset's release does.
        stitch: let the preset's network, where there is one, fit the head to its picture.
        adapt_scale: scale the movement; relative, with `keypoint` transfer. The factor is an input.
        view: which form of view there will be: None, "compose", or "replace", which takes every view.
    """

    extract: bool = True
    relative: bool | None = None
    stitch: bool = True
    adapt_scale: bool = False
    view: str | None = None

    def check(self, config: ModelConfig) -> "FrameKind":
        """The same kind, with `relative` as the preset has it where it was left out.

        Raises:
            ValueError: what does not fit the preset; it says why.
        """
        relative = config.geometry.relative if self.relative is None else self.relative
        if self.adapt_scale:
            check_adapt_scale(config.geometry, relative, config.name)
        if self.view not in VIEWS:
            raise ValueError(f"expected a view, 'compose' or 'replace', or None; got {self.view!r}")
        if self.view is not None:
            check_has_pose(config, "a view")
        return replace(self, relative=relative)


class FrameNetwork(nn.Module):
    """H and Δ on driving frames, `place`, M and G: tensors in, pictures out, and nothing else.

    What is chosen once is chosen here; what changes from frame to frame or from source to source is an input.
    No number leaves the device or comes from the host, and no branch depends on one.

    Inputs, in this order, B frames of them or one for all where it says (B or 1); those in brackets only with
    the option that needs them. `inputs` lists the names that there are.

        [driving            (B, 3, n, n) in [0, 1], n = `config.image_size`; where coefficients drive, windows
                            of them, (B, `head.inputs`, `head.window`)]
        [motion_rotation, motion_translation, motion_expression, motion_scale, [motion_jacobians]
                            of B frames              not `extract`: what a sender transmitted, in place of it;
                                                     Jacobians of presets without H]
        source_features     (B or 1, C, D, H, W)     what `encode` says of the portrait, as in `Source`: these
        source_compressed   (B or 1, C', D, H, W)    two and driving in the networks' dtype, others float32
        source_canonical    (B or 1, K, 3)           (float64 beside float64)
        [source_jacobians   (B or 1, K, 3, 3)        presets with Jacobians: J_c, or without H J_s]
        source_rotation     (B or 1, 3, 3)           the portrait's own motion, as in `Motion`
        source_translation  (B or 1, 3)
        source_expression   (B or 1, K, 3)
        source_scale        (B or 1, 1), or 3 where each axis has its own
        source_keypoints    (B or 1, K, 3)
        [source_detail_0 …  (B or 1, d, m, m)        models with detail: finest first, in the networks' dtype]
        [anchor_rotation, anchor_translation, anchor_expression, anchor_scale, [anchor_jacobians]
                            as the source's          relative: the motion that counts as no change]
        [movement           (B or 1, 1, 1)           adapt_scale: the factor of `movement_scale` (hull.py)]
        [view_degrees       (B or 1, 3)              a view: pitch, yaw, roll
        view_translation    (B or 1, 3)]
        [view_keeps         (B or 1, 5) bool         view "replace": as in `ViewTensors`]

    Output: (B, 3, m, m) in [0, 1], m = `config.output_size`, in the networks' dtype.

    Args:
        model: trained, or arranged for inference.
        kind: what is chosen once. ValueError where it does not fit the model's preset.
    """

    def __init__(self, model: FaceVid2Vid, kind: FrameKind) -> None:
        super().__init__()
        self.model = model
        self.kind = kind = kind.check(model.config)
        config = model.config
        motion = MOTION if config.direct and config.jacobian else POSED
        self.inputs = (
            *(("driving",) if kind.extract else (f"motion_{name}" for name in motion)),
            *(f"source_{name}" for name in SOURCE if name != "jacobians" or config.jacobian),
            *detail_names(len(config.detail_sizes)),
            *(f"anchor_{name}" for name in motion if kind.relative),
            *(("movement",) if kind.adapt_scale else ()),
            *VIEWS[kind.view],
        )

    def forward(self, *inputs: Tensor) -> Tensor:
        """The tensors of `inputs`, in its order."""
        given = dict(zip(self.inputs, inputs, strict=True))
        own, jacobians = _motion("source", given), None
        if not self.model.config.direct:  # they are canonical
            own, jacobians = replace(own, jacobians=None), own.jacobians
        source = Source(
            features=given["source_features"],
            compressed=given["source_compressed"],
            canonical=given["source_canonical"],
            jacobians=jacobians,
            motion=own,
            keypoints=given["source_keypoints"],
            detail=tuple(given[name] for name in self.inputs if name.startswith(DETAIL)),
        )
        kind, view = self.kind, None
        if kind.view is not None:
            view = ViewTensors(given["view_degrees"], given["view_translation"], given.get("view_keeps"))
        placement = self.model.place(
            source,
            self.model.extract(given["driving"]) if kind.extract else _motion("motion", given),
            _motion("anchor", given) if kind.relative else None,
            view,
            movement=given.get("movement", 1.0),
            stitch=kind.stitch,
        )
        return self.model.render(source, placement)

    def arguments(
        self,
        driving: Tensor | Motion,
        source: Source,
        anchor: Motion | None = None,
        movement: Tensor | None = None,
        view: ViewTensors | None = None,
    ) -> tuple[Tensor, ...]:
        """What `forward` takes, from what the rest of the package has.

        Raises:
            ValueError: something that the options need is missing; it names which.
        """
        given: dict[str, Tensor | None] = {"movement": movement}
        if isinstance(driving, Motion):
            given |= {f"motion_{name}": getattr(driving, name) for name in MOTION}
        else:
            given["driving"] = driving
        given |= source_inputs(source)
        given |= {f"anchor_{name}": getattr(anchor, name, None) for name in MOTION}
        given |= {f"view_{name}": getattr(view, name, None) for name in ViewTensors._fields}
        found = {name: given.get(name) for name in self.inputs}
        missing = [name for name, tensor in found.items() if tensor is None]
        if missing:
            raise ValueError(f"expected all inputs of the frame, got none for {', '.join(missing)}")
        return tuple(tensor for tensor in found.values() if tensor is not None)


def detail_names(count: int) -> list[str]:
    """The inputs of `Source.detail`."""
    return [f"{DETAIL}{i}" for i in range(count)]


def _motion(whose: str, given: Mapping[str, Tensor]) -> Motion:
    found = {name: given.get(f"{whose}_{name}") for name in MOTION}
    return Motion(**{name: tensor for name, tensor in found.items() if tensor is not None})


def source_inputs(source: Source) -> dict[str, Tensor | None]:
    """What `FrameNetwork` takes of a portrait, by name; None for what its preset has not."""
    given = {f"source_{name}": getattr(source.motion if name in MOTION else source, name) for name in SOURCE}
    if source.jacobians is not None:
        given["source_jacobians"] = source.jacobians
    return given | dict(zip(detail_names(len(source.detail)), source.detail, strict=True))
