# SPDX-License-Identifier: Apache-2.0
"""The same network in another floating type, or with other weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elman.network import Network


def twin(network: Network, dtype: str = "float32", weights: Mapping[str, Any] | None = None) -> Network:
    """A network of the same layers.

    Args:
        network: The network.
        dtype: `"float32"` or `"float64"`.
        weights: Its weights, by name; `None`: those of `network`.
    """
    other = Network([network.layers], input_shape=network.input_shape, dtype=dtype)
    other.set_weights(network.weights if weights is None else weights)
    return other
