# SPDX-License-Identifier: Apache-2.0
"""Files as people have them, beside the clean ones of clips.py: odd bytes, odd colours, damage."""

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace

TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


ENCODERS = {  # and what is particular: suffix, pixel format, options
    "libx264": (".mp4", "yuv420p", {"x264-params": "open-gop=1:keyint=10:bframes=3"}),
    "libx264 intra refresh": (".mp4", "yuv420p", {"x264-params": "intra-refresh=1:keyint=10"}),
    "libx264 interlaced": (".ts", "yuv420p", {"x264-params": "tff=1:keyint=10"}),
    "libx264 slices": (".mkv", "yuv420p", {"x264-params": "slices=4"}),
    "libx265": (".mp4", "yuv420p10le", {"x265-params": "open-gop=1:keyint=10:log-level=none"}),
    "libvpx": (".webm", "yuv420p", {}),
    "libvpx-vp9": (".webm", "yuv420p", {}),
    "libsvtav1": (".mkv", "yuv420p", {"preset": "12"}),
    "mpeg4": (".mkv", "yuv420p", {}),
    "mpeg2video": (".mkv", "yuv420p", {}),
    "mpeg1video": (".mkv", "yuv420p", {}),
    "mjpeg": (".mov", "yuvj420p", {}),
    "prores_ks": (".mov", "yuv422p10le", {}),
    "ffv1": (".mkv", "yuv420p", {}),
    "flv": (".flv", "yuv420p", {}),
    "wmv2": (".asf", "yuv420p", {}),
}


def with_fill_bytes(jpeg: bytes, count: int, marker: bytes = b"\xff\xdb") -> bytes:
    """A JPEG with fill bytes before a marker."""
    at = jpeg.index(marker)
    return jpeg[:at] + b"\xff" * count + jpeg[at:]


def tiff_with_orientation(orientation: int, little_endian: bool = False) -> bytes:
    """What EXIF holds: an orientation and nothing else."""
    order, mark = ("<", b"II*\0") if little_endian else (">", b"MM\0*")
    return mark + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def png_with_exif(png: bytes, tiff: bytes) -> bytes:
    chunk = b"eXIf" + tiff
    chunk = struct.pack(">I", len(tiff)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    end = 8 + 25  # the signature and IHDR
    return png[:end] + chunk + png[end:]


def webp_with_exif(webp: bytes, exif: bytes, size: tuple[int, int], *, transparent: bool) -> bytes:
    """A simple WebP of `size` (H, W) made an extended one that holds EXIF."""
    H, W = size
    body = webp[12:]
    if body.startswith(b"VP8X"):
        body = body[18:]
    head = bytes([0x08 | (0x10 if transparent else 0), 0, 0, 0])
    head += (W - 1).to_bytes(3, "little") + (H - 1).to_bytes(3, "little")
    exif += b"\0" * (len(exif) % 2)
    chunks = b"VP8X" + struct.pack("<I", 10) + head + body + b"EXIF" + struct.pack("<I", len(exif)) + exif
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def with_unknown_sound(mp4: bytes) -> bytes:
    """An MP4 whose first AAC track is said to be of a codec that does not exist."""
    at = mp4.index(b"mp4a")
    esds = mp4.index(b"esds", at)
    return mp4[:at] + b"zzqq" + mp4[at + 4 : esds] + b"free" + mp4[esds + 4 :]


def damaged_at(whole: Path, target: Path, frame: int) -> Path:
    """The clip with the middle of one of its packets inverted: the `frame`-th in the order of decoding."""
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][frame]
    for at in range(packet.pos + packet.size // 2, packet.pos + packet.size // 2 + 8):
        data[at] ^= 0xFF
    target.write_bytes(data)
    return target


def flip_bits(path: Path, flips: int, rng: np.random.Generator, frames: int | None = None) -> bytes:
    """The file with so many bits flipped in the data of its pictures, of the first `frames` or of all."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][:frames]
    for _ in range(flips):
        start, size = packets[rng.integers(len(packets))]
        data[start + rng.integers(min(size - 1, 5), size)] ^= 1 << rng.integers(8)
    return bytes(data)


def encoded(stem: Path, images: np.ndarray, name: str) -> Path:
    """(T, H, W, 3) at 25 frames a second by one of `ENCODERS`; the file's name gets its suffix."""
    suffix, pix_fmt, options = ENCODERS[name]
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 looks once in a process: later tests expect silence
    path = stem.with_name(stem.name + suffix)
    with av.open(str(path), "w") as output:
        video = output.add_stream(name.split()[0], rate=25, options=options)
        video.height, video.width, video.pix_fmt = *images.shape[1:3], pix_fmt
        for image in images:
            output.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(video.encode(None))
    return path


def write_hdr(path: Path, images: Sequence[np.ndarray], curve: str, white: float = 203.0) -> Path:
    """The film in BT.2020 and 10 bit, its white at so many candela a square metre. curve: "pq" or "hlg"."""
    number, name = {"pq": (16, "smpte2084"), "hlg": (18, "arib-std-b67")}[curve]
    tags = f"colorprim=bt2020:transfer={name}:colormatrix=bt2020nc:range=limited:log-level=none"
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx265", rate=30, options={"x265-params": tags, "crf": "14"})
        video.height, video.width = images[0].shape[:2]
        video.pix_fmt = "yuv420p10le"
        context = video.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, number, 9, 1
        for image in images:
            light = np.power(image / 255.0, 2.4) @ TO_BT2020.T * white
            output.mux(video.encode(_ten_bit(_signal(light, curve))))
        output.mux(video.encode(None))
    return path


def _signal(light: np.ndarray, curve: str) -> np.ndarray:
    """(H, W, 3) candela a square metre -> R'G'B' from 0 to 1: ITU-R BT.2100."""
    if curve == "pq":
        power = np.power(np.clip(light / 10_000, 0, 1), 0.1593017578125)
        return np.power((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power), 78.84375)
    light = light / 1000
    luminance = np.maximum(light @ np.array([0.2627, 0.6780, 0.0593]), 1e-9)
    scene = np.clip(light * np.power(luminance, 1 / 1.2 - 1)[..., None], 0, 1)
    beyond = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), beyond)


def _ten_bit(signal: np.ndarray) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(np.rint(signal * 65535).astype(np.uint16), format="rgb48le")
    return rgb.reformat(format="yuv420p10le", dst_colorspace=Colorspace.BT2020, dst_color_range="MPEG")


def write_colours(
    path: Path, colours: Sequence[Sequence[int]], size: tuple[int, int], matrix: Colorspace
) -> Path:
    """A film of upright bars, its Y'CbCr made by `matrix`, which no tag states."""
    H, W = size
    bars = np.repeat(np.array(colours, np.uint8), W // len(colours), axis=0)[None].repeat(H, axis=0)
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=30, options={"crf": "4"})
        video.height, video.width, video.pix_fmt = H, bars.shape[1], "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(bars), format="rgb24")
        output.mux(video.encode(frame.reformat(format="yuv420p", dst_colorspace=matrix)))
        output.mux(video.encode(None))
    return path
