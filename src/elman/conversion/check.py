# SPDX-License-Identifier: Apache-2.0
"""What every conversion ends with: both sides compute the same random input, and a difference is an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.network import Embedding, Latest, Mask, Network

Array = np.ndarray
_EXAMPLES, _STEPS = 3, 7  # few, yet enough for every weight to act on every other


def random_input(network: Network, shape: Sequence[int | None], steps: int = _STEPS) -> Array:
    """A batch that the network takes, the same each time. Some of its steps are not valid where a `Mask` may see it.

    Args:
        network: A built network.
        shape: Of the input, without the batch; what is `None` is free.
        steps: Least number of them where the number is free.
    """
    rng = np.random.default_rng(0)
    steps = max([steps, *(each.layer.steps for each in network.bound if isinstance(each.layer, Latest))])
    size = [_EXAMPLES, *(steps if axis is None else axis for axis in shape)]
    if network.takes_integers:
        sizes = [each.layer.size for each in network.bound if isinstance(each.layer, Embedding)]
        return rng.integers(0, min(sizes), size).astype("int32")
    x = rng.normal(size=size).astype(network.dtype)
    for each in network.bound:
        if isinstance(each.layer, Mask):
            x[rng.random(size[:2]) < 0.3] = each.layer.value
    return x


def check_same(what: str, expected: Any, got: Array, dtype: np.dtype) -> None:
    """Compares the results of both sides.

    They may differ by the square root of the dtype's epsilon times the largest value: half of the digits. Two correct
    computations differ by rounding, which changes a few digits. If two gates are swapped, no digit agrees.

    Args:
        what: The two sides, as the message names them.
        expected: Results of the side that is converted.
        got: Results of the other one.
        dtype: Of the computation.

    Raises:
        RuntimeError: If they differ by more, or are not finite.
    """
    expected = np.asarray(expected)
    largest = float(np.abs(expected).max(initial=0))
    limit = float(np.sqrt(np.finfo(dtype).eps)) * largest
    error = float(np.abs(got - expected).max(initial=0)) if got.shape == expected.shape else np.inf
    if not error <= limit:  # also if it is NaN
        raise RuntimeError(
            f"{what} compute different results from random input: their outputs, of shapes {expected.shape} and "
            f"{got.shape}, differ by {error:.3g}; expected at most {limit:.3g}, half of the digits of the largest "
            "value. Nothing is returned. Look for weights that are not finite, and for a mask that only one branch of "
            "a sum or a concatenation has. Otherwise report the model."
        )
