# SPDX-License-Identifier: Apache-2.0
"""Results of a long benchmark, kept one by one, so that a benchmark that was killed goes on where it stopped.

In: the name of the benchmark, and its work in parts. Out: the result of each part, from `build/evaluate/NAME.jsonl` if
it is there. Results of another elman, of other code of the benchmark or of other versions of NumPy are not used.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import elman

FOLDER = Path(__file__).resolve().parents[1] / "build" / "evaluate"


class Results:
    """Results of parts of a benchmark.

    Args:
        name: Of the benchmark.
        code: Its file.
        folder: Where results are kept.
    """

    def __init__(self, name: str, code: str, folder: Path = FOLDER) -> None:
        self.path, self.made_by = folder / f"{name}.jsonl", sources(Path(code))
        self._known = dict(self._read())

    def __call__(self, part: list[Any], work: Callable[[], Any]) -> Any:
        """The result of one part.

        Args:
            part: What tells it from the others, as JSON can hold it.
            work: Makes the result, as JSON can hold it.
        """
        key = json.dumps(part)
        if key not in self._known:
            self._known[key] = work()
            line = json.dumps({"made_by": self.made_by, "part": part, "result": self._known[key]})
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"\n{line}")  # a line that was cut short ends here
            print(f"{self.path.stem}: {key}", file=sys.stderr, flush=True)
        return self._known[key]

    def _read(self) -> list[tuple[str, Any]]:
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # empty, or cut short when the benchmark was killed
                continue
            if row["made_by"] == self.made_by:
                found.append((json.dumps(row["part"]), row["result"]))
        return found


def sources(code: Path) -> str:
    """A hash of all that results depend on: elman, the benchmark, Python and NumPy."""
    package = Path(elman.__file__).parent
    digest = hashlib.sha256(f"{sys.version_info[:2]}{np.__version__}".encode())
    for path in [code, *sorted(each for kind in ("*.py", "*.so") for each in package.rglob(kind))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()
