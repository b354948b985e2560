# SPDX-License-Identifier: Apache-2.0
"""`elman.fit` and `elman.predict` for every task: forecasts, labels of sequences, and labels of texts.

`fit` and `predict` are the ways in; they pass a forecast on to `elman.forecasting`. What classifies is fitted here,
with the candidates, the folds and the tests of `elman.comparison`, and comes out as a `ClassifierRun`.
"""

from elman.fitting.fit import fit
from elman.fitting.predict import predict

__all__ = ["fit", "predict"]
