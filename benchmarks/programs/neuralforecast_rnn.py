# SPDX-License-Identifier: Apache-2.0
"""neuralforecast's RNN, LSTM and GRU on a series, as its examples do. It knows nothing of elman.

Out: JSON with the forecasts of each model, and the CPU seconds of training and forecasting.
"""

import json
import logging
import time

import numpy as np
import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.models import GRU, LSTM, RNN

logging.disable(logging.WARNING)
t = np.arange(600)
table = pd.DataFrame(
    {
        "unique_id": "a",
        "ds": pd.date_range("2020-01-01", periods=len(t), freq="D"),
        "y": np.sin(t / 6) + 0.3 * np.cos(t / 17),
    }
)
quiet = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False, "accelerator": "cpu"}
parts = {}
for kind in (RNN, LSTM, GRU):
    model = kind(
        h=12,
        input_size=48,
        encoder_hidden_size=64,
        encoder_n_layers=2,
        max_steps=40,
        random_seed=1,
        enable_model_summary=False,
        **quiet,
    )
    begin = time.process_time()
    forecaster = NeuralForecast([model], freq="D")
    forecaster.fit(table)
    forecast = forecaster.predict()
    seconds = time.process_time() - begin
    parts[f"neuralforecast, {kind.__name__}"] = {"numbers": forecast[kind.__name__].tolist(), "seconds": seconds}
print(json.dumps({"parts": parts}))
