# SPDX-License-Identifier: Apache-2.0
"""Every Triton kernel compiles for every GPU we name, with no GPU here, and keeps its values in registers.

By default for sizes of one and one GPU. `pytest --slow tests/kernels/builds/test_triton_compile.py` compiles
all, and prints a table of registers and shared memory.
"""

import importlib
import re
import subprocess
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fv2v_kernels._native import INTERPRETED

triton = pytest.importorskip("triton", reason="triton is not installed: install the extra `test`")
if INTERPRETED:
    pytest.skip("a process interprets Triton or compiles it, not both", allow_module_level=True)

import fv2v_kernels.triton  # noqa: E402 - after the skips: it may import triton one day
from fv2v_kernels.triton.launch import TILE_BYTES, WARPS  # noqa: E402

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
TARGETS = (80, 90, 100, 120)  # compute capability: A100, H100 and H200, B200, RTX 50
STORED = {"fp32": "fp32", "fp16": "fp32", "bf16": "fp32", "fp64": "fp64"}  # and the coordinates beside

COORDINATES = ("fp32", "fp64")
FLOWS = {"source_ptr", "driving_ptr", "affine_ptr"}
BOTH = (False, True)
TILES = (1, TILE_BYTES)  # the second stands for as many channels as have so many bytes
SIDE_BY_SIDE = {  # of channels in tiles
    "out_strides", "grad_out_strides", "features_strides", "x_strides", "gamma_strides", "beta_strides",
}  # fmt: skip
FIXED = {"BLOCK", "PARTS", "TILE_FLOWS"}  # constants that a module sets for good
ALIGNED = [["tt.divisibility", 16]]
LENGTHS = {  # of tuples; other strides are those of (B, C, D, H, W) or (B, D, H, W, 3)
    "size": 3, "out_size": 3, "out_strides": 3, "source_strides": 3, "driving_strides": 3,
    "affine_strides": 4, "taps_strides": 6, "grad_flows_strides": 6, "grad_keypoints_strides": 3,
    "grad_jacobians_strides": 4,
}  # fmt: skip

# By module and kernel: which pointers hold coordinates and sums, and the values its constants take. Pointers
# not named hold stored dtypes (where there are none, `stored` says which to try), numbers are 32-bit integers
# unless the kernel says otherwise.
KERNELS: dict[str, dict[str, dict[str, Any]]] = {
    "keypoint_flow": {
        "_keypoint_flow_kernel": {
            "coordinates": FLOWS | {"out_ptr"},
            "stored": COORDINATES,
            "constants": {"AFFINE": (True, False), "WIDE": BOTH},
        },
        "_keypoint_flow_backward_kernel": {
            "coordinates": FLOWS | {"sums_ptr", "grad_flows_ptr"},
            "stored": COORDINATES,
            "constants": {"WIDE": BOTH},
        },
    },
    "soft_argmax3d": {
        "_sums_kernel": {
            "coordinates": {"peaks_ptr", "sums_ptr"},
            "constants": {"MAPS": (True, False), "WIDE": BOTH},
        },
        "_means_kernel": {
            "coordinates": {"means_ptr", "peak_ptr", "peaks_ptr", "sums_ptr"},
            "stored": COORDINATES,
            "constants": {"MAPS": (True, False)},
        },
        "_soft_argmax3d_backward_kernel": {
            "coordinates": {"grad_keypoints_ptr", "grad_jacobians_ptr", "means_ptr", "peak_ptr"},
            "constants": {
                "NEED_LOGITS": (True, False),
                "NEED_MAPS": (True, False),
                "MAPS": (True, False),
                "WIDE": BOTH,
            },
        },
    },
    "modulate": {
        "_moments_kernel": {
            "coordinates": {"moments_ptr"},
            "constants": {"CHANNELS": TILES, "WIDE": BOTH},
        },
        "_modulate_kernel": {
            "coordinates": {"moments_ptr"},
            "constants": {"CHANNELS": TILES, "WIDE": BOTH},
        },
        "_modulate_pull_kernel": {
            "coordinates": {"moments_ptr", "sums_ptr"},
            "constants": {
                "NEED_GAMMA": (True, False),
                "NEED_BETA": (True, False),
                "CHANNELS": TILES,
                "WIDE": BOTH,
            },
        },
        "_modulate_push_kernel": {
            "coordinates": {"moments_ptr", "sums_ptr"},
            "constants": {"CHANNELS": TILES, "WIDE": BOTH},
        },
    },
    "compose_flow": {
        "_compose_flow_kernel": {
            "coordinates": FLOWS | {"flow_ptr"},
            "constants": {"RETURN_MASK": (True, False), "AFFINE": (True, False), "WIDE": BOTH},
        },
        "_compose_flow_backward_kernel": {
            "coordinates": FLOWS | {"sums_ptr", "grad_flow_ptr"},
            "warps": 1,
            "constants": {
                "NEED_LOGITS": (True, False),
                "NEED_SUMS": (True, False),
                "MASK": (True, False),
                "AFFINE": (True, False),
                "WIDE": BOTH,
            },
        },
    },
    "compose_warp": {
        "_compose_warp_kernel": {
            "coordinates": FLOWS | {"flow_ptr"},
            "constants": {
                "RETURN_FLOW": (True, False),
                "RETURN_MASK": (True, False),
                "CHANNELS": TILES,
                "AFFINE": (True, False),
                "ALIGN_CORNERS": BOTH,
                "WIDE": BOTH,
            },
        },
    },
    "mask_head": {
        "_mask_head_kernel": {
            "coordinates": FLOWS | {"flow_ptr"},
            "constants": {
                "MASKS": BOTH,
                "RETURN_FLOW": BOTH,
                "RETURN_MASK": BOTH,
                "CHANNELS": TILES,
                "FLOW_AXIS": (1, 0),
                "AFFINE": BOTH,
                "ALIGN_CORNERS": BOTH,
                "TAPS": (7, 1),
                "WIDE": BOTH,
            },
        },
    },
    "warp_candidates": {
        "_warp_candidates_kernel": {
            "coordinates": FLOWS,
            "constants": {"PAIRS": BOTH, "AFFINE": (True, False), "ALIGN_CORNERS": BOTH, "WIDE": BOTH},
        },
        "_warp_candidates_backward_kernel": {
            "coordinates": FLOWS | {"grad_features_ptr", "sums_ptr", "source_sums_ptr"},
            "constants": {
                "NEED_FEATURES": (True, False),
                "NEED_SUMS": (True, False),
                "AFFINE": (True, False),
                "ALIGN_CORNERS": BOTH,
                "WIDE": BOTH,
            },
        },
    },
    "warp3d": {
        "_warp3d_kernel": {
            "coordinates": {"grid_ptr"},
            "constants": {"CHANNELS": TILES, "ALIGN_CORNERS": BOTH, "WIDE": BOTH},
        },
        "_warp3d_backward_kernel": {
            "coordinates": {"grid_ptr", "grad_grid_ptr", "grad_features_ptr"},
            "constants": {
                "NEED_FEATURES": (True, False),
                "NEED_GRID": (True, False),
                "CHANNELS": TILES,
                "ALIGN_CORNERS": BOTH,
                "WIDE": BOTH,
            },
        },
    },
}
NAMES = [(module, kernel) for module, kernels in KERNELS.items() for kernel in kernels]


def launched_kernels(module: ModuleType) -> dict[str, Any]:
    """A module's kernels; the functions they share have other endings."""
    return {name: value for name, value in vars(module).items() if name.endswith("_kernel")}


def variants(constants: dict[str, tuple[int, ...]]) -> list[dict[str, int]]:
    """The first value of each constant together, then each other value alone beside them."""
    usual = {name: values[0] for name, values in constants.items()}
    return [usual, *({**usual, name: other} for name, values in constants.items() for other in values[1:])]


def compile_kernel(
    module: ModuleType,
    name: str,
    stored: str,
    constants: dict[str, int],
    target: int,
    number: int | None = None,
) -> dict[str, int]:
    """Registers, shared memory and spills of one kernel, by Triton's own copy of NVIDIA's tools.

    With `number`, every size and stride has that value and is known when compiling.
    """
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = getattr(module, name)
    listed = KERNELS[module.__name__.rpartition(".")[2]][name]
    tiled = constants.get("CHANNELS", 1) > 1
    constants = {**constants, **{name: getattr(module, name) for name in FIXED & vars(module).keys()}}
    if tiled:
        constants["CHANNELS"] = TILE_BYTES * 8 // int(stored[2:])
    known: dict[tuple[int, ...], int] = {}
    aligned: dict[tuple[int, ...], Any] = {}
    signature: dict[str, Any] = {}
    for i, parameter in enumerate(kernel.params):
        argument = parameter.name
        length = LENGTHS.get(argument, 5 if argument.endswith("_strides") else 1)
        if parameter.is_constexpr:
            signature[argument] = "constexpr"
            known[i,] = constants[argument]
        elif argument.endswith("_ptr"):
            signature[argument] = f"*{STORED[stored] if argument in listed['coordinates'] else stored}"
            aligned[i,] = ALIGNED
        elif parameter.annotation_type:
            signature[argument] = parameter.annotation_type
        else:
            kind = "i32" if number is None else "constexpr"
            signature[argument] = kind if length == 1 else (kind,) * length
            if number is not None:
                known |= {(i,) if length == 1 else (i, j): number for j in range(length)}
            elif tiled and argument in SIDE_BY_SIDE:
                signature[argument] = tuple("constexpr" if j == 1 else "i32" for j in range(length))
                known[i, 1] = 1
                aligned |= {(i, j): ALIGNED for j in range(length) if j != 1}
    source = ASTSource(fn=kernel, signature=signature, constexprs=known, attrs=aligned)
    compiled = triton.compile(
        source, target=GPUTarget("cuda", target, 32), options={"num_warps": listed.get("warps", WARPS)}
    )
    return measure(compiled.asm["cubin"])


def measure(cubin: bytes) -> dict[str, int]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = _run("cuobjdump", "--dump-resource-usage", file.name)
        assembly = _run("nvdisasm", file.name)
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", usage)
    assert found, usage
    figures = dict(zip(("registers", "stack", "shared", "local"), map(int, found.groups()), strict=True))
    figures["spills"] = len(re.findall(r"\b(?:LDL|STL)\b", assembly))
    return figures


def _run(tool: str, *arguments: str) -> str:
    return subprocess.run([TOOLS / tool, *arguments], capture_output=True, text=True, check=True).stdout


def modules() -> dict[str, ModuleType]:
    return {name: importlib.import_module(f"fv2v_kernels.triton.{name}") for name in fv2v_kernels.OPS}


def test_every_kernel_is_listed_here():
    found = {name: sorted(launched_kernels(module)) for name, module in modules().items()}
    assert found == {name: sorted(kernels) for name, kernels in KERNELS.items()}


def test_every_constant_is_listed_here():
    for name, module in modules().items():
        for kernel, jitted in launched_kernels(module).items():
            constants = {p.name for p in jitted.params if p.is_constexpr} - FIXED
            assert constants == set(KERNELS[name][kernel]["constants"]), f"{name}.{kernel}"


@pytest.mark.parametrize(("module", "kernel"), NAMES)
@pytest.mark.parametrize("wide", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_compiles_for_sizes_of_one(module, kernel, wide):
    """Triton turns a size or stride of 1 into a constant: each may be one, here all are."""
    usual = variants(KERNELS[module][kernel]["constants"])[0]
    usual |= {"WIDE": wide} if "WIDE" in usual else {}
    figures = compile_kernel(modules()[module], kernel, "fp16", usual, 90, number=1)
    assert figures["spills"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids="sm_{}".format)
@pytest.mark.parametrize(
    ("module", "kernel", "stored"),
    [(*name, stored) for name in NAMES for stored in KERNELS[name[0]][name[1]].get("stored", STORED)],
)
def test_compiles_without_spills(module, kernel, stored, target, capsys):
    chosen = variants(KERNELS[module][kernel]["constants"])
    if (stored, target) != ("fp16", 90):  # elsewhere the usual one, and tiles
        chosen = [chosen[0], *(each for each in chosen if each.get("CHANNELS") == TILE_BYTES)]
    for constants in chosen:
        figures = compile_kernel(modules()[module], kernel, stored, constants, target)
        switched = ", ".join(constant for constant, on in constants.items() if on)
        with capsys.disabled():
            print(f"\n{kernel:26} sm_{target:<4} {stored}  {figures}  {switched}", end="")
        assert figures["spills"] == figures["local"] == figures["stack"] == 0, (constants, figures)
