# SPDX-License-Identifier: Apache-2.0
"""Darts' RNNModel and BlockRNNModel on a series, as its examples do. It knows nothing of elman.

Out: JSON with the forecasts of each model, and the CPU seconds of training and forecasting.
"""

import json
import logging
import time

import numpy as np
import torch
from darts import TimeSeries
from darts.models import BlockRNNModel, RNNModel

logging.disable(logging.WARNING)
t = np.arange(600)
series = TimeSeries.from_values((np.sin(t / 6) + 0.3 * np.cos(t / 17)).astype("float32"))
quiet = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False, "enable_checkpointing": False}
parts = {}
for kind in ("RNN", "LSTM", "GRU"):
    for model_class, options in ((RNNModel, {"training_length": 48}), (BlockRNNModel, {"output_chunk_length": 12})):
        torch.manual_seed(0)
        model = model_class(
            model=kind,
            input_chunk_length=36,
            hidden_dim=32,
            n_epochs=2,
            batch_size=32,
            random_state=0,
            pl_trainer_kwargs=quiet | {"enable_model_summary": False},
            **options,
        )
        begin = time.process_time()
        model.fit(series)
        forecast = model.predict(24)
        seconds = time.process_time() - begin
        name = f"Darts, {model_class.__name__} with {kind}"
        parts[name] = {"numbers": forecast.values().ravel().tolist(), "seconds": seconds}
print(json.dumps({"parts": parts}))
