"""The networks arranged for inference: the same function, from fewer operations.

`arranged(model)` is one pass over a copy of trained modules, in this order:

1. batch norms go into the convolutions before them, spectral norms into their weights (fold.py);
2. a convolution of a picture enlarged twice becomes one of four phases on the small picture (doubling.py);
3. SPADE's convolutions that read the same picture become one (spade.py);
4. what H and Δ say is one matrix product, and a dozen operations more (head.py);
5. on a GPU, M's mask convolution gives the taps of its logits, which G sums as it warps (mask.py).

Every step is exact: in float64 the result differs by rounding alone. What comes out cannot be trained, and
its weights are not a checkpoint's; the model that went in is left as it was.
"""

from copy import deepcopy

import torch

from fv2v.engine.doubling import double_in_phases
from fv2v.engine.fold import fold_norms
from fv2v.engine.head import join_heads
from fv2v.engine.mask import taps_in_channels
from fv2v.engine.spade import join_spades
from fv2v.networks import FaceVid2Vid

__all__ = ["arranged"]


def arranged(model: FaceVid2Vid, device: torch.device) -> FaceVid2Vid:
    """A copy of `model` to run on `device`: same methods, same numbers. Weights are rounded to half after."""
    fast = deepcopy(model).eval().requires_grad_(False)
    fold_norms(fast)
    double_in_phases(fast)
    join_spades(fast)
    join_heads(fast)
    if device.type == "cuda":
        taps_in_channels(fast)
    return fast
