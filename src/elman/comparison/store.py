# SPDX-License-Identifier: Apache-2.0
"""The outcomes of jobs in the folder of a run, each in a file that is written when the job ends, whole or not at all.

In: a folder. Out: outcomes. A comparison that was killed finds those that it had, and does the rest.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from elman import checkpoint, files
from elman.comparison.jobs import Job, Outcome
from elman.errors import DataError
from elman.forecasting.run import OUTCOMES, is_intact, read_json, signed

RESULT, PAGE = "comparison.json", "report.html"


class Store:
    """The outcomes in a folder.

    Args:
        folder: The folder of the run, which exists.
        fresh: Whether to remove what is there.
    """

    def __init__(self, folder: Path, *, fresh: bool) -> None:
        self.folder, self.outcomes = folder, folder / OUTCOMES
        with files.file_errors(folder):
            if fresh:
                for name in (RESULT, PAGE):
                    (folder / name).unlink(missing_ok=True)
                self.clear()
            self.outcomes.mkdir(exist_ok=True)
        files.clear(self.outcomes)

    def get(self, job: Job) -> Outcome | None:
        """The outcome of a job, if it has been done. A damaged file is removed, and the job is done again."""
        path = self._path(job)
        if not path.exists():
            return None
        try:
            arrays, texts = checkpoint.read(path, "It is removed.")
        except DataError:
            path.unlink()
            return None
        return Outcome(arrays["predictions"], json.loads(texts["facts"]))

    def put(self, job: Job, outcome: Outcome) -> None:
        """Writes an outcome."""
        checkpoint.write(self._path(job), {"predictions": outcome.predictions}, {"facts": json.dumps(outcome.facts)})

    def _path(self, job: Job) -> Path:
        return self.outcomes / f"{job.name}.safetensors"

    def clear(self) -> None:
        """Removes all outcomes."""
        for path in self.outcomes.glob("*-seed-*.safetensors"):
            path.unlink()
        with contextlib.suppress(OSError):  # not empty: somebody else uses it
            self.outcomes.rmdir()

    def finished(self) -> dict[str, Any] | None:
        """The data of a comparison that ran to its end; `None` if it did not, or if the file is damaged."""
        data = read_json(self.folder / RESULT)
        return data if data is not None and is_intact(data) else None

    def finish(self, data: dict[str, Any]) -> dict[str, Any]:
        """Writes the data of the comparison, with a checksum, and returns what is written."""
        whole = signed(data)
        files.write(self.folder / RESULT, json.dumps(whole, indent=2, allow_nan=False) + "\n")
        return whole
