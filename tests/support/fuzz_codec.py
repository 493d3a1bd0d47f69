# SPDX-License-Identifier: Apache-2.0
"""Feeds bytes to the decoder, the `.fv2v` reader and the readers of messages:
`python fuzz_codec.py EXTENT FOLDER`: libFuzzer's -runs=N or -max_total_time=SECONDS, and an empty folder for
the seeds, which whoever made it removes: libFuzzer ends its process at once.

Coverage guides atheris. Anything but a CodecError ends it with a traceback.
"""

import io
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fv2v.codec"]):
    from codec_cases import one_by_one, talking

    import fv2v
    from fv2v.codec import CodecError, MotionDecoder, MotionEncoder
    from fv2v.codec.file import Recording, encoded, parse
    from fv2v.codec.gfv import GfvReader, GfvWriter, gfv_of
    from fv2v.codec.h265 import messages_of

CONFIG = fv2v.preset("vox-256")


def seeds() -> list[bytes]:
    """One input for each target, which is chosen by its first byte."""
    motion = list(one_by_one(talking(CONFIG, 4)))
    encoder, writer = MotionEncoder(CONFIG, redundancy=2), GfvWriter()
    packets = [encoder.encode(each) for each in motion]
    recording = Recording("vox-256", 15, fv2v.Timing.even(4, 25), b"\xff\xd8\xff", packets, b"sound")
    messages = [writer.write(gfv_of(each, number)) for number, each in enumerate(motion)]
    return [
        *(b"\0" + packet for packet in packets),
        b"\1" + b"".join(encoded(recording)),
        *(b"\2" + message for message in messages),
    ]


FIRST = MotionEncoder(CONFIG).encode(next(iter(one_by_one(talking(CONFIG, 1)))))


def run(data: bytes) -> None:
    target, data = (data[0] % 4, data[1:]) if data else (0, b"")
    try:
        if target == 0:
            decoder = MotionDecoder(CONFIG)
            decoder.decode(FIRST)
            decoder.decode(data)
        elif target == 1:
            parse(io.BytesIO(data))
        elif target == 2:
            GfvReader().read(data)
            GfvReader().read_enhancement(data)
        else:
            list(messages_of(data))
    except CodecError:
        pass


if __name__ == "__main__":
    _, extent, folder = sys.argv
    for number, seed in enumerate(seeds()):
        Path(folder, str(number)).write_bytes(seed)
    limits = ["-max_len=4096", "-rss_limit_mb=2048"]
    seed = ["-seed=1"] if extent.startswith("-runs") else []  # a search is another every time
    atheris.Setup([sys.argv[0], *limits, extent, *seed, folder], run)
    atheris.Fuzz()
