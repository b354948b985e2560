# SPDX-License-Identifier: Apache-2.0
"""What another build of the native library takes, compared with the installed one.

    python benchmarks/compilers.py build/zig/site/elman/libelman.so

In: the path of the other library. Out: one JSON object: per shape of `elman bench`, the median over rounds of the other
library's time over the installed one's, for a forward and for both passes, and their geometric means. They take
turns in one process, on one thread. Results are compared with the reference first.
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
from elman.bench.shapes import DEFAULT, Shape
from elman.options import Options

ROUNDS = 15
SECONDS = 0.02  # of one timing, at least
ALLOWED = 1e-3  # of the largest value: a wrong result is not timed

Array = np.ndarray


def calls(library: ctypes.CDLL, shape: Shape) -> tuple[Callable[[], None], Callable[[], None]]:
    """A forward and a backward of the library at a shape, whose results are right."""
    batch, steps, features, units = shape
    rng = np.random.default_rng(0)
    sizes = ((batch, steps, features), (features, units), (units, units), (units,), (batch, steps, units))
    x, kernel, recurrent, bias, dy = ((rng.normal(size=size) / size[0] ** 0.5).astype("float32") for size in sizes)
    y, last, start = np.empty_like(dy), np.empty((batch, units), "float32"), np.empty((batch, units), "float32")
    gradients = [np.empty_like(array) for array in (x, kernel, recurrent, bias)]
    spec = _native.spec(Options(), batch, steps, features, units, "float32")
    inputs = [spec.address, *(array.ctypes.data for array in (x, kernel, recurrent, bias)), 0, 0, 0, 0, 0]
    arrays = (x, kernel, recurrent, bias, dy, y, last, start, gradients, spec)  # live as long as the calls
    forward = _native.pack_forward(*inputs, y.ctypes.data, last.ctypes.data, 0, 0)
    results = (*(array.ctypes.data for array in gradients), start.ctypes.data, 0, 0)
    backward = _native._BACKWARD.pack(*inputs, y.ctypes.data, 0, dy.ctypes.data, 0, 0, *results)

    def run(function: Callable[[bytes], int], call: bytes, kept: object = arrays) -> None:
        if function(call):
            raise SystemExit(f"the call failed at {shape}")

    run(library.elman_forward, forward)
    run(library.elman_backward, backward)
    truth, _, tape = reference.forward(x, kernel, recurrent, bias, (), None, None, None, options=Options())
    expected = reference.backward(
        x, kernel, recurrent, bias, (), None, None, None, tape, dy, (np.zeros_like(last),), options=Options()
    )
    for got, right in ((y, truth), (gradients[2], expected.drecurrent_kernel)):
        if np.max(np.abs(got - right)) > ALLOWED * np.max(np.abs(right)):
            raise SystemExit(f"a result of {library._name} is wrong at {shape}")
    return lambda: run(library.elman_forward, forward), lambda: run(library.elman_backward, backward)


def seconds(call: Callable[[], None], repeats: int) -> float:
    """Mean seconds of a call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def ratios(libraries: list[ctypes.CDLL], shape: Shape) -> dict[str, float]:
    """The other library's time over that of the installed one at a shape."""
    both = [calls(library, shape) for library in libraries]
    found: dict[str, list[float]] = {"forward": [], "forward_backward": []}
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
    shapes = {str(shape): ratios(libraries, shape) for shape in DEFAULT}
    means = {name: geometric_mean(each[name] for each in shapes.values()) for name in ("forward", "forward_backward")}
    print(json.dumps({"isa": libraries[0].elman_isa().decode(), "geometric_mean": means, "shapes": shapes}))


if __name__ == "__main__":
    main(sys.argv[1])
