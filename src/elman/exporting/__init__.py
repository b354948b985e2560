# SPDX-License-Identifier: Apache-2.0
"""A network as a file that other programs run: `elman.export`. In: a network. Out: a file, checked against it."""

from elman.exporting.export import export
from elman.exporting.found import Exported

__all__ = ["Exported", "export"]
