# SPDX-License-Identifier: Apache-2.0
"""python tests/support/cuda_on_cpu FOLDER [COMPILER FLAGS]"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from cuda_on_cpu import build

build(Path(sys.argv[1]), " ".join(sys.argv[2:]))
