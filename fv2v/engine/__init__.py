"""The networks arranged for inference: the same function, from fewer operations.

`arranged(model)` is one pass over a copy of trained modules, in this order:

1. batch norms go into the convolutions before them, spectral norms into their weights (fold.py);
2. a convolution of a picture enlarged twice becomes one of four phases on the small picture (doubling.py);
3. SPADE's convolutions that read the same picture become one (spade.py).

Every step is exact: in float64 the result differs by rounding alone. What comes out cannot be trained, and
its weights are not a checkpoint's; the model that went in is left as it was.
"""

from collections.abc import Callable
from copy import deepcopy

from torch import nn

from fv2v.engine.doubling import DoublingConv, double_in_phases
from fv2v.engine.fold import fold_norms
from fv2v.engine.spade import join_spades
from fv2v.networks import FaceVid2Vid

__all__ = ["CONVOLUTIONS", "PASSES", "arranged"]

# in order; each changes a model in place
PASSES: tuple[Callable[[nn.Module], None], ...] = (fold_norms, double_in_phases, join_spades)
# what convolves or multiplies by a matrix: with a `weight` (C', C, ...) of one sum an output number, or else
# with `multiplications(shape of its output)`
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, DoublingConv)


def arranged(model: FaceVid2Vid) -> FaceVid2Vid:
    """A copy of `model` for inference: same methods, same numbers. Fold before rounding weights to half."""
    fast = deepcopy(model).eval().requires_grad_(False)
    for rewrite in PASSES:
        rewrite(fast)
    return fast
