# SPDX-License-Identifier: Apache-2.0
"""What another build of the native library takes, compared with the installed one.

    python benchmarks/compilers.py build/zig/site/elman/libelman.so

In: the path of the other library. Out: one JSON object: per cell and per shape of `elman bench`, the median over
rounds of the other library's time over the installed one's, for a forward and for both passes, and their geometric
means. They take turns in one process, on one thread. Results are compared with the reference first.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Callable
from statistics import geometric_mean, median

import numpy as np

from elman import _native, reference
from elman.bench.shapes import DEFAULT, PASSES, Array, Shape, problem
from elman.cells import CELLS
from elman.options import Options

ROUNDS = 15
SECONDS = 0.02  # of one timing, at least
ALLOWED = 1e-3  # of the largest value: a wrong result is not timed


def calls(library: ctypes.CDLL, shape: Shape, cell: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """A forward and a backward of the library at a shape, whose results are right."""
    drawn, options, states = problem(shape, 0, cell), Options(cell), len(CELLS[cell].states)
    x, kernel, recurrent, bias, dy = drawn.arrays
    spec = _native.spec(options, *shape, "float32")
    y, tape = np.empty_like(dy), np.empty((*x.shape[:2], spec.tape_columns), "float32")
    last, start = (np.empty((2, *spec.state_shape), "float32") for _ in range(2))
    gradients = [np.empty_like(array) for array in (x, kernel, recurrent, bias)]
    kept = (drawn, spec, y, tape, last, start, gradients)  # live as long as the calls

    def pair(array: Array) -> tuple[int, int]:
        return array[0].ctypes.data, array[1].ctypes.data if states > 1 else 0

    inputs = [spec.address, *(array.ctypes.data for array in (x, *drawn.weights)), 0, 0, 0, 0, 0]
    forward = _native.pack_forward(*inputs, y.ctypes.data, *pair(last), tape.ctypes.data)
    results = (*(array.ctypes.data for array in gradients), *pair(start), 0)
    backward = _native._BACKWARD.pack(*inputs, y.ctypes.data, tape.ctypes.data, dy.ctypes.data, 0, 0, *results)

    def run(function: Callable[[bytes], int], call: bytes, kept: object = kept) -> None:
        if function(call):
            raise SystemExit(f"the call failed at {shape}")

    run(library.elman_forward, forward)
    run(library.elman_backward, backward)
    none = (None,) * 3
    truth, finals, truth_tape = reference.forward(x, *drawn.weights, (), *none, options=options)
    zeros = tuple(map(np.zeros_like, finals))
    expected = reference.backward(x, *drawn.weights, (), *none, truth_tape, dy, zeros, options=options)
    for got, right in ((y, truth), (gradients[2], expected.drecurrent_kernel)):
        if np.max(np.abs(got - right)) > ALLOWED * np.max(np.abs(right)):
            raise SystemExit(f"a result of {library._name} is wrong at {shape}, {cell}")
    return lambda: run(library.elman_forward, forward), lambda: run(library.elman_backward, backward)


def seconds(call: Callable[[], None], repeats: int) -> float:
    """Mean seconds of a call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def ratios(libraries: list[ctypes.CDLL], shape: Shape, cell: str) -> dict[str, float]:
    """The other library's time over that of the installed one at a shape."""
    both = [calls(library, shape, cell) for library in libraries]
    found: dict[str, list[float]] = {name: [] for name in PASSES}
    repeats = [max(1, int(SECONDS / seconds(call, 3))) for call in both[0]]
    for turn in range(ROUNDS):
        order = both if turn % 2 else both[::-1]
        times = {id(pair): [seconds(call, n) for call, n in zip(pair, repeats, strict=True)] for pair in order}
        installed, other = times[id(both[0])], times[id(both[1])]
        found["forward"].append(other[0] / installed[0])
        found["forward_backward"].append(sum(other) / sum(installed))
    return {name: median(values) for name, values in found.items()}


def main(path: str) -> None:
    """Prints the ratios."""
    other = ctypes.CDLL(path)
    for name in ("elman_forward", "elman_backward"):
        getattr(other, name).argtypes = [ctypes.c_char_p]
    libraries = [_native.library(), other]
    for library in libraries:
        library.elman_set_num_threads(1)
    found = {"isa": libraries[0].elman_isa().decode(), "cells": {}}
    for cell in CELLS:
        shapes = {str(shape): ratios(libraries, shape, cell) for shape in DEFAULT}
        means = {name: geometric_mean(each[name] for each in shapes.values()) for name in PASSES}
        found["cells"][cell] = {"geometric_mean": means, "shapes": shapes}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
