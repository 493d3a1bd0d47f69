"""What networks learn from: pairs of frames, of videos or drawn."""

from pathlib import Path

from fv2v.data.pairs import PairData
from fv2v.paths import PathLike

SHARDS = "shards.json"


def open_data(path: PathLike, size: int) -> PairData:
    """The training data in a folder: shards that `fv2v synthesize` wrote, or videos (layouts.py).

    Args:
        path: the folder; where it has a sub-folder `train`, that is read.
        size: side of the pictures, in pixels.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: nothing in it that is known.
    """
    if (Path(path) / SHARDS).is_file():
        raise NotImplementedError("shards are read by fv2v/data/shards.py")
    from fv2v.data.videos import VideoFolder  # PyAV and OpenCV

    return VideoFolder(path, size)
