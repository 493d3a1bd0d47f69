# SPDX-License-Identifier: Apache-2.0
"""Many clips: rows of a table become jobs, and worker processes carry them out, each once (README.md)."""
