"""A model in all protocols, beside what it must do better than, and what it makes of true keypoints."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from fv2v.metrics.protocols import Answers, Performer, Scene, Shown, true_reading, unchanged
from fv2v.metrics.scores import Comparison, Judges, Likeness, MotionError, MotionErrors, Protocols, Scores
from fv2v.reenactor import Reenactor


@dataclass(frozen=True, slots=True)
class Results:
    """All numbers of an evaluation."""

    model: Protocols
    true_keypoints: Protocols | None  # only where the model's keypoints can be the scenes' landmarks
    unchanged: Protocols
    mean_frame: Likeness  # same identity: the mean of the clip's frames in place of each
    other_frame: Likeness  # same identity: what the model shows of a frame half a clip away
    motion: MotionError | None  # as true_keypoints
    seconds_per_frame: float  # driving frame to picture: medians of H with Δ and of M with G, in batches


@dataclass(frozen=True, slots=True)
class Example:
    """What a contact sheet shows of a scene."""

    source: Tensor  # (1, 3, n, n)
    driver: Tensor | None
    answers: Answers
    shown: Shown


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What comes of `evaluate`."""

    scenes: int  # that there were
    results: Results
    examples: list[Example]


def evaluate(
    reenactor: Reenactor,
    scenes: Iterable[Scene],
    *,
    judges: Judges | None = None,
    batch_size: int = 1,
    examples: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Show and score every scene; none is kept but the first `examples`.

    Args:
        reenactor: the model, float32 for numbers to be reported.
        scenes: drawn heads (heads.py), or clips (clips.py), of `config.output_size` pixels.
        judges: networks that judge pictures beside formulas.
        batch_size: frames that go through the networks together.
        progress: called after each scene, with the number of them so far.

    Raises:
        ValueError: a model that no pictures drive, or that shows NaN; no scenes, or pictures of another size.
    """
    judges = judges or Judges()
    performer = Performer(reenactor, batch_size)
    model, control, still = (Scores(judges) for _ in range(3))
    mean_frame, other_frame = Comparison(judges), Comparison(judges)
    config = reenactor.config
    errors = MotionErrors(config.image_size // config.volume_stride)
    kept: list[Example] = []
    done = told = 0
    for done, scene in enumerate(scenes, start=1):
        source = scene.frames[:1]
        _check_size(source, config.output_size)
        read = performer.read(scene)
        shown = performer.show(read)
        model.add(shown, scene.answers, scene.frames)
        still.add(unchanged(source, shown), scene.answers, scene.frames)
        driven, true_driven = shown.driven, scene.answers.driven
        mean = scene.frames.mean(0, keepdim=True).expand_as(driven)
        mean_frame.add(mean, true_driven, scene.frames)
        other_frame.add(driven.roll(len(driven) // 2, 0), true_driven, scene.frames)
        true = true_reading(scene, read, config)
        if true is not None:
            told += 1
            errors.add(read, true)
            control.add(performer.show(true), scene.answers, scene.frames)
        if len(kept) < examples:
            kept.append(Example(source, scene.driver, scene.answers, shown))
        if progress is not None:
            progress(done)
    if not done:
        raise ValueError("expected scenes to evaluate, got none")
    base = still.protocols()
    results = Results(
        model=model.protocols().against(base),
        true_keypoints=control.protocols().against(base) if told else None,
        unchanged=base.against(base),
        mean_frame=mean_frame.likeness().against(base.same_identity),
        other_frame=other_frame.likeness().against(base.same_identity),
        motion=errors.mean() if told else None,
        seconds_per_frame=performer.seconds,
    )
    return Evaluation(done, results, kept)


def _check_size(source: Tensor, size: int) -> None:
    if source.shape[1:] != (3, size, size):
        raise ValueError(
            f"expected frames (T, 3, {size}, {size}), as large as what the model paints; got a source of "
            f"{tuple(source.shape)}"
        )
