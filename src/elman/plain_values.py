# SPDX-License-Identifier: Apache-2.0
"""Values as JSON can hold them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """A value as JSON can hold it.

    Dictionaries, lists and tuples are converted item by item. NaN and infinities become `None`, NumPy numbers become
    Python numbers, and any other object becomes its text.
    """
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
