# SPDX-License-Identifier: Apache-2.0
"""`python -m fv2v` is the command `fv2v`."""

from fv2v.cli import main

if __name__ == "__main__":
    main()
