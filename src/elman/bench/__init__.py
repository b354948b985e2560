# SPDX-License-Identifier: Apache-2.0
"""Times elman's recurrences against stock Keras and torch.nn, in one run, and checks every result first.

In: shapes, backends, a seed. Out: a `Report` of medians, ratios and shares of the machine's peak. One process
per framework, taking turns; none is imported here, and nothing is printed. `elman.bench.train` times training.
"""

from elman.bench.peers import BACKENDS
from elman.bench.report import Report, Table, tables
from elman.bench.run import bench
from elman.bench.shapes import DEFAULT, Shape, parse

__all__ = ["BACKENDS", "DEFAULT", "Report", "Shape", "Table", "bench", "parse", "tables"]
