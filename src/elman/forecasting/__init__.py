# SPDX-License-Identifier: Apache-2.0
"""From a table to a forecaster: reading and checking, baselines, training that survives, an honest report.

`fit` and `predict` are the ways in, `Run` is what comes out. Keras is imported after the table has passed every check.
"""

from elman.errors import DataError
from elman.forecasting.fit import fit
from elman.forecasting.predict import predict
from elman.forecasting.run import Run

__all__ = ["DataError", "Run", "fit", "predict"]
