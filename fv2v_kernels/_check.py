# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments. Errors name the op, what it expected (with known sizes), what it got, what to do."""

import math
from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor

STORED = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
FLOWS = {"kp_driving": "B K 3", "kp_source": "B K 3", "affine": "B 3 3 / B K 3 3"}  # for check_shapes


COORDINATES = ("grid", "kp_source", "kp_driving", "affine")  # what operators call them
MOST_VOXELS, MOST_NUMBERS = 2**31, 2**40  # kernels count voxels in 32 bits; no machine holds so many numbers


def check_shapes(op: str, shapes: Mapping[str, str], tensors: Mapping[str, Tensor | None]) -> dict[str, int]:
    """Match tensors against patterns such as "B C D H W"; a letter keeps the size it first met.

    "K+1" is one more than K, which an earlier pattern bound, and "9K" nine times; "1|B" is 1 or the B bound
    earlier. Of two patterns, "B 3 3 / B K 3 3", the one with as many dimensions counts. A tensor that is None
    is optional and passes. Features, which are read between their voxels, have at least one.

    Returns:
        The sizes by letter.

    Raises:
        ValueError: with the argument, the pattern, the sizes known so far and the shape it got.
    """
    sizes: dict[str, int] = {}
    for name, pattern in shapes.items():
        tensor = tensors[name]
        if tensor is None:
            continue
        known = dict(sizes)
        *others, dims = (each.split() for each in pattern.split(" / "))
        dims = next((each for each in others if len(each) == tensor.dim()), dims)
        hollow = name == "features" and 0 in tensor.shape[2:]
        if (
            hollow
            or len(dims) != tensor.dim()
            or not all(_fits(dim, size, sizes) for dim, size in zip(dims, tensor.shape, strict=True))
        ):
            letters = dict.fromkeys(dim.partition("+")[0].rpartition("|")[2].lstrip("9") for dim in dims)
            bound = ", ".join(f"{letter}={known[letter]}" for letter in letters if letter in known)
            raise ValueError(
                f"{op}: expected {name} of shape ({', '.join(dims)})"
                f"{bound and f' with {bound}'}{', D, H and W at least 1' if hollow else ''}, "
                f"got {tuple(tensor.shape)}"
            )
    return sizes


def _fits(dim: str, size: int, sizes: dict[str, int]) -> bool:
    if dim.isdigit():
        return size == int(dim)
    if dim.startswith("1|"):
        return size == 1 or size == sizes[dim[2:]]
    if dim.startswith("9"):
        return size == 9 * sizes[dim[1:]]
    letter, _, more = dim.partition("+")
    return size == sizes.setdefault(letter, size) if not more else size == sizes[letter] + int(more)


def check_memory(op: str, tensors: Mapping[str, Tensor | None], sizes: Mapping[str, int]) -> None:
    """What else a kernel trusts, and the public function has seen to: devices, dtypes, dense and countable.

    Args:
        sizes: by letter, from `check_shapes`.

    Raises:
        ValueError, TypeError: with what came.
    """
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    if len({each.device for each in given.values()}) > 1:
        check_same_device(op, **given)
    stored = {each.dtype for name, each in given.items() if name not in COORDINATES}
    points = {each.dtype for name, each in given.items() if name in COORDINATES}
    wide = torch.float64 if torch.float64 in (stored or points) else torch.float32
    if len(stored) > 1 or not stored <= set(STORED) or not points <= {wide}:
        listed = ", ".join(f"{name} in {each.dtype}" for name, each in given.items())
        raise TypeError(
            f"{op}: expected one floating dtype, and coordinates in float32, or float64 beside float64; "
            f"got {listed}"
        )
    voxels = max(math.prod(sizes.get(axis + mark, 1) for axis in "DHW") for mark in ("", "'"))
    if voxels >= MOST_VOXELS or any(each.numel() >= MOST_NUMBERS for each in given.values()):
        listed = ", ".join(f"{name} of shape {tuple(each.shape)}" for name, each in given.items())
        raise ValueError(f"{op}: expected fewer than 2^31 voxels a volume and 2^40 numbers, got {listed}")
    for name, each in given.items():
        if each.layout is not torch.strided:
            raise ValueError(f"{op}: expected {name} to be dense, got {each.layout}; use .to_dense()")


def check_gradients(op: str, gradients: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Each of them is like the second, a result of `op`, whatever its strides."""
    for name, (gradient, result) in gradients.items():
        if gradient.shape != result.shape or gradient.dtype != result.dtype:
            raise ValueError(
                f"{op}_backward: expected {name} of shape {tuple(result.shape)} in {result.dtype}, "
                f"got {tuple(gradient.shape)} in {gradient.dtype}"
            )


def check_same_device(op: str, **tensors: Tensor | None) -> None:
    devices = {name: tensor.device for name, tensor in tensors.items() if tensor is not None}
    if len(set(devices.values())) > 1:
        listed = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise ValueError(
            f"{op}: expected all tensors on one device, got {listed}; move them with .to(device)"
        )


def check_stored(op: str, **tensors: Tensor | None) -> list[Tensor | None]:
    """Features, logits and maps: any floating dtype, one for all.

    Under autocast, where layers return different dtypes, the narrower are widened.
    """
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    for name, tensor in given.items():
        if tensor.dtype not in STORED:
            raise TypeError(
                f"{op}: expected {name} in float32, float16, bfloat16 or float64, got {tensor.dtype}; "
                f"convert it with .float()"
            )
    dtypes = {name: tensor.dtype for name, tensor in given.items()}
    if len(set(dtypes.values())) <= 1:
        return list(tensors.values())
    if not all(autocast(tensor) for tensor in given.values()):
        listed = ", ".join(f"{name} in {dtype}" for name, dtype in dtypes.items())
        raise TypeError(
            f"{op}: expected one dtype for {' and '.join(given)}, got {listed}; convert one of them"
        )
    widest = reduce(torch.promote_types, dtypes.values())
    return [tensor if tensor is None else tensor.to(widest) for tensor in tensors.values()]


def check_coordinates(op: str, beside: Tensor | None, **tensors: Tensor | None) -> list[Tensor | None]:
    """Coordinates are float32, or float64 beside float64 features: half precision misses voxels.

    Under autocast, whose layers return halves, half coordinates are widened.
    """
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    lead = next(iter(given.values()), None) if beside is None else beside
    wide = lead is not None and lead.dtype == torch.float64
    wanted = torch.float64 if wide else torch.float32
    where = "" if beside is None else f" beside {beside.dtype} features or logits"
    for name, tensor in given.items():
        half = tensor.dtype in (torch.float16, torch.bfloat16)
        if tensor.dtype != wanted and not (half and autocast(tensor)):
            raise TypeError(
                f"{op}: expected {name} in {wanted}{where}, got {tensor.dtype}; "
                f"coordinates are never stored in half precision: use .{'double' if wide else 'float'}()"
            )
    return [tensor if tensor is None else tensor.to(wanted) for tensor in tensors.values()]


def autocast(tensor: Tensor) -> bool:
    return tensor.device.type in ("cpu", "cuda") and torch.is_autocast_enabled(tensor.device.type)


def check_flows(
    op: str, kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None, **stored: Tensor
) -> list[Tensor | None]:
    """The stored tensors, kp_source, kp_driving and affine, in the dtypes that kernels take."""
    points = {"kp_source": kp_source, "kp_driving": kp_driving, "affine": affine}
    check_same_device(op, **stored, **points)
    kept = check_stored(op, **stored) if stored else []
    return [*kept, *check_coordinates(op, kept[0] if kept else None, **points)]


def check_channels_last(op: str, memory_format: torch.memory_format) -> bool:
    """Whether the result is to be written as `torch.channels_last_3d`."""
    if memory_format not in (torch.contiguous_format, torch.channels_last_3d):
        raise ValueError(
            f"{op}: expected memory_format torch.contiguous_format or torch.channels_last_3d, "
            f"got {memory_format}"
        )
    return memory_format == torch.channels_last_3d
