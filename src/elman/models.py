# SPDX-License-Identifier: Apache-2.0
"""Whole models: what their recurrent layers ran on, and the same model with elman's layers or with Keras's own."""

from __future__ import annotations

from typing import Any

import keras


def load_model(filepath: Any, *args: Any, **kwargs: Any) -> Any:
    """As `keras.models.load_model`, which works too after `import elman`."""
    return keras.models.load_model(filepath, *args, **kwargs)
