# SPDX-License-Identifier: Apache-2.0
"""A model in all protocols, beside two controls: the unchanged source, and true keypoints."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from fv2v.metrics.pictures import l1, psnr
from fv2v.metrics.protocols import (
    Outputs,
    ProtocolRunner,
    Scene,
    Times,
    TruePictures,
    true_reading,
    unchanged,
)
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


class Tally:
    """What is known of some scenes; it can be sent to another process.

    Args:
        networks: for the metrics that need them.
        voxels: side of the model's volume.
    """

    def __init__(self, networks: MetricNetworks, voxels: int) -> None:
        self.model, self.control, self.still = (Scores(networks) for _ in range(3))
        self.mean_frame, self.other_frame = Comparison(networks), Comparison(networks)
        self.errors, self.times = MotionErrors(voxels), Times()
        self.people: list[PersonScore] = []
        self.examples: list[Example] = []
        self.with_truth = 0

    def join(self, other: "Tally") -> None:
        """Add the scenes of another one."""
        for name, mine in vars(self).items():
            if isinstance(mine, Scores | Comparison | MotionErrors | Times):
                mine.join(getattr(other, name))
        self.people += other.people
        self.examples += other.examples
        self.with_truth += other.with_truth

    def evaluation(self) -> Evaluation:
        """The numbers of all scenes."""
        base = self.still.protocols()
        results = Results(
            model=self.model.protocols().against(base),
            true_keypoints=self.control.protocols().against(base) if self.with_truth else None,
            unchanged=base.against(base),
            mean_frame=self.mean_frame.likeness().against(base.same_identity),
            other_frame=self.other_frame.likeness().against(base.same_identity),
            motion=self.errors.mean() if self.with_truth else None,
            seconds_per_frame=self.times.median,
        )
        return Evaluation(results, self.people, self.examples)


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
    tallies = (
        tally_of(reenactor, scene, networks, batch_size, number < examples)
        for number, scene in enumerate(scenes)
    )
    return gathered(tallies, progress)


def tally_of(
    reenactor: Reenactor, scene: Scene, networks: MetricNetworks, batch_size: int, kept: bool
) -> Tally:
    """Run and score a scene; `kept`: with its pictures. Arguments and errors as `evaluate`'s."""
    config, runner = reenactor.config, ProtocolRunner(reenactor, batch_size)
    tally = Tally(networks, config.image_size // config.volume_stride)
    source = scene.frames[:1]
    _check_size(source, config.output_size)
    read = runner.read(scene)
    outputs = runner.run(read)
    tally.model.add(outputs, scene.true, scene.frames)
    tally.still.add(unchanged(source, outputs), scene.true, scene.frames)
    driven, true_driven = outputs.driven, scene.true.driven
    tally.people.append(_person(driven, true_driven, source))
    mean = scene.frames.mean(0, keepdim=True).expand_as(driven)
    tally.mean_frame.add(mean, true_driven, scene.frames)
    tally.other_frame.add(driven.roll(len(driven) // 2, 0), true_driven, scene.frames)
    true = true_reading(scene, read, config)
    if true is not None:
        tally.with_truth += 1
        tally.errors.add(read, true)
        tally.control.add(runner.run(true), scene.true, scene.frames)
    if kept:
        tally.examples.append(Example(source, scene.driver, scene.true, outputs))
    tally.times = runner.times
    return tally


def gathered(tallies: Iterable[Tally], progress: Callable[[int], None] | None = None) -> Evaluation:
    """The numbers of all scenes, joined in their order. ValueError for none."""
    total: Tally | None = None
    for done, tally in enumerate(tallies, start=1):
        if total is None:
            total = tally
        else:
            total.join(tally)
        if progress is not None:
            progress(done)
    if total is None:
        raise ValueError("expected scenes to evaluate, got none")
    return total.evaluation()


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
