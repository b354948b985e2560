# SPDX-License-Identifier: Apache-2.0
"""The claims by number. A new one is a module with an `EXPERIMENT`, and a row here."""

from __future__ import annotations

from elman.claims import order
from elman.claims.claim import Experiment

EXPERIMENTS: dict[int, Experiment] = {
    3: order.EXPERIMENT,
}
