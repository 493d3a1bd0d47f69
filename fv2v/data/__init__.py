# SPDX-License-Identifier: Apache-2.0
"""Training data: pairs of frames, from videos or drawn."""

from pathlib import Path

from fv2v.data.pairs import PairData
from fv2v.io.paths import PathLike


def open_data(path: PathLike, size: int) -> PairData:
    """The training data in a folder: heads that `fv2v synthesize` drew, or videos (layouts.py).

    Args:
        path: the folder. Of a folder of videos its sub-folder `train` is read, where there is one.
        size: side of the pictures, in pixels.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: neither drawn heads nor videos in it, or heads whose size is no multiple of `size`.
    """
    # imported here, since PyAV, OpenCV and the renderer take long to import
    if (Path(path) / "heads.json").is_file():
        from fv2v.data.shards import HeadShards

        return HeadShards(path, size)
    from fv2v.data.videos import VideoFolder

    return VideoFolder(path, size)
