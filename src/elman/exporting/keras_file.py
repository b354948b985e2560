# SPDX-License-Identifier: Apache-2.0
"""Writes a Keras model to a `.keras` file whose bytes do not depend on the clock."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP archive can hold


def save(model: Any, path: Path) -> None:
    """Writes a `.keras` file with a fixed date. Keras uses the clock, and fails if that is before 1980."""
    with tempfile.TemporaryDirectory() as folder:
        parts = Path(folder, "model")
        model.save(parts, zipped=False)
        with zipfile.ZipFile(path, "w") as archive:
            for part in sorted(path for path in parts.rglob("*") if path.is_file()):
                archive.writestr(zipfile.ZipInfo(part.relative_to(parts).as_posix(), _DATE), part.read_bytes())
