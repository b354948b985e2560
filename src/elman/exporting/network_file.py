# SPDX-License-Identifier: Apache-2.0
"""A network as elman's own file; see `elman.network.files`."""

from __future__ import annotations

from pathlib import Path

from elman.exporting.found import Exported
from elman.network import Network


def write(network: Network, path: Path) -> Exported:
    """Writes the file that `Network.load` reads."""
    network.save(path)
    return Exported(path, path.stat().st_size, 0.0)
