# SPDX-License-Identifier: Apache-2.0
"""One rewrite of the networks for inference a file, named as in the tables of benches/README.md."""
