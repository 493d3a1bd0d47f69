# SPDX-License-Identifier: Apache-2.0
"""`fv2v call`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fv2v.cli.notes import tell_waiting
from fv2v.cli.options import (
    Detector,
    DrivingFace,
    Face,
    ModelOptions,
    Relative,
    ViewOptions,
    chosen_face,
)
from fv2v.cli.output_options import free_name
from fv2v.cli.printable import printable

if TYPE_CHECKING:
    from aiortc import RTCIceServer

    from fv2v.live.call.link import Link
    from fv2v.live.call.run import Place
    from fv2v.live.call.sound import SoundSource

PACKAGES = ("aiortc", "aiohttp")
WARNING = (
    "listening at {host}: other machines can try to call; only who has the link can join. Pictures, motion "
    "and sound are encrypted between the two sides"
)

LinkArgument = Annotated[
    str | None,
    typer.Argument(metavar="LINK", help="Whom to call: what --listen printed there.", show_default=False),
]
Portrait = Annotated[
    Path | None,
    typer.Option(
        "--portrait",
        metavar="FILE",
        help="Picture with the face that the other side sees; by default a drawn one.",
        show_default=False,
    ),
]
Listen = Annotated[bool, typer.Option("--listen", help="Wait for a call, and print the link to it.")]
Host = Annotated[
    str,
    typer.Option(
        help="With --listen: this machine's address by which the other reaches it; 0.0.0.0 takes all. By "
        "default calls come from this machine alone."
    ),
]
Port = Annotated[int, typer.Option(help="With --listen: where; 0 takes a free one.")]
Driving = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|FILE",
        help="What moves the portrait: a camera's number, as 0; or a film, over and over.",
        show_default=False,
    ),
]
Sound = Annotated[
    str,
    typer.Option(metavar="FILE|tone|none", help="What the other side hears."),
]
Page = Annotated[
    bool,
    typer.Option(
        "--page",
        help="Print the address of a page on this machine, for your camera and microphone, where you see and "
        "hear the other side.",
    ),
]
Crop = Annotated[
    bool,
    typer.Option(
        "--crop/--no-crop",
        help="Find the face, cut a steady square around it. --no-crop takes the middle square as it is, "
        "for pictures and videos that are face crops already.",
    ),
]
Seconds = Annotated[float | None, typer.Option(help="Hang up after so many seconds.", show_default=False)]
Stun = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HOST[:PORT]",
        help="A STUN server, which tells this machine its address outside. None is asked by default.",
        show_default=False,
    ),
]
Turn = Annotated[
    list[str] | None,
    typer.Option(
        metavar="USER:PASSWORD@HOST[:PORT]",
        help="A TURN server, through which all goes where the two reach each other in no other way.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Records:
    """What is kept of a call."""

    show: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A film of what is seen, as .mp4.", show_default=False),
    ] = None
    hear: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What is heard, as .wav.", show_default=False)
    ] = None
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON, a line a second: bytes a second by part, payload and on the wire; latency; the "
            "frames shown.",
            show_default=False,
        ),
    ] = None
    keep_motion: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="This side's own motion, as .npz for `fv2v render`.", show_default=False
        ),
    ] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace such files that are there.")] = False

    def paths(self) -> list[Path | None]:
        """`show`, `hear`, `log` and `motion` of `CallOptions`."""
        given = (self.show, self.hear, self.log, self.keep_motion)
        return [None if path is None else free_name(path, self.overwrite) for path in given]


def call(
    records: Records,
    model: ModelOptions,
    view: ViewOptions,
    link: LinkArgument = None,
    portrait: Portrait = None,
    listen: Listen = False,
    host: Host = "127.0.0.1",
    port: Port = 0,
    driving: Driving = None,
    sound: Sound = "none",
    page: Page = False,
    seconds: Seconds = None,
    relative: Relative = None,
    stun: Stun = None,
    turn: Turn = None,
    crop: Crop = True,
    face: Face = "1",
    driving_face: DrivingFace = "1",
    detector: Detector = None,
) -> None:
    """Talk to somebody on another machine: the portrait goes once, then some ten bytes a frame and sound."""
    from fv2v.extras import check_extra

    check_extra("fv2v call", PACKAGES, "live")
    from fv2v.live.call.call import CallOptions
    from fv2v.live.call.run import call as run
    from fv2v.pipelines.model import ModelChoice

    show, hear, log, motion = records.paths()
    options = CallOptions(
        show=show,
        hear=hear,
        log=log,
        motion=motion,
        sound=_source(sound),
        servers=_servers(stun or [], turn or []),
        view=view.view(),
        relative=relative,
    )
    chosen = ModelChoice(**model.reenactor_arguments())
    tell_waiting()
    try:
        over = run(
            portrait,
            _place(link, listen, host, port),
            chosen,
            options,
            driving=driving,
            seconds=seconds,
            page=_show_page if page else None,
            crop=crop,
            face=chosen_face(face, detector),
            driving_face=chosen_face(driving_face, detector),
            tell=_tell,
            show_link=_show_link,
            show_lap=_show_lap,
        )
    except KeyboardInterrupt:  # how calls end
        over = "hung up"
    typer.echo(printable(over))


def _place(link: str | None, listen: bool, host: str, port: int) -> "Place":
    from fv2v.live.call.link import Link
    from fv2v.live.call.run import Place
    from fv2v.live.server import is_loopback

    if listen == (link is not None):
        raise ValueError("expected --listen, to wait for a call, or the LINK of who waits; one of the two")
    if link is not None:
        return Place(link=Link.parse(link))
    if not 0 <= port < 1 << 16:
        raise ValueError(f"expected a port from 0 to 65535, got {port}")
    if not is_loopback(host):
        typer.echo(f"fv2v: warning: {printable(WARNING.format(host=host))}", err=True)
    return Place(host=host, port=port)


def _source(sound: str) -> "SoundSource | None":
    from fv2v.live.call.sound import SoundFile, Tone

    if sound == "none":
        return None
    return Tone() if sound == "tone" else SoundFile(Path(sound))


def _servers(stun: list[str], turn: list[str]) -> list["RTCIceServer"]:
    from aiortc import RTCIceServer

    servers = [RTCIceServer(f"stun:{address}") for address in stun]
    for server in turn:
        person, at, address = server.rpartition("@")
        user, colon, password = person.partition(":")
        if not at or not colon:
            raise ValueError("--turn: expected USER:PASSWORD@HOST[:PORT]")
        servers.append(RTCIceServer(f"turn:{address}", user, password))
    return servers


def _tell(event: str) -> None:
    typer.echo(f"fv2v: {printable(event)}", err=True)


def _show_link(link: "Link") -> None:
    typer.echo(f"{link}")


def _show_page(address: str) -> None:
    typer.echo(f"your page: {address}")


def _show_lap(lap: dict[str, Any]) -> None:
    import sys

    if not sys.stderr.isatty() or not lap["connected"]:
        return
    latency = "" if lap["latency"] is None else f", {lap['latency'][0]} ms late (p95 {lap['latency'][1]})"
    sent = lap["sent"]
    typer.echo(
        f"\r\x1b[K{lap['shown']:.0f} frames/s{latency}; sent a second: motion {sent['motion']:.0f} B, sound "
        f"{sent['sound']:.0f} B, {sent['wire']:.0f} B on the wire",
        nl=False,
        err=True,
    )
