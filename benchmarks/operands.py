# SPDX-License-Identifier: Apache-2.0
"""What a mask, left padding and dropout masks cost the native call.

    python benchmarks/operands.py

In: nothing. Out: one JSON object: per shape, the median over rounds of a call's time over that of the call without. A
forward is one call, forward and backward are two. Results are compared with the reference first.
"""

from __future__ import annotations

import json
import time
from statistics import median

import numpy as np

from elman import _native, _numpy, reference
from elman.bench.shapes import DEFAULT
from elman.operands import Operands
from elman.options import Options

ROUNDS = 40
SECONDS = 0.004  # of one timing, at least
SHAPES = (*DEFAULT, (32, 29, 12, 64))
ALLOWED = 1e-3  # of the largest value: a wrong result is not timed

Array = np.ndarray


def operands(shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, Operands]:
    """The operands of each variant."""
    batch, steps, features, units = shape

    def array(*sizes: int, scale: float = 1.0) -> Array:
        return (scale * rng.normal(size=sizes)).astype("float32")

    def dropout(*sizes: int) -> Array:
        return ((rng.random(sizes) < 0.8) / 0.8).astype("float32")

    weights = array(features, units, scale=0.1), array(units, units, scale=0.5 / units**0.5), array(units)
    plain = Operands(array(batch, steps, features), *weights)
    full = np.ones((batch, steps), bool)
    padding = np.arange(steps) >= rng.integers(0, steps // 2 + 1, (batch, 1))
    x_mask, h_mask = dropout(1, batch, features), dropout(1, batch, units)
    return {
        "plain": plain,
        "mask, every step valid": plain._replace(mask=full),
        "mask with holes": plain._replace(mask=rng.random((batch, steps)) < 0.9),
        "left padding": plain._replace(mask=padding),
        "dropout": plain._replace(input_dropout=x_mask),
        "recurrent_dropout": plain._replace(recurrent_dropout=h_mask),
    }


def forward(given: Operands) -> Array:
    """One native forward, no tape."""
    return _numpy.forward(Options(), given, keep_tape=False)[0]


def forward_backward(given: Operands) -> None:
    """One native forward and one backward, every gradient wanted."""
    y, _, tape = _numpy.forward(Options(), given, keep_tape=True)
    _numpy.backward(Options(), given, y, tape, y, (None,))


def check(given: Operands) -> None:
    """Compares with the reference."""
    wide = [a.astype("float64") if isinstance(a, np.ndarray) and a.dtype == np.float32 else a for a in given]
    truth = reference.forward(*wide)[0]
    assert np.abs(forward(given) - truth).max() <= ALLOWED * np.abs(truth).max()


def ratios(shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Per pass and variant, its time over the plain call's."""
    variants = operands(shape, rng)
    for given in variants.values():
        check(given)
    found = {}
    for call in (forward, forward_backward):
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        start = time.perf_counter()
        call(variants["plain"])
        calls = max(1, round(SECONDS / (time.perf_counter() - start)))
        for _ in range(ROUNDS):
            for name, given in variants.items():
                start = time.perf_counter()
                for _ in range(calls):
                    call(given)
                seconds[name].append(time.perf_counter() - start)
        plain = median(seconds.pop("plain"))
        found[call.__name__] = {name: round(median(each) / plain, 3) for name, each in seconds.items()}
    return found


def main() -> None:
    """Measures and prints."""
    rng = np.random.default_rng(0)
    rows = {"x".join(map(str, shape)): ratios(tuple(shape), rng) for shape in SHAPES}
    largest = max(value for row in rows.values() for each in row.values() for value in each.values())
    print(json.dumps({"isa": _native.environment().isa, "ratios": rows, "largest": largest}))


if __name__ == "__main__":
    main()
