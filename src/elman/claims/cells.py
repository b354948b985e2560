# SPDX-License-Identifier: Apache-2.0
"""The three recurrent layers by name, and how many units of each make the same number of parameters."""

from __future__ import annotations

from elman.network import GRU, LSTM, Network, SimpleRNN
from elman.network.recurrent import Recurrent

CELLS: dict[str, type[Recurrent]] = {"SimpleRNN": SimpleRNN, "LSTM": LSTM, "GRU": GRU}


def parameters(cell: str, units: int, features: int) -> int:
    """How many numbers a layer trains."""
    network = Network([CELLS[cell](units)])
    return sum(rows * columns for rows, columns in (_two(s) for s in network.weight_shapes((None, features)).values()))


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[0], shape[1]) if len(shape) == 2 else (1, shape[0])


def units_of_as_many(cell: str, units: int, features: int) -> int:
    """The units of a cell that has about as many parameters as a SimpleRNN of `units` units.

    Args:
        cell: Name of the cell.
        units: Units of the SimpleRNN.
        features: Features of the input.
    """
    wanted = parameters("SimpleRNN", units, features)
    return min(range(1, units + 1), key=lambda size: abs(parameters(cell, size, features) - wanted))
