# SPDX-License-Identifier: Apache-2.0
"""What `help` and a type checker say of the operators."""

import inspect
import re
import subprocess
import sys
from typing import Any

import pytest
from places import ROOT

import fv2v_kernels

FUNCTIONS = [*fv2v_kernels.OPS, "winograd_conv"]
RESULTS = """
import torch
from torch import Tensor
from typing_extensions import assert_type
from fv2v_kernels import (
    ComposedFlow, ComposedWarp, SoftArgmax, compose_flow, compose_warp, mask_head, soft_argmax3d, warp3d
)
t, yes = torch.ones(1), bool(torch.ones(1))
assert_type(warp3d(t, t, align_corners=True), Tensor)
assert_type(soft_argmax3d(t, temperature=0.1), Tensor)
assert_type(soft_argmax3d(t, temperature=0.1, jacobian_maps=t), SoftArgmax)
assert_type(compose_flow(t, t, t), Tensor)
assert_type(compose_flow(t, t, t, return_mask=True), ComposedFlow)
assert_type(compose_flow(t, t, t, return_mask=yes), Tensor | ComposedFlow)
assert_type(compose_warp(t, t, t, t, align_corners=True), Tensor)
assert_type(compose_warp(t, t, t, t, t, align_corners=True, return_flow=False, backend="cpu"), Tensor)
assert_type(compose_warp(t, t, t, t, align_corners=True, return_flow=True), ComposedWarp)
assert_type(compose_warp(t, t, t, t, align_corners=True, return_mask=True), ComposedWarp)
assert_type(compose_warp(t, t, t, t, align_corners=True, return_flow=True, return_mask=True), ComposedWarp)
assert_type(compose_warp(t, t, t, t, align_corners=True, return_flow=yes), Tensor | ComposedWarp)
assert_type(mask_head(t, t, kp_source=t, kp_driving=t, align_corners=True), Tensor)
assert_type(mask_head(t, t, t, t, align_corners=True, return_mask=True), ComposedWarp)
"""
WRONG = """
import torch
from fv2v_kernels import compose_warp, warp4d
t = torch.ones(1)
compose_warp(t, t, t, t)
compose_warp(t, t, t, t, align_corners=True, threshold=1.0)
compose_warp(t, t, t, t, align_corners=True, return_flow=1)
"""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_help_shows_formula_shapes_gradient_and_errors(name):
    function = getattr(fv2v_kernels, name)
    text = inspect.getdoc(function)
    assert text
    headline, formula, *_ = text.split("\n\n")
    assert headline.endswith(".")
    assert all(line.startswith("    ") for line in formula.splitlines())
    assert " = " in formula
    for section in ("Args:", "Returns:", "Gradient:", "Raises:"):
        assert f"\n{section}\n" in text, section
    arguments = text[text.index("\nArgs:") : text.index("\nReturns:")]
    assert all(argument in arguments or "the options" in arguments for argument in _parameters(function))
    assert "(B, " in arguments
    assert "(B, " in text[text.index("\nReturns:") :] or "As x" in text


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_and_result_has_a_type(name):
    signature = inspect.signature(getattr(fv2v_kernels, name))
    types = [signature.return_annotation, *(each.annotation for each in signature.parameters.values())]
    assert not {Any, inspect.Signature.empty} & {*types}


def _parameters(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "backend"]


@pytest.mark.slow
def test_a_type_checker_knows_what_flags_return(tmp_path):
    """By the settings of the project, so that mypy's cache serves."""
    pytest.importorskip("mypy", reason="mypy is not installed: install the extra `test`")
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_text(RESULTS)
    wrong.write_text(WRONG)
    command = [sys.executable, "-m", "mypy", str(right), str(wrong)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    errors = re.findall(r"(\w+)\.py:(\d+): error:", found)
    assert {*errors} == {("wrong", line) for line in "3567"}, found
