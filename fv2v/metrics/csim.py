# SPDX-License-Identifier: Apache-2.0
"""CSIM: whether identity is preserved (cosine similarity of face embeddings)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

Embedding = Callable[[Tensor], Tensor]  # pictures (B, 3, H, W) in [0, 1] -> (B, E)


@torch.no_grad()
def csim(embedding: Embedding, images: Tensor, source: Tensor) -> Tensor:
    """Cosine of the angle between the embeddings of pictures and of their source: (B,), 1 for equal ones.

    Args:
        embedding: a face recognition network; numbers by different networks do not compare.
        images: (B, 3, H, W).
        source: one picture of the person, or B of them.

    Raises:
        ValueError: embeddings that are not (B, E), or batches that do not fit.
    """
    output, known = embedding(images), embedding(source)
    if output.dim() != 2 or known.dim() != 2 or len(known) not in (1, len(output)):
        raise ValueError(
            f"CSIM: expected embeddings (B, E) of {len(images)} pictures and of 1 or as many sources, got "
            f"{tuple(output.shape)} and {tuple(known.shape)}"
        )
    return cosine_similarity(output.float(), known.float(), dim=1)
