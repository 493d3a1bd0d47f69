# SPDX-License-Identifier: Apache-2.0
"""Operators are tested on two threads, though a process of the suite has one for all else."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
