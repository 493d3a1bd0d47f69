# SPDX-License-Identifier: Apache-2.0
"""What the first bytes of a file tell: whether it has lost its end, and which kind of picture it is.

Decoders show what is left of a truncated file without an error.
"""

from pathlib import Path

from fv2v.io.limits import ENTRIES

MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
MP4_CONTENTS = (b"moov", b"mdat", b"moof")  # of what a film is made: the rest may be missing
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")  # ISO/IEC 23008-12, single pictures
SEQUENCE_BRANDS = (b"msf1", b"hevc", b"hevx", b"avis")  # films, in the same container


def check_not_truncated(path: Path) -> None:
    """Raises ValueError if a JPEG, PNG, MP4, QuickTime, Matroska or WebM file has lost its end.

    Other formats pass: they do not state their length.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith((b"\xff\xd8", b"\x89PNG")):
        data = path.read_bytes()
        if not (_jpeg_ends(data) if head.startswith(b"\xff\xd8") else _png_ends(data)):
            raise ValueError(f"{path}: truncated: the picture has no end marker after {len(data)} bytes")
        return
    stated = 0
    if head[4:8] in MP4_BOXES:
        stated = _mp4_size(path)
    elif head.startswith(b"\x1aE\xdf\xa3"):
        stated = _matroska_size(head)
    actual = path.stat().st_size
    if stated > actual:
        raise ValueError(f"{path}: truncated: the file should have {stated} bytes, it has {actual}")


def check_riff(path: Path) -> None:
    """Raises ValueError if the words about a WAV or AVI file (a list of INFO) would reach beyond its end.

    FFmpeg fills as much memory as one of them states, up to 4 GB, before it reads it.
    """
    actual, at = path.stat().st_size, 12
    with path.open("rb") as file:
        kind = file.read(4)
        if kind not in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
            return
        for _ in range(ENTRIES):
            file.seek(at)
            head = file.read(12)
            length = int.from_bytes(head[4:8], "big" if kind == b"RIFX" else "little")
            listed = head[8:12] if head[:4] == b"LIST" else b""
            if listed == b"INFO" and at + 8 + length > actual:
                raise ValueError(
                    f"{path}: damaged: {length} bytes of words about it from byte {at} on, of {actual} bytes"
                )
            entered = listed not in (b"", b"INFO", b"movi")
            at += 12 if entered else 8 + length + length % 2
            if len(head) < 8 or at > actual:
                return


def picture_format(path: Path) -> str | None:
    """The name of a picture's format, of those that decoders may not know; None: another file."""
    with path.open("rb") as file:
        head = file.read(64)
    if head[4:8] == b"ftyp":
        # the first brand may be a general one: then those after the version tell
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(len(head), _length(head)), 4))]
        if any(brand in SEQUENCE_BRANDS for brand in brands):
            return None
        if b"avif" in brands:
            return "AVIF"
        return "HEIC" if any(brand in HEIC_BRANDS for brand in brands) else None
    if head[:2] == b"\xff\x0a" or head[4:12] == b"JXL \r\n\x87\n":
        return "JPEG XL"
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20] & 2:
        return "animated WebP"
    return None


def _png_ends(data: bytes) -> bool:
    """Whether whole chunks follow each other up to the last: ISO/IEC 15948, 5.3."""
    at = 8
    while at + 12 <= len(data):
        name = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if name == b"IEND":
            return at <= len(data)
    return False


def _jpeg_ends(data: bytes) -> bool:
    """Whether an end marker follows the first scan; before that, a thumbnail may have one of its own."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        if data[at + 1] == 0xFF:  # a fill byte: any number may precede a marker (ITU-T T.81, B.1.1.2)
            at += 1
        elif data[at + 1] == 0xDA:  # start of scan, in which no marker occurs by chance
            return b"\xff\xd9" in data[at:]
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _mp4_size(path: Path) -> int:
    """Where the last box ends of those that hold the film: ISO/IEC 14496-12, 4.2.

    What follows them may be anything: players do not mind, and so some makers append data of their own.
    """
    actual, at, end = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        while at < actual:
            file.seek(at)
            head = file.read(16)
            length = _length(head)
            if length < 8:  # 0: up to the end of the file
                return end
            at += length
            if head[4:8] in MP4_CONTENTS:
                end = at
    return end


def _length(head: bytes) -> int:
    """Of an MP4 box, by its first 16 bytes."""
    length = int.from_bytes(head[:4], "big")
    return int.from_bytes(head[8:16], "big") if length == 1 else length


def _matroska_size(head: bytes) -> int:
    """Where the segment ends: RFC 8794, 4 to 6. 0 where a live recording does not state it."""
    length, at = _vint(head, 4)
    at += length
    if head[at : at + 4] != b"\x18\x53\x80\x67":
        return 0
    length, at = _vint(head, at + 4)
    return at + length if length else 0


def _vint(data: bytes, at: int) -> tuple[int, int]:
    """EBML's variable-size integer and the position after it; 0 for "unknown", which is all ones."""
    width = 9 - data[at].bit_length() if at < len(data) else 0
    if not 0 < width < 9 or at + width > len(data):
        raise ValueError("a header cut short or damaged")
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return (0 if value == (1 << 7 * width) - 1 else value), at + width
