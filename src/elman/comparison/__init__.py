# SPDX-License-Identifier: Apache-2.0
"""Compares models of many kinds on the user's own data: `compare` and what it returns, `Comparison`.

A candidate is a row of `candidates.CANDIDATES`, a task a module.
"""

from elman.comparison.compare import compare
from elman.comparison.result import Comparison

__all__ = ["Comparison", "compare"]
