# SPDX-License-Identifier: Apache-2.0
"""The table of hostile files by hand: by reader, then by name, whose ending is the file's."""

import json
import pickle
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
from hostile_files import (
    Content,
    avif,
    bmp,
    chunk,
    doubled,
    doubled_lists,
    element,
    frame_with,
    gif,
    jpeg,
    jpeg2000,
    mat,
    matrix,
    motion,
    npy,
    npz,
    packed,
    png,
    saved,
    template,
    tensor,
    tensors,
    tiff,
    torch_zip,
    wav,
    webp,
    weights,
)

from fv2v.presets import VOX_256

HUGE = 60_000  # pixels on a side
MEGABYTE = bytes(1 << 20)

PICTURES: dict[str, Content] = {
    "wide.png": lambda: png(HUGE, HUGE),
    "wide-one-bit.png": lambda: png(HUGE, HUGE, 1, 0),
    "largest.png": lambda: png(2**31 - 1, 2**31 - 1),
    "deep.png": lambda: png(8000, 8000, 16, 6),
    "no-pixels.png": lambda: png(0, 10),
    "kind.png": lambda: png(4, 4, 3, 7),
    "short-body.png": lambda: png(64, 64),
    "header-alone.png": lambda: b"\x89PNG\r\n\x1a\n" + b"IEND\xaeB`\x82",
    "checksum.png": lambda: png(4, 4)[:-30] + b"IEND\xaeB`\x82",
    "long-chunk.png": lambda: png(4, 4)[:33] + b"\x7f\xff\xff\xffIDAT" + b"IEND\xaeB`\x82",
    "text-bomb.png": lambda: png(4, 4)[:33] + chunk(b"zTXt", b"a\0\0" + MEGABYTE) + b"IEND\xaeB`\x82",
    "wide.jpg": lambda: jpeg(65535, 65535),
    "markers.jpg": lambda: b"\xff\xd8" + b"\xff" * 100_000 + b"\xff\xd9",
    "no-scan.jpg": lambda: b"\xff\xd8\xff\xe0\0\x02\xff\xd9",
    "no-height.jpg": lambda: jpeg(16, 0),
    "zero-length.jpg": lambda: b"\xff\xd8\xff\xe0\0\0\xff\xc0\xff\xd9",
    "wide.webp": lambda: webp(1 << 24, 1 << 24),
    "lossless.webp": lambda: b"RIFF\x20\0\0\0WEBPVP8L\x10\0\0\0\x2f\xff\xff\xff\xff" + bytes(12),
    "cut.webp": lambda: b"RIFF\x20\0\0\0WEBPVP8 ",
    "animated.webp": lambda: b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\x02" + bytes(20),
    "wide.bmp": lambda: bmp(HUGE, HUGE),
    "upside-down.bmp": lambda: bmp(HUGE, -HUGE),
    "negative.bmp": lambda: bmp(-5, 5),
    "wide.gif": lambda: gif(65535, 65535),
    "cut.gif": lambda: gif(4, 4)[:12],
    "wide.tif": lambda: tiff(HUGE, HUGE),
    "wide-big-endian.tif": lambda: tiff(HUGE, HUGE, ">"),
    "endless.tif": lambda: b"II*\0\x08\0\0\0\xff\xff" + bytes(100),
    "far.tif": lambda: b"II*\0\xff\xff\xff\xff",
    "big.tif": lambda: b"II+\0\x08\0\0\0" + (1 << 62).to_bytes(8, "little"),
    "wide.jp2": lambda: jpeg2000(2**31, 2**31),
    "wide.avif": lambda: avif(HUGE, HUGE),
    "no-picture.avif": lambda: b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + bytes(64),
    "wide.ppm": lambda: b"P6 99999 99999 255\n",
    "bits.pbm": lambda: b"P4\n99999 99999\n",
    "words.ppm": lambda: b"P6 many more 255\n",
    "long-number.pgm": lambda: b"P5 " + b"9" * 5000 + b" 1 255\n",
    "wide.pfm": lambda: b"PF\n90000 90000\n-1.0\n",
    "wide.pam": lambda: b"P7\nWIDTH 90000\nHEIGHT 90000\nDEPTH 3\nMAXVAL 255\nENDHDR\n",
    "wide.hdr": lambda: b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 90000 +X 90000\n",
    "wide.sr": lambda: b"\x59\xa6\x6a\x95" + (90000).to_bytes(4, "big") * 2 + bytes(20),
    "wide.exr": lambda: (
        b"\x76\x2f\x31\x01\x02\0\0\0dataWindow\0box2i\0\x10\0\0\0" + bytes(8) + b"\xff\xff\xff\x7f" * 2
    ),
    "unknown.png": lambda: b"no picture at all" * 9,
    "four-bytes.png": lambda: b"\x1a\x45\xdf\xa3",
}

# words of 1.8 GB about a file: FFmpeg fills so much memory before it reads them
WORDS = b"LIST\x1a\0\xfe\xffINFOISFT\x0e\0\x88\x6dno more than this"

# words of 1.8 GB about a file: FFmpeg fills so much memory before it reads them
WORDS = b"LIST\x1a\0\xfe\xffINFOISFT\x0e\0\x88\x6dno more than this"

FILMS: dict[str, Content] = {
    "four-bytes.mkv": lambda: b"\x1a\x45\xdf\xa3",
    "size-of-nothing.mkv": lambda: b"\x1a\x45\xdf\xa3\x01" + bytes(20),
    "unknown-size.mkv": lambda: b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff",
    "zero-vint.mkv": lambda: b"\x1a\x45\xdf\xa3\0" + bytes(70),
    "playlist.m3u8": lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
    "remote.m3u8": lambda: b"#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/a.ts\n#EXT-X-ENDLIST\n",
    "playlist.mp4": lambda: b"#EXTM3U\n#EXTINF:1,\nfilm.mp4\n#EXT-X-ENDLIST\n",
    "list.ffconcat": lambda: b"ffconcat version 1.0\nfile /etc/passwd\n",
    "list.mp4": lambda: b"ffconcat version 1.0\nfile film.mp4\n",
    "session.sdp": lambda: (
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    ),
    "manifest.mpd": lambda: (
        b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>'
    ),
    "metadata.mp4": lambda: b";FFMETADATA1\ntitle=a\n",
    "subtitles.mp4": lambda: b"1\n00:00:01,000 --> 00:00:02,000\nwords\n\n" * 9,
    "picture%03d.png": lambda: png(4, 4),
    "boxes.mp4": lambda: b"\0\0\0\x08moov" * 10_000,
    "endless-box.mp4": lambda: b"\0\0\0\x18ftypisom\0\0\0\0isommp41\0\0\0\0moov",
    "long-box.mp4": lambda: b"\0\0\0\x18ftypisom\0\0\0\0isommp41\0\0\0\x01mdat" + b"\x7f" + b"\xff" * 7,
    "zero-box.mp4": lambda: b"\0\0\0\0moov" + bytes(64),
    "wide.gif": lambda: gif(65535, 65535),
    "wide.y4m": lambda: b"YUV4MPEG2 W60000 H60000 F25:1 C420\nFRAME\n" + bytes(100),
    "noise.mp4": lambda: np.random.default_rng(0).bytes(1 << 16),
    "noise.ts": lambda: b"G" + np.random.default_rng(0).bytes(1 << 16),
    "words.avi": lambda: b"RIFF\xff\xff\0\0AVI " + WORDS,
    "noise.avi": lambda: b"RIFF\xff\xff\xff\xffAVI LIST" + np.random.default_rng(0).bytes(1 << 12),
    "text.mp4": lambda: b"no film\n" * 99,
    "colon:.mp4": lambda: b"no film\n" * 99,
}

SOUNDS: dict[str, Content] = {
    **{f"sound-{name}": FILMS[name] for name in ("list.ffconcat", "noise.mp4", "four-bytes.mkv")},
    "sound-playlist.m3u8": FILMS["playlist.m3u8"],
    "words.wav": lambda: wav(WORDS),
    "big-endian-words.wav": lambda: wav(WORDS, ">"),
    "words-after-a-list.wav": lambda: wav(b"LIST\x0c\0\0\0adtl" + bytes(8) + WORDS),
}

FACES: dict[str, Content] = {
    "nulls.json": lambda: json.dumps([[[0.5] * 2] * 2_000, *[None] * 200_000]).encode(),
    "nested.json": lambda: b"[" * 100_000 + b"]" * 100_000,
    "nested-half.json": lambda: b"[" * 900,
    "long-number.json": lambda: b"[" + b"9" * 100_000 + b",1,2,3]",
    "large-number.json": lambda: b"[1" + b"0" * 400 + b", 1, 2, 3]",
    "infinite.json": lambda: b"[1e999, 2, 3, 4]",
    "objects.json": lambda: b'[{"a": 1}]',
    "words.json": lambda: b'["a", "b", "c", "d"]',
    "mixed.json": lambda: b"[[1, 2, 3, 4], [1, [2], 3, 4]]",
    "mixed-first.json": lambda: b"[[[1], 2, 3, 4]]",
    "true.json": lambda: b"true",
    "empty.json": lambda: b"[]",
    "empties.json": lambda: b"[" + b"[]," * 200_000 + b"[]]",
    "too-long.json": lambda: b"[" + b"1," * (1 << 24) + b"1]" + bytes(8),
    "bytes.json": lambda: b"\xff\xfe[1]",
    "zero.csv": lambda: b"1,2\0,3,4\n",
    "field.csv": lambda: b'"' + b"a" * 200_000,
    "quotes.csv": lambda: b'"1"2,3,4,5\n',
    "wide.csv": lambda: b"1," * 500_000 + b"1\n",
    "long.csv": lambda: b"1,2,3,4\n" * 300_000,
    "bytes.csv": lambda: b"\xff\xfe\x00\x01\n" * 9,
    "infinite.csv": lambda: b"inf,2,3,4\n",
    "inside-out.csv": lambda: b"5,5,1,1\n",
    "huge-numbers.csv": lambda: b"1e308,1e308,1.1e308,1.7e308\n" * 2 + b"-1e308,0,1e308,1\n",
    "asks.npy": lambda: npy("(1000000, 1000000)"),
    "asks-second.npy": lambda: npy("(1000000, 1000000)", version=2),
    "overflow.npy": lambda: npy("(4294967296, 4294967296, 4294967296)"),
    "negative.npy": lambda: npy("(-1, 4)", data=bytes(64)),
    "half.npy": lambda: npy("(1.5, 4)", data=bytes(64)),
    "words.npy": lambda: npy("('a',)"),
    "deep-header.npy": lambda: npy("(" * 3000 + ")" * 3000),
    "call-in-header.npy": lambda: npy("(__import__('os').getpid(), 4)"),
    "long-header.npy": lambda: b"\x93NUMPY\x02\0" + b"\xff\xff\xff\x7f" + b" " * 64,
    "object.npy": lambda: npy("(4,)", "'|O'", pickle.dumps([1, 2, 3, 4])),
    "record.npy": lambda: npy("(1,)", "[('a', '<f4')]", bytes(4)),
    "wide-text.npy": lambda: npy("(1,)", "'<U1000000000'"),
    "complex.npy": lambda: saved(np.zeros((2, 4), complex)),
    "version.npy": lambda: b"\x93NUMPY\x09\0" + bytes(90),
    "frames.npy": lambda: saved(np.ones((400_000, 4), np.uint8)),
    "numbers.npy": lambda: saved(np.ones((90_000, 203, 2), np.uint8)),
    "one-place.npy": lambda: saved(np.ones((2, 68, 2))),
    "bomb.npz": lambda: npz({"a": npy("(100000000, 4)", data=b"") + bytes(1 << 29)}),
    "many.npz": lambda: npz({str(i): b"" for i in range(70_000)}, zipfile.ZIP_STORED),
    "lzma.npz": lambda: npz({"a": saved(np.ones((2, 4)))}, zipfile.ZIP_LZMA),
    "lies.npz": lambda: npz({"a": npy("(100000, 4)", data=bytes(64))}),
    "directory.npz": lambda: npz({"a": saved(np.ones((2, 4)))})[:-10],
    "not-zip.npz": lambda: b"PK" + bytes(90),
}

MOTION: dict[str, Content] = {
    "time-base.npz": lambda: motion(time_base=[1, 1 << 40]),
    "time-base-large.npz": lambda: motion(time_base=[1 << 40, 1]),
    "time-base-zero.npz": lambda: motion(time_base=[1, 0]),
    "time-base-negative.npz": lambda: motion(time_base=[-1, 25]),
    "stamps.npz": lambda: motion(pts=[0, (1 << 63) - 1], time_base=[1, 1]),
    "stamps-back.npz": lambda: motion(pts=[1, 0]),
    "rate.npz": lambda: motion(rate=[1, (1 << 63) - 1]),
    "version.npz": lambda: motion(version="one"),
    "keypoints.npz": lambda: motion(keypoints=(1 << 62)),
    "none.npz": lambda: motion(rotation=None),
    "expression.npz": lambda: motion(expression=np.zeros((2, 15, 3, 1, 1), np.float32)),
    "flat.npz": lambda: motion(expression=np.float32(0)),
    "text.npz": lambda: motion(translation=np.array([["a"] * 3] * 2)),
    "not-rotation.npz": lambda: motion(rotation=np.zeros((2, 3, 3), np.float32)),
    "nan.npz": lambda: motion(translation=np.full((2, 3), np.nan, np.float32)),
    "object.npz": lambda: motion(preset=npy("()", "'|O'", pickle.dumps("a"))),
    "bomb.npz": lambda: motion(expression=npy("(1000000, 15, 3)") + bytes(1 << 29)),
    "unasked-bomb.npz": lambda: motion(bomb=npy("(1000000, 100)") + bytes(1 << 29), version=2),
    "asks.npz": lambda: motion(expression=npy("(100000000000, 15, 3)")),
    "array.npz": lambda: saved(np.zeros(3)),
    "memo.pkl": lambda: b"\x80\x02]r\xff\xff\xff\x7f.",
    "memo-text.pkl": lambda: b"]p2000000000\n.",
    "memo-of-text.pkl": lambda: b"]p" + b"9" * 50 + b"\n.",
    "keys.pkl": lambda: b"".join([doubled(40), b"}h\x28K\x01s."]),
    "keys-by-copy.pkl": lambda: b"\x80\x02)" + b"2\x86" * 40 + b"}q\0" + b"0.",
    "wide-keys.pkl": lambda: b"\x80\x02(" + b"K\x01" * 100_000 + b"tq\0}" + b"h\0K\x01s" * 100_000 + b".",
    "set.pkl": lambda: b"\x80\x04" + b"\x8f" * 1_000_000 + b".",
    "lists.pkl": lambda: b"\x80\x04" + b"]" * 7_900_000 + b".",
    "dicts.pkl": lambda: b"\x80\x04" + b"}" * 9_000_000 + b".",
    "bytes.pkl": lambda: b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"abc",
    "bytearray.pkl": lambda: b"\x80\x05\x96" + (1 << 33).to_bytes(8, "little") + b"abc",
    "frame.pkl": lambda: b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
    "nested.pkl": lambda: b"\x80\x02" + b"](" * 1_000_000 + b"e" * 10 + b".",
    "tuples.pkl": lambda: b"\x80\x02)" + b"\x85" * 1_000_000 + b".",
    "tuples-and-calls-as-key.pkl": lambda: (
        b"\x80\x02})" + b"cnumpy.core.multiarray\n_reconstruct\n)R\x86" * 100_000 + b"K\x01s."
    ),
    "tuples-as-key.pkl": lambda: b"\x80\x02})" + b"\x85" * 1_000_000 + b"K\x01s.",
    "lists-of-lists.pkl": lambda: doubled_lists(60, b"n_frames"),
    "motion-of-lists.pkl": lambda: doubled_lists(60, b"motion"),
    "rate.pkl": lambda: template(output_fps=1e-9),
    "rate-large.pkl": lambda: template(output_fps=1e300),
    "rate-whole.pkl": lambda: template(output_fps=10**400),
    "rate-nothing.pkl": lambda: template(output_fps=None),
    "count.pkl": lambda: template(n_frames=10**400),
    "count-list.pkl": lambda: template(n_frames=[[[2]] * 2]),
    "frames.pkl": lambda: template(n_frames=300_000, motion=[{}] * 300_000),
    "frames-of-numbers.pkl": lambda: template(motion=[1, 2]),
    "numbers.pkl": lambda: frame_with(exp=np.zeros(3_000_000)),
    "numbers-again.pkl": lambda: template(c_eyes_lst=[np.zeros(3_000_000)] * 2),
    "text.pkl": lambda: frame_with(exp="a" * 1_000_000),
    "key.pkl": lambda: template(motion=[{("a",) * 3: 1}], n_frames=1),
    "code.pkl": lambda: b"cos\nsystem\n(S'true'\ntR.",
    "stack.pkl": lambda: b"\x80\x04R.",
    "stop.pkl": lambda: b".",
    "extension.pkl": lambda: b"\x80\x02\x84\xff\xff\xff\x7f.",
    "persistent.pkl": lambda: b"Pid\n.",
    "dtype.pkl": lambda: b"\x80\x02cnumpy\ndtype\nX\x03\0\0\0V99\x85R.",
    "array-state.pkl": lambda: b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R(K\x01K\x02tb.",
    "shape.pkl": lambda: pickle.dumps(np.zeros(4), 2).replace(b"K\x04\x85", b"K\x05\x85"),
    "line.pkl": lambda: b"I" + b"9" * 100_000 + b"\n.",
}

COEFFICIENTS: dict[str, Content] = {
    "asks.npy": lambda: npy("(1000000000, 70)"),
    "frames.npy": lambda: saved(np.ones((400_000, 70), np.uint8)),
    "scalar.npy": lambda: saved(np.float32(1)),
    "object.npy": lambda: npy("(70,)", "'|O'", b"cos\nsystem\n(S'true'\ntR."),
    "bomb.npz": lambda: npz({"coeff_3dmm": npy("(1000000, 70)") + bytes(1 << 29)}),
    "unasked-bomb.npz": lambda: npz({"other": npy("(1000000, 70)") + bytes(1 << 29)}),
    "crash.mat": lambda: mat(matrix((1, 70), bytes(8), kind=9))[:285],
    "dimensions.mat": lambda: mat(matrix((2**31 - 1, 2**31 - 1), bytes(560))),
    "negative.mat": lambda: mat(matrix((-1, 70), bytes(560))),
    "no-dimensions.mat": lambda: mat(matrix((), bytes(560))),
    "many-dimensions.mat": lambda: mat(matrix((1,) * 70, bytes(8))),
    "short.mat": lambda: mat(matrix((1, 70), bytes(80))),
    "kind.mat": lambda: mat(matrix((1, 70), bytes(560), kind=99)),
    "numbers-of-3.mat": lambda: mat(matrix((1, 70), bytes(561), kind=3)),
    "no-kind.mat": lambda: mat(matrix((1, 70), bytes(560), kind=0)),
    "object.mat": lambda: mat(matrix((1, 70), bytes(560), flags=3)),
    "sparse.mat": lambda: mat(matrix((1, 70), bytes(560), flags=5)),
    "function.mat": lambda: mat(matrix((1, 70), bytes(560), flags=16)),
    "complex.mat": lambda: mat(matrix((1, 70), bytes(560), flags=0x0806)),
    "name.mat": lambda: mat(matrix((1, 70), bytes(560), name=b"\xff" * 100_000)),
    "other.mat": lambda: mat(matrix((1, 70), bytes(560), name=b"a\nb\x1b[31m")),
    "size.mat": lambda: mat(element(14, b"", 2**32 - 1)),
    "small.mat": lambda: mat(b"\x0e\0\xff\xff" + bytes(8)),
    "parts.mat": lambda: mat(element(14, element(1, b"a") * 3)),
    "level-4.mat": lambda: bytes(200),
    "level-7.3.mat": lambda: b"MATLAB 7.3".ljust(124) + b"\0\x02IM" + b"\x89HDF\r\n" + bytes(400),
    "inflates.mat": lambda: mat(packed(bytes(1 << 29))),
    "inflates-often.mat": lambda: mat(packed(element(14, bytes(1 << 26))) * 60),
    "inflates-nothing.mat": lambda: mat(element(15, b"no zlib")),
    "inflates-itself.mat": lambda: mat(packed(packed(bytes(100)))),
    "big-endian.mat": lambda: mat(matrix((1, 70), bytes(560)), order=b"MI"),
    "empty.mat": lambda: mat(),
}

RATIOS: dict[str, Content] = {
    "frames.npy": lambda: saved(np.ones((400_000, 3), np.uint8)),
    "text.npy": lambda: saved(np.array(["a", "b", "c"])),
    "negative.npy": lambda: saved(np.array([-1.0, 0, 0])),
    "nan.npy": lambda: saved(np.full((203, 2), np.nan)),
    "archive.npy": lambda: npz({"a": saved(np.zeros(3))}),
}


def _config(**changes: Any) -> dict[str, Any]:
    values = VOX_256.as_dict()
    for name, value in changes.items():
        part, _, field = name.partition("__")
        if field:
            values[part] = values[part] | {field: value}
        else:
            values[part] = value
    return values


WEIGHTS: dict[str, Content] = {
    "header.safetensors": lambda: tensors({}, length=1 << 62),
    "header-past-end.safetensors": lambda: tensors({}, length=5_000_000),
    "nested.safetensors": lambda: tensors(b'{"a":' * 100_000),
    "list.safetensors": lambda: tensors(b"{}"[:1] + b'"a": []}'),
    "numbers.safetensors": lambda: tensors({"a": 3}),
    "overlap.safetensors": lambda: tensors({"a": tensor([2], [0, 8]), "b": tensor([2], [4, 12])}, bytes(12)),
    "gap.safetensors": lambda: tensors({"a": tensor([1], [0, 4]), "b": tensor([1], [8, 12])}, bytes(12)),
    "beyond.safetensors": lambda: tensors({"a": tensor([1 << 40], [0, 1 << 42])}, bytes(12)),
    "negative.safetensors": lambda: tensors({"a": tensor([-1], [4, 0])}, bytes(12)),
    "half.safetensors": lambda: tensors({"a": tensor([1.5], [0, 6])}, bytes(6)),
    "dtype.safetensors": lambda: tensors({"a": tensor([1], [0, 4], "F33")}, bytes(4)),
    "dtype-list.safetensors": lambda: tensors({"a": tensor([1], [0, 4], [])}, bytes(4)),
    "dimensions.safetensors": lambda: tensors({"a": tensor([1] * 5000, [0, 4])}, bytes(4)),
    "metadata.safetensors": lambda: tensors({"__metadata__": [1], "a": tensor([1], [0, 4])}, bytes(4)),
    "metadata-numbers.safetensors": lambda: tensors({"__metadata__": {"format": 5}}),
    "blocks.safetensors": lambda: weights(_config(appearance__residual_blocks=10**9)),
    "decoder-blocks.safetensors": lambda: weights(_config(generator__residual_blocks=10**9)),
    "stages.safetensors": lambda: weights(_config(head__blocks=[10**9] * 4)),
    "stage-count.safetensors": lambda: weights(_config(head__widths=[1] * 10**5, head__blocks=[1] * 10**5)),
    "no-stages.safetensors": lambda: weights(_config(head__widths=[], head__blocks=[])),
    "no-widths.safetensors": lambda: weights(_config(generator__widths=[])),
    "width.safetensors": lambda: weights(_config(volume_channels=10**12)),
    "keypoints.safetensors": lambda: weights(_config(keypoints=-5)),
    "keypoints-text.safetensors": lambda: weights(_config(keypoints="many")),
    "keypoints-half.safetensors": lambda: weights(_config(keypoints=1.5)),
    "size-zero.safetensors": lambda: weights(_config(image_size=0)),
    "name.safetensors": lambda: weights(_config(name=["vox-256"])),
    "name-nothing.safetensors": lambda: weights(_config(name=None)),
    "geometry.safetensors": lambda: weights(_config(geometry=None)),
    "geometry-text.safetensors": lambda: weights(_config(geometry="pose")),
    "transfer.safetensors": lambda: weights(_config(geometry__transfer=[])),
    "temperature.safetensors": lambda: weights(_config(canonical__temperature="hot")),
    "not-finite.safetensors": lambda: weights(_config(geometry__pi=float("nan"))),
    "stride.safetensors": lambda: weights(_config(canonical__stride=10**6)),
    "config-text.safetensors": lambda: weights("{"),
    "config-nested.safetensors": lambda: weights("[" * 100_000),
    "config-list.safetensors": lambda: weights([1, 2]),
    "config-nothing.safetensors": lambda: weights(None),
    "config-fits-not.safetensors": lambda: weights(VOX_256.as_dict()),
    "config-long.safetensors": lambda: weights({"a" * 100: 1, **{f"field{i}": i for i in range(10_000)}}),
    "config-large.safetensors": lambda: weights(replace(VOX_256, keypoints=60_000).as_dict()),
    "memo.pth": lambda: torch_zip(b"\x80\x02}r\xff\xff\xff\x7f."),
    "keys.pth": lambda: torch_zip(b"".join([doubled(40), b"}h\x28K\x01s."])),
    "inflates.pth": lambda: torch_zip(b"\x80\x02}.", {"data/0": bytes(1 << 29)}, zipfile.ZIP_DEFLATED),
    "code.pth": lambda: torch_zip(b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R."),
    "no-pickle.pth": lambda: torch_zip(b""),
    "not-zip.pth": lambda: b"PK\x03\x04" + bytes(99),
    "legacy-memo.pth": lambda: (
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}r\xff\xff\xff\x7f."
    ),
    "legacy-keys.pth": lambda: (
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03." + doubled(40) + b"}h\x28K\x01s."
    ),
    "legacy-cut.pth": lambda: b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M",
    "tar.pth": lambda: b"pickle".ljust(257, b"\0") + b"ustar\x0000" + bytes(2000),
    "number.pth": lambda: torch_zip(b"\x80\x02K\x01."),
    "noise.pth": lambda: np.random.default_rng(0).bytes(4096),
}

CONFIGS: dict[str, Content] = {
    "dotted.toml": lambda: ".".join(["a"] * 50_000).encode() + b" = 1\n",
    "dotted-table.toml": lambda: b"[" + ".".join(["a"] * 50_000).encode() + b"]\n",
    "dotted-lines.toml": lambda: b"".join(f"{'.'.join(['a'] * 900)}.b{i} = 1\n".encode() for i in range(35)),
    "nested-list.toml": lambda: b"a = " + b"[" * 2_000 + b"]" * 2_000,
    "nested-table.toml": lambda: b"a = " + b"{a=" * 1_000 + b"1" + b"}" * 1_000,
    "long.toml": lambda: b"a = 1\n" * 20_000,
    "bytes.toml": lambda: b"\xff\xfe",
    "whole.toml": lambda: b"batch = " + b"9" * 400,
    "whole-longer.toml": lambda: b"batch = " + b"9" * 4_000,
    "whole-as-number.toml": lambda: b"average = " + b"9" * 400,
    "not-a-number.toml": lambda: b"[optimiser]\nlr = nan\n",
    "infinite.toml": lambda: b"[optimiser]\nlr = inf\n",
    "preset.toml": lambda: b"[model]\npreset = 5\n",
    "preset-list.toml": lambda: b"[model]\npreset = ['vox-256']\n",
    "preset-unknown.toml": lambda: b"[model]\npreset = 'a'\n",
    "model.toml": lambda: b"model = 5\n",
    "blocks.toml": lambda: b"[model.appearance]\nresidual_blocks = 1000000000\n",
    "widths.toml": lambda: b"[model.generator]\nwidths = []\n",
    "keypoints.toml": lambda: b"[model]\nkeypoints = 0\n",
    "dates.toml": lambda: b"steps = 1979-05-27\n",
    "betas.toml": lambda: b"[optimiser]\nbetas = [0.5]\n",
    "betas-nan.toml": lambda: b"[optimiser]\nbetas = [nan, nan]\n",
    "rates.toml": lambda: b"[optimiser.rates]\na = [1]\n",
    "losses.toml": lambda: b"losses = [1]\n",
    "name.toml": lambda: b'"\\u001b[31m" = 1\n',
    "schedule.toml": lambda: b"[optimiser]\nschedule = ['constant']\n",
}

INDEX = {
    "version": 1,
    "size": 16,
    "identities": 1,
    "seed": 0,
    "first": 0,
    "frames": 2,
}


def _index(**changes: Any) -> Content:
    return lambda: json.dumps(INDEX | changes).encode()


SHARDS: dict[str, Content] = {  # of heads.json
    "nested.json": lambda: b"[" * 60_000,
    "list.json": lambda: b"[1, 2]",
    "bytes.json": lambda: b"\xff\xfe",
    "long.json": lambda: b"[" + b"1," * 40_000 + b"1]",
    "identities.json": _index(identities=10**12),
    "identities-text.json": _index(identities="many"),
    "frames.json": _index(frames=10**12),
    "frames-one.json": _index(frames=1),
    "size.json": _index(size=0),
    "size-half.json": _index(size=16.5),
    "seed.json": _index(seed=-1),
    "version.json": _index(version=[1]),
    "landmarks.json": _index(landmarks=5),
    "unknown.json": _index(unknown=1),
}

CASES: dict[str, dict[str, Content]] = {
    "picture": PICTURES,
    "film": FILMS,
    "frame": FILMS,
    "sound": SOUNDS,
    "faces": FACES,
    "motion": MOTION,
    "coefficients": COEFFICIENTS,
    "ratios": RATIOS,
    "weights": WEIGHTS,
    "config": CONFIGS,
    "shards": SHARDS,
}
