# SPDX-License-Identifier: Apache-2.0
"""The tests' own processes."""

import pytest


def test_a_worker_starts_no_workers(pytestconfig):
    if not hasattr(pytestconfig, "workerinput"):
        pytest.skip("this process is no worker of pytest-xdist")
    assert pytestconfig.option.dist == "no"
    assert not pytestconfig.pluginmanager.hasplugin("dsession")
