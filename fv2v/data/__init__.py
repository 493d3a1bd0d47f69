"""What networks learn from: pairs of frames, of videos or drawn."""

from pathlib import Path

from fv2v.data.pairs import PairData
from fv2v.io.paths import PathLike


def open_data(path: PathLike, size: int) -> PairData:
    """The training data in a folder: heads that `fv2v synthesize` drew, or videos (layouts.py).

    Args:
        path: the folder. Of videos, where it has a sub-folder `train`, that one is read.
        size: side of the pictures, in pixels.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: nothing in it that is known, or heads drawn at a size that is no multiple of it.
    """
    # here, since PyAV, OpenCV and the renderer take their time
    if (Path(path) / "heads.json").is_file():
        from fv2v.data.shards import HeadShards

        return HeadShards(path, size)
    from fv2v.data.videos import VideoFolder

    return VideoFolder(path, size)
