# SPDX-License-Identifier: Apache-2.0
"""What `import elman` adds to NumPy's own import, in empty processes.

    python benchmarks/import_time.py

In: nothing. Out: one JSON object, medians over processes that take turns.
"""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

ROUNDS = 25
CODE = "import time; import numpy; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def seconds(module: str) -> float:
    """How long one import takes where NumPy is loaded already."""
    command = [sys.executable, "-c", CODE.format(module)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measures and prints."""
    found = sorted(seconds("elman") for _ in range(ROUNDS))
    print(json.dumps({"seconds_beyond_numpy": round(median(found), 4), "slowest": round(found[-1], 4)}))


if __name__ == "__main__":
    main()
