# SPDX-License-Identifier: Apache-2.0
"""What a Keras model computes, for the check at the end of a conversion."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from elman.models import accelerate


def outputs(model: Any, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The outputs of a model of one input and one output, as in inference.

    Keras's own loops multiply float64 in float32 on PyTorch, fail in float64 on JAX, and are compiled again at each
    call on JAX (`elman.stock_defects`). There, a copy with elman's layers computes.
    """
    if keras.config.backend() == "jax" or dtype == np.float64:
        model = accelerate(keras.Model(model.inputs[0], model.outputs[0]))  # this view of it is not compiled
    return np.asarray(keras.ops.convert_to_numpy(model(x, training=False)))
