# SPDX-License-Identifier: Apache-2.0
"""What a written video holds, and which files were left beside it."""

from pathlib import Path

import av


def packets(path: Path, kind: str = "audio") -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        streams = getattr(container.streams, kind)
        return [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(streams[0]) if p.size]


def audio_codec(path: Path) -> str:
    with av.open(str(path)) as container:
        return container.streams.audio[0].codec_context.codec.canonical_name


def leftovers(folder: Path, *expected: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path not in expected]
