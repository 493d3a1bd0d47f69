# SPDX-License-Identifier: Apache-2.0
"""Hostile pictures, films and sounds, by name, whose ending is the file's."""

import numpy as np
from hostile_files import Content, avif, bmp, chunk, gif, jpeg, jpeg2000, png, tiff, wav, webp

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
