# SPDX-License-Identifier: Apache-2.0
"""The claims by number. A new one is a module with an `EXPERIMENT`, and a row here."""

from __future__ import annotations

from elman.claims import misuse, order, recurrence
from elman.claims.claim import Experiment

EXPERIMENTS: dict[int, Experiment] = {
    1: recurrence.COMPUTES,
    2: recurrence.SHAPES,
    3: order.EXPERIMENT,
    4: misuse.STACKS,
    5: misuse.ROWS,
}
