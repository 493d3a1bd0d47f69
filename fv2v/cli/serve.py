# SPDX-License-Identifier: Apache-2.0
"""`fv2v serve`."""

from typing import TYPE_CHECKING, Annotated

import typer

from fv2v.cli.notes import tell_waiting
from fv2v.cli.options import ModelOptions

if TYPE_CHECKING:  # torch takes seconds to import, and `--help` should not
    from fv2v.reenactor import Reenactor

Host = Annotated[
    str,
    typer.Option(help="The address to listen on. All others than 127.0.0.1 let other machines in."),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")]
Sessions = Annotated[int, typer.Option(min=1, max=64, help="How many pages may be live at the same time.")]


def serve(
    model: ModelOptions,
    host: Host = "127.0.0.1",
    port: Port = 0,
    sessions: Sessions = 4,
) -> None:
    """Serve a page on which you move a portrait with your camera, or with a video. Prints its address.

    Nothing leaves this machine: the page talks to this command alone. Ctrl-C ends it.
    """
    from fv2v.extras import check_extra

    check_extra("fv2v serve", ["aiohttp", "aiortc"], "live")
    import asyncio

    from fv2v.pipelines.model import ModelChoice

    chosen = ModelChoice(**model.reenactor_arguments())
    chosen.check()
    tell_waiting()
    asyncio.run(_serve(chosen.load(), host, port, sessions))


async def _serve(reenactor: "Reenactor", host: str, port: int, sessions: int) -> None:
    import asyncio
    import signal
    from contextlib import suppress

    from fv2v.live.page import page_app
    from fv2v.live.server import Limits, is_loopback, listening, new_secret, url

    secret = new_secret()
    if not is_loopback(host):
        typer.echo(
            f"fv2v: warning: --host {host} lets other machines reach this page, over HTTP that others can "
            "read; browsers give a camera to pages of 127.0.0.1 and of HTTPS alone",
            err=True,
        )
    async with (
        page_app(reenactor, secret, host, Limits(sessions=sessions)) as app,
        listening(app, host, port) as taken,
    ):
        typer.echo(url(secret, host, taken))
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # on Windows
                asyncio.get_running_loop().add_signal_handler(number, ended.set)
        await ended.wait()
