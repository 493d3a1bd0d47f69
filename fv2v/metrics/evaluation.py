# SPDX-License-Identifier: Apache-2.0
"""A model in all protocols, beside two controls: the unchanged source, and true keypoints."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from fv2v.metrics.pictures import l1, psnr
from fv2v.metrics.protocols import Outputs, ProtocolRunner, Scene, TruePictures, true_reading, unchanged
from fv2v.metrics.scores import (
    Comparison,
    Likeness,
    MetricNetworks,
    MotionError,
    MotionErrors,
    Protocols,
    Scores,
)
from fv2v.reenactor import Reenactor


@dataclass(frozen=True, slots=True)
class Results:
    """All numbers of an evaluation."""

    model: Protocols
    true_keypoints: Protocols | None  # where the model's keypoints can be the scenes' landmarks
    unchanged: Protocols
    mean_frame: Likeness  # same identity: the mean of the clip's frames in place of each picture
    other_frame: Likeness  # same identity: the model's picture of a frame half a clip away
    motion: MotionError | None  # as true_keypoints
    seconds_per_frame: float  # from driving frame to picture: medians of H with Δ and of M with G


@dataclass(frozen=True, slots=True)
class Example:
    """The pictures of a scene that a contact sheet shows."""

    source: Tensor  # (1, 3, n, n)
    driver: Tensor | None  # (1 + C, 3, n, n)
    true: TruePictures
    outputs: Outputs


@dataclass(frozen=True, slots=True)
class PersonScore:
    """Of one scene's pictures of the same identity: means."""

    l1: float  # of 255
    unchanged_l1: float  # of the source in their place
    psnr: float  # dB


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results of `evaluate`."""

    results: Results
    people: list[PersonScore]  # one a scene
    examples: list[Example]

    @property
    def scenes(self) -> int:
        """How many there were."""
        return len(self.people)


def evaluate(
    reenactor: Reenactor,
    scenes: Iterable[Scene],
    *,
    networks: MetricNetworks | None = None,
    batch_size: int = 1,
    examples: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run and score every scene; the pictures of the first `examples` are kept.

    Args:
        reenactor: the model, float32 for numbers to be reported.
        scenes: drawn heads (held_out.py), or clips (clips.py), of `config.output_size` pixels.
        networks: for the metrics that need them.
        batch_size: frames that go through the networks together.
        examples: how many to keep.
        progress: called after each scene, with the number of scenes so far.

    Raises:
        ValueError: a model that is not driven by pictures, or outputs NaN; no scenes, or pictures of another
            size.
    """
    networks = networks or MetricNetworks()
    runner = ProtocolRunner(reenactor, batch_size)
    model, control, still = (Scores(networks) for _ in range(3))
    mean_frame, other_frame = Comparison(networks), Comparison(networks)
    config = reenactor.config
    errors = MotionErrors(config.image_size // config.volume_stride)
    kept: list[Example] = []
    people: list[PersonScore] = []
    done = with_truth = 0
    for done, scene in enumerate(scenes, start=1):
        source = scene.frames[:1]
        _check_size(source, config.output_size)
        read = runner.read(scene)
        outputs = runner.run(read)
        model.add(outputs, scene.true, scene.frames)
        still.add(unchanged(source, outputs), scene.true, scene.frames)
        driven, true_driven = outputs.driven, scene.true.driven
        people.append(_person(driven, true_driven, source))
        mean = scene.frames.mean(0, keepdim=True).expand_as(driven)
        mean_frame.add(mean, true_driven, scene.frames)
        other_frame.add(driven.roll(len(driven) // 2, 0), true_driven, scene.frames)
        true = true_reading(scene, read, config)
        if true is not None:
            with_truth += 1
            errors.add(read, true)
            control.add(runner.run(true), scene.true, scene.frames)
        if len(kept) < examples:
            kept.append(Example(source, scene.driver, scene.true, outputs))
        if progress is not None:
            progress(done)
    if not done:
        raise ValueError("expected scenes to evaluate, got none")
    base = still.protocols()
    results = Results(
        model=model.protocols().against(base),
        true_keypoints=control.protocols().against(base) if with_truth else None,
        unchanged=base.against(base),
        mean_frame=mean_frame.likeness().against(base.same_identity),
        other_frame=other_frame.likeness().against(base.same_identity),
        motion=errors.mean() if with_truth else None,
        seconds_per_frame=runner.seconds,
    )
    return Evaluation(results, people, kept)


def _person(driven: Tensor, true: Tensor, source: Tensor) -> PersonScore:
    unchanged = l1(source.expand_as(true), true)
    return PersonScore(
        *(float(each.double().mean()) for each in (l1(driven, true), unchanged, psnr(driven, true)))
    )


def _check_size(source: Tensor, size: int) -> None:
    if source.shape[1:] != (3, size, size):
        raise ValueError(
            f"expected frames (T, 3, {size}, {size}), as large as the model's output; got a source of "
            f"{tuple(source.shape)}"
        )
