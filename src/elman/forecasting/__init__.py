# SPDX-License-Identifier: Apache-2.0
"""From a table to a forecaster: reading and checking, baselines, training that survives, an honest report.

`fit.fit` and `predict.predict` are the ways in, `Run` is what comes out. Keras is not imported.
"""

from elman.errors import DataError
from elman.forecasting.run import Run

__all__ = ["DataError", "Run"]
