# SPDX-License-Identifier: Apache-2.0
"""How the command line refuses."""


def assert_refused(result: tuple[int, str, str], message: str) -> None:
    code, out, err = result
    assert code == 2
    assert out == ""
    assert err.startswith("fv2v: ")
    assert err.count("\n") == 1
    assert message in err
