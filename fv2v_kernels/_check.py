"""Errors that name the op, what it expected (with the sizes already known), what came, and what to do."""

import torch
from torch import Tensor

STORED = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def check_shapes(op: str, **expected: tuple[Tensor | None, str]) -> None:
    """Match tensors against patterns such as "B C D H W"; a letter keeps the size it first met.

    "K+1" is one more than K, which an earlier pattern bound; "1|B" is 1 or the B bound earlier. A tensor that
    is None is optional and passes.

    Raises:
        ValueError: with the argument, the pattern, the sizes known so far and the shape that came.
    """
    sizes: dict[str, int] = {}
    for name, (tensor, pattern) in expected.items():
        if tensor is None:
            continue
        dims, known = pattern.split(), dict(sizes)
        if len(dims) != tensor.dim() or not all(
            _fits(dim, size, sizes) for dim, size in zip(dims, tensor.shape, strict=True)
        ):
            letters = dict.fromkeys(dim.partition("+")[0].rpartition("|")[2] for dim in dims)
            bound = ", ".join(f"{letter}={known[letter]}" for letter in letters if letter in known)
            raise ValueError(
                f"{op}: expected {name} of shape ({', '.join(dims)})"
                f"{bound and f' with {bound}'}, got {tuple(tensor.shape)}"
            )


def _fits(dim: str, size: int, sizes: dict[str, int]) -> bool:
    if dim.isdigit():
        return size == int(dim)
    if dim.startswith("1|"):
        return size == 1 or size == sizes[dim[2:]]
    letter, _, more = dim.partition("+")
    return size == sizes.setdefault(letter, size) if not more else size == sizes[letter] + int(more)


def check_same_device(op: str, **tensors: Tensor | None) -> None:
    devices = {name: tensor.device for name, tensor in tensors.items() if tensor is not None}
    if len(set(devices.values())) > 1:
        listed = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise ValueError(
            f"{op}: expected all tensors on one device, got {listed}; move them with .to(device)"
        )


def check_stored(op: str, **tensors: Tensor) -> None:
    """Features and logits may be stored in any floating dtype."""
    for name, tensor in tensors.items():
        if tensor.dtype not in STORED:
            raise TypeError(
                f"{op}: expected {name} in float32, float16, bfloat16 or float64, got {tensor.dtype}; "
                f"convert it with .float()"
            )


def check_coordinates(op: str, beside: Tensor | None, **tensors: Tensor | None) -> None:
    """Coordinates are float32, or float64 beside float64 features: half precision misses voxels."""
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    if beside is None:
        wide = next(iter(given.values())).dtype == torch.float64
        where = ""
    else:
        wide = beside.dtype == torch.float64
        where = f" beside {beside.dtype} features or logits"
    wanted = torch.float64 if wide else torch.float32
    for name, tensor in given.items():
        if tensor.dtype != wanted:
            raise TypeError(
                f"{op}: expected {name} in {wanted}{where}, got {tensor.dtype}; "
                f"coordinates are never stored in half precision: use .{'double' if wide else 'float'}()"
            )


def check_keypoints(op: str, kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None) -> None:
    """(B, K, 3) twice; affine None, shared (B, 3, 3) or per keypoint (B, K, 3, 3)."""
    shared = affine is not None and affine.dim() == 3
    check_shapes(
        op,
        kp_driving=(kp_driving, "B K 3"),
        kp_source=(kp_source, "B K 3"),
        affine=(affine, "B 3 3" if shared else "B K 3 3"),
    )
