# SPDX-License-Identifier: Apache-2.0
"""`fv2v train`."""

from typing import Annotated

import typer

from fv2v.cli.options import Device


def train(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG",
            help="A TOML file, or the name of one that ships: paper-256, paper-512, overfit.",
            show_default=False,
        ),
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="NAME=VALUE",
            help="Replaces a value of CONFIG, as data=FOLDER, losses.gan=0 or model.image_size=128; may be "
            "given more than once.",
        ),
    ] = None,
    device: Device = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Start over where no checkpoint in the output folder can be read, which is an error without "
            "it. What is there goes into a folder in it.",
        ),
    ] = False,
) -> None:
    """Train a model from videos, or resume the run in its output folder where it stopped.

    Fine-tuning is the same: --set weights=PATH starts from a release's weights, or from our .safetensors.
    On several GPUs: torchrun --nproc-per-node 8 --no-python fv2v train CONFIG.
    """
    from fv2v.training import check_installed

    check_installed()
    from fv2v.cli.progress import step_progress
    from fv2v.training.config import read_config
    from fv2v.training.distributed import process_group
    from fv2v.training.trainer import MODEL, Trainer

    run = read_config(config, assignments or ())
    with process_group(device) as world:
        trainer = Trainer(run, world, fresh=fresh)
        if not world.first:
            trainer.run()
            return
        for note in trainer.notes:
            typer.echo(note, err=True)
        with step_progress(run.log_every) as progress:
            trainer.run(progress)
        rest = "" if trainer.step >= trainer.steps else "; the same command resumes it"
        typer.echo(f"{run.output / MODEL}: {trainer.step} of {trainer.steps} steps{rest}")
