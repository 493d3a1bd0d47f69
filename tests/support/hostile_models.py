# SPDX-License-Identifier: Apache-2.0
"""Hostile weights, configs and shards, by name, whose ending is the file's."""

import json
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
from hostile_files import Content, doubled, tensor, tensors, torch_zip, weights

from fv2v.presets import VOX_256


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
