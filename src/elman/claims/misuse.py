# SPDX-License-Identifier: Apache-2.0
"""Claims 4 and 5: how layers stack, and rows where sequences are expected. Nothing is trained."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np

from elman.claims.cells import CELLS
from elman.claims.claim import FAILS, HOLDS, Experiment, Findings
from elman.claims.estimates import mean, number
from elman.claims.runs import Runs
from elman.network import LAYERS, Network

_RESHAPE = re.compile(r"x\.reshape\((-?\d+), (\d+), (\d+)\)")


def _layer(name: str, units: int, return_sequences: bool) -> Any:
    if name in CELLS:
        return CELLS[name](units, return_sequences=return_sequences)
    other: Any = LAYERS[name]
    return other(units)


def stacks(
    runs: Runs,
    *,
    lower: str = "SimpleRNN",
    upper: str = "SimpleRNN",
    depths: tuple[int, ...] = (2, 3, 4),
    units: int = 4,
) -> Findings:
    """Builds stacks of every depth, with every choice of return_sequences for each layer.

    Args:
        runs: The seeds; they draw the input.
        lower: Name of all layers but the last.
        upper: Name of the last layer.
        depths: Numbers of layers.
        units: Units of each.
    """
    choices = [each for depth in depths for each in itertools.product((False, True), repeat=depth)]

    def outcome(seed: int) -> tuple[float, float]:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(2, 5, 3))
        as_said = named = refused = 0
        for flags in choices:
            network = Network([_layer(lower, units, flag) for flag in flags[:-1]] + [_layer(upper, units, flags[-1])])
            wanted = all(flags[:-1])
            try:
                network(x)
            except ValueError as error:
                as_said += not wanted
                refused += 1
                named += _names_the_mistake(str(error))
            else:
                as_said += wanted
        return as_said / len(choices), named / max(refused, 1)

    found = runs.each(outcome)
    figures = [
        mean("share of stacks that are built exactly if all but the last return sequences", found[:, 0]),
        mean("share of errors that name both layers and return_sequences=True", found[:, 1]),
    ]
    verdict = HOLDS if all(figure.estimate == 1 for figure in figures) else FAILS
    because = (
        f"{number(100 * figures[0].estimate)} % of {len(choices)} stacks behave as is said, and "
        f"{number(100 * figures[1].estimate)} % of the errors name both layers and the argument."
    )
    return Findings(verdict, because, figures)


def _names_the_mistake(error: str) -> bool:
    """Whether an error names the layer that got the wrong input, the one that made it, and what to set."""
    found = re.search(r"^(\w+) got .* from (\w+),.* Give (\w+) return_sequences=True", error)
    return found is not None and found[1] != found[2] == found[3]


STACKS: Experiment = Experiment(
    title="stacking needs return_sequences",
    statement="Layers stack only if all but the last return sequences; forgetting it is a shape error.",
    prediction="A stack is built exactly if every layer but the last has return_sequences=True; every other one is an "
    "error that names both layers and the argument.",
    rule="It holds if that is so for every stack.",
    measure=stacks,
)


def rows(runs: Runs, *, layer: str = "SimpleRNN", features: tuple[int, ...] = (2, 5, 20), units: int = 4) -> Findings:
    """Passes (batch, features) to a network that begins with a layer, and does what the error says.

    Args:
        runs: The seeds; they draw the input.
        layer: Name of the layer.
        features: Lengths of the rows.
        units: Units of the layer.
    """

    def outcome(length: int, seed: int) -> tuple[float, float, float]:
        x = np.random.default_rng(seed).normal(size=(6, length))
        try:
            Network([_layer(layer, units, return_sequences=False)])(x)
        except ValueError as error:
            text = str(error)
        else:
            return 0.0, 0.0, 0.0
        shown = f"(batch, {length})" in text and "(batch, time, features)" in text
        shapes = [tuple(map(int, found)) for found in _RESHAPE.findall(text)]
        works = [Network([_layer(layer, units, return_sequences=False)])(x.reshape(each)).shape for each in shapes]
        return 1.0, float(shown), float(set(shapes) == {(-1, length, 1), (-1, 1, length)} and len(works) == 2)

    found = np.concatenate(runs.grid(outcome, list(features)))
    figures = [
        mean("share of inputs (batch, features) that are refused", found[:, 0]),
        mean("share of errors with the shape that came and the one that is expected", found[:, 1]),
        mean("share of errors whose two reshapes both run", found[:, 2]),
    ]
    verdict = HOLDS if all(figure.estimate == 1 for figure in figures) else FAILS
    refused, _, fixed = (number(100 * figure.estimate) for figure in figures)
    because = (
        f"{refused} % of the inputs are refused, and for {fixed} % the error gives a reshape for each intent, and "
        f"both run. How common the mistake is among people was not measured."
    )
    return Findings(verdict, because, figures)


ROWS: Experiment = Experiment(
    title="rows are not sequences",
    statement="Feeding (batch, features) is a mistake, the commonest one: the layer wants (batch, time, features).",
    prediction="Such an input is refused. The error shows the shape that came and the one that is expected, and a "
    "reshape for each of the two likely intents, and both run.",
    rule="It holds if that is so for every length of a row.",
    measure=rows,
)
