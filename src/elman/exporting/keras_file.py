# SPDX-License-Identifier: Apache-2.0
"""A network as a Keras model of stock classes, in a `.keras` file whose bytes do not depend on the clock."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

from elman import files
from elman.exporting.found import Exported
from elman.network import Network
from elman.stream.sources import need_keras

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP archive can hold


def write(network: Network, path: Path) -> Exported:
    """Writes the model of `Network.to_keras`, which compares itself with the network."""
    need_keras(path)
    model = network.to_keras()
    files.write_with(path, lambda to: save(model, to))
    return Exported(path, path.stat().st_size, None)


def save(model: Any, path: Path) -> None:
    """Writes a `.keras` file with a fixed date. Keras uses the clock, and fails if that is before 1980."""
    with tempfile.TemporaryDirectory() as folder:
        parts = Path(folder, "model")
        model.save(parts, zipped=False)
        with zipfile.ZipFile(path, "w") as archive:
            for part in sorted(path for path in parts.rglob("*") if path.is_file()):
                archive.writestr(zipfile.ZipInfo(part.relative_to(parts).as_posix(), _DATE), part.read_bytes())
