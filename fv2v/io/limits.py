# SPDX-License-Identifier: Apache-2.0
"""What files may ask for, and one way in which reading them fails.

Nothing that comes from a file is trusted: a few bytes can ask for gigabytes, and parsers raise nearly
anything. Readers check what a file states against these limits before they give it memory, and parse inside
`reading`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PIXELS = 1 << 26  # of a still picture: 8192 x 8192
FRAME_PIXELS = 1 << 25 | 1 << 22  # of a film's frame: 8K of every shape
TEXT = 1 << 25  # bytes of JSON and of CSV, whose values take 20 times as much memory
CONFIG = 1 << 16  # bytes of a config
LINE = 4096  # characters of a line of it
DOTS = 1 << 25  # squares of the dots in TOML's lines, all together: a name of n parts costs its parser n²
ARRAY = 1 << 28  # bytes of one array, or of all that are read of a file
PICKLE = 1 << 28  # bytes of a pickle
OPERATIONS = 8_000_000  # of a pickle: each makes an object
FRAMES = 1 << 18  # of motion, of coefficients, of given faces: more than two hours
ENTRIES = 1 << 16  # of an archive, of a file of tensors
HEADER = 1 << 24  # bytes of the JSON that a .safetensors begins with
WEIGHTS = 1 << 34  # bytes of a file of weights
TICKS = 1 << 31  # numerator and denominator of a time base: FFmpeg's are 32 bit
SHOWN = 1000  # characters of a parser's message, which may quote the file


class LimitError(ValueError):
    """A file asks for more than any sensible one."""


def check_limit(what: str, asked: int, most: int) -> None:
    """LimitError where a file asks for more than `most`; `what` has the unit: "pixels", "bytes of text"."""
    if asked > most:
        raise LimitError(f"expected at most {most} {what}, got {asked}")


def check_bytes(path: Path, most: int, what: str = "bytes") -> None:
    """LimitError where a file is larger than `most` bytes."""
    check_limit(what, path.stat().st_size, most)


@contextmanager
def reading(path: Path, otherwise: str) -> Iterator[None]:
    """Whatever goes wrong while a file is parsed is a ValueError of one line that begins with its name.

    What our own checks raise, ValueErrors, keep their words; for anything else it says `otherwise`.

    Raises:
        OSError: the disk's, as it is.
        ValueError: all others.
    """
    try:
        yield
    except ValueError as error:
        said = shown(error)
        raise ValueError(said if said.startswith(str(path)) else f"{path}: {said}") from error
    except OSError:
        raise
    except Exception as error:  # damaged and foreign bytes make parsers raise nearly anything
        raise ValueError(f"{path}: {otherwise}") from error


def shown(text: object) -> str:
    """On one line, printable and of bounded length: messages may quote a file."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line[:SHOWN])
