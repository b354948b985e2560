# SPDX-License-Identifier: Apache-2.0
"""How far figures of held-out data can be trusted: intervals of errors, intervals of forecasts, and rolling origins.

In: arrays of losses or of errors, in order of time. Out: numbers. Nothing here knows a table, a network or a report.
"""

from elman.assessment.bootstrap import (
    LEAST_EFFECTIVE,
    Interval,
    block_length,
    by_moment,
    effective_windows,
    ratio_interval,
    rmse_interval,
    share_of_draws_below,
    windows_needed,
)
from elman.assessment.conformal import Conformal, coverage_ahead
from elman.assessment.origins import Origin, rolling_origins

__all__ = [
    "LEAST_EFFECTIVE",
    "Conformal",
    "Interval",
    "Origin",
    "block_length",
    "by_moment",
    "coverage_ahead",
    "effective_windows",
    "ratio_interval",
    "rmse_interval",
    "rolling_origins",
    "share_of_draws_below",
    "windows_needed",
]
