# SPDX-License-Identifier: Apache-2.0
"""The claims by number. A new one is a module with an `EXPERIMENT`, and a row here."""

from __future__ import annotations

from elman.claims import against, capacity, forgetting, gates, misuse, order, practice, recurrence, stability
from elman.claims.claim import Experiment

EXPERIMENTS: dict[int, Experiment] = {
    1: recurrence.COMPUTES,
    2: recurrence.SHAPES,
    3: order.EXPERIMENT,
    4: misuse.STACKS,
    5: misuse.ROWS,
    6: forgetting.FORGETS,
    7: forgetting.LONGER,
    8: stability.CLIPPING,
    9: stability.INITIALISATION,
    10: stability.LEARNING_RATE,
    11: capacity.UNITS,
    12: stability.ACTIVATIONS,
    13: capacity.INITIAL_STATE,
    14: gates.EXPERIMENT,
    15: against.FEED_FORWARD,
    16: against.MARKOV,
    17: practice.EXPERIMENT,
}
