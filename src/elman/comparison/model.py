# SPDX-License-Identifier: Apache-2.0
"""What a candidate returns when it has been fitted to a fold: a function, and what it costs.

In: nothing. Out: records that the tasks, the candidates and the jobs share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from elman.network import Network

Array = np.ndarray
_BYTES = 4  # of a float32
_DIAGNOSED, _LEAST = 256, 2  # examples on which memory is measured, at most and at least


class Unfit(ValueError):
    """A candidate that does not apply to the data; it is skipped, with the reason."""


class Choice(NamedTuple):
    """What the search of a network decides; the defaults are its first trial.

    Attributes:
        units: Size of the hidden or the recurrent layer.
        learning_rate: Of Adam.
    """

    units: int = 16
    learning_rate: float = 3e-3


class Model(NamedTuple):
    """A fitted candidate.

    Attributes:
        predict: From some examples of its fold to `(examples, outputs)`: values in the target's units, or the
            probabilities of the classes.
        parameters: Numbers that were fitted.
        state: Numbers that a C header keeps from row to row; `None` where elman writes no such header.
        about: What was decided while fitting, as plain data.
        horizon: Measures how many steps a recurrent network looks back on the test part; `None` for other models.
        loss: The validation loss, by which a search chooses.
        network: What was trained, for a candidate that is one network.
    """

    predict: Callable[[Any], Array]
    parameters: int
    state: int | None = 0
    about: Mapping[str, Any] = MappingProxyType({})
    horizon: Callable[[], int | None] | None = None
    loss: float = float("nan")
    network: Network | None = None

    @property
    def header_bytes(self) -> int | None:
        """Bytes of the numbers in a C header: weights and state, in float32."""
        return None if self.state is None else _BYTES * (self.parameters + self.state)


def horizon_of(network: Any, x: Array, y: Array | None) -> int | None:
    """How many steps a network looks back; `None` if there are too few examples or steps, or no differences."""
    import elman
    from elman.diagnosis.measure import is_constant

    some = np.linspace(0, len(x) - 1, min(len(x), _DIAGNOSED), dtype=int)
    if len(x) < _LEAST or x.shape[1] < _LEAST or (y is not None and not np.ptp(y[some], axis=0).any()):
        return None
    if y is None and is_constant(network(x[some])):
        return None
    return elman.diagnose(network, x[some], None if y is None else y[some]).horizon
