# SPDX-License-Identifier: Apache-2.0
"""One row through SimpleRNN(32) + Dense(1) with 8 features: `Stream.step` against what else takes one step.

    python benchmarks/stream.py

In: nothing. Out: one JSON object. Per subject the median over rounds of the time of a step, quartiles and the least,
and how many times elman's they are; the percentiles of a million single steps; the time of a step in a loop inside the
library. The subjects give the same numbers before they are timed, and they take turns, all with one thread.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np

import elman
from elman.bench.clock import busy_cpus, calls_for, seconds_per_call, settle
from elman.network import GRU, LSTM, Dense, Network, SimpleRNN

FEATURES, UNITS = 8, 32
ROUNDS, SECONDS, SINGLE, LOOP = 61, 0.002, 1_000_000, 2_000
ALLOWED = 1e-5
Array = np.ndarray
Step = Callable[[Array], Any]  # takes a row, keeps the state, returns y


def numpy_step(w: dict[str, Array]) -> Step:
    """The plain line."""
    kernel, recurrent, bias, dense, last = w.values()
    h = np.zeros(UNITS, "float32")

    def step(x: Array) -> Array:
        nonlocal h
        h = np.tanh(x @ kernel + h @ recurrent + bias)
        return h @ dense + last

    return step


def jax_step(w: dict[str, Array]) -> Step:
    """One jitted step; its result is waited for, as a user of the number must."""
    import jax
    import jax.numpy as jnp

    kernel, recurrent, bias, dense, last = map(jnp.asarray, w.values())

    @jax.jit
    def one(h: Any, x: Any) -> Any:
        h = jnp.tanh(x @ kernel + h @ recurrent + bias)
        return h, h @ dense + last

    h = jnp.zeros(UNITS)

    def step(x: Array) -> Any:
        nonlocal h
        h, y = one(h, x)
        return y.block_until_ready()

    return step


def torch_step(w: dict[str, Array]) -> Step:
    """`torch.nn.RNNCell` and `Linear` without gradients."""
    import torch

    torch.set_num_threads(1)
    cell, linear = torch.nn.RNNCell(FEATURES, UNITS), torch.nn.Linear(UNITS, 1)
    kernel, recurrent, bias, dense, last = map(torch.from_numpy, w.values())
    with torch.no_grad():
        cell.weight_ih.copy_(kernel.T)
        cell.weight_hh.copy_(recurrent.T)
        cell.bias_ih.copy_(bias)
        cell.bias_hh.zero_()
        linear.weight.copy_(dense.T)
        linear.bias.copy_(last)
    h = torch.zeros(UNITS)

    @torch.inference_mode()
    def step(x: Array) -> Any:
        nonlocal h
        h = cell(torch.from_numpy(x), h)
        return linear(h)

    return step


def onnx_step(network: Network) -> Step:
    """ONNX Runtime on the graph of one step."""
    import onnxruntime

    path = Path(tempfile.mkdtemp()) / "step.onnx"
    elman.export(network, path, step=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    row, state = (each.name for each in session.get_inputs())
    h = np.zeros((1, UNITS), "float32")

    def step(x: Array) -> Any:
        nonlocal h
        y, h = session.run(None, {row: x[None], state: h})
        return y[0]

    return step


def elman_step(network: Network) -> Step:
    """A stream that writes to one array."""
    stream, y = elman.Stream(network), np.empty(1, "float32")
    return lambda x, step=stream.step: step(x, y)


def check(subjects: dict[str, Step], network: Network, x: Array) -> None:
    """Raises if a subject differs from the network on the first rows."""
    expected = network(x[None])[0]
    for name, step in subjects.items():
        got = np.stack([np.array(step(row)).reshape(1) for row in x])
        if not np.abs(got - expected).max() <= ALLOWED:
            raise SystemExit(f"{name} differs by {np.abs(got - expected).max()} from the network.")


def times(subjects: dict[str, Step], row: Array) -> dict[str, dict[str, float]]:
    """Microseconds of a step: over rounds the median, the quartiles and the least."""
    calls = {name: (lambda step=step: step(row)) for name, step in subjects.items()}
    counts = {name: calls_for(call, SECONDS) for name, call in calls.items()}
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            settle()  # JAX's threads spin for a while
            found[name].append(1e6 * seconds_per_call(call, counts[name]))
    quartiles = {name: np.percentile(each, (50, 25, 75, 0)).tolist() for name, each in found.items()}
    return {
        name: dict(zip(("median_us", "low_us", "high_us", "least_us"), q, strict=True)) for name, q in quartiles.items()
    }


def single_steps(network: Network, row: Array) -> dict[str, float]:
    """Percentiles of single steps, each with the 50 ns or so that reading the clock takes."""
    step, clock = elman_step(network), time.perf_counter_ns
    found = np.empty(SINGLE)
    for i in range(SINGLE):
        begin = clock()
        step(row)
        found[i] = clock() - begin
    median, most = np.percentile(found, (50, 99.9)) / 1000
    return {"steps": SINGLE, "median_us": median, "p999_us": most, "p999_over_median": most / median}


def loops() -> dict[str, float]:
    """Microseconds of a step of each cell of 32 units in a loop inside the library, the least of the rounds."""
    found = {}
    for kind in (SimpleRNN, GRU, LSTM):
        network = Network([kind(UNITS, return_sequences=True)], input_shape=(None, FEATURES), seed=0)
        x = np.random.default_rng(0).normal(size=(LOOP, FEATURES)).astype("float32")
        stream = elman.Stream(network)
        stream.run(x)
        found[kind.__name__] = (
            min(1e6 * seconds_per_call(lambda s=stream, x=x: s.run(x), 1) for _ in range(ROUNDS)) / LOOP
        )
    return found


def main() -> None:
    """Measures and prints."""
    network = Network([SimpleRNN(UNITS, return_sequences=True), Dense(1)], input_shape=(None, FEATURES), seed=0)
    x = np.random.default_rng(0).normal(size=(50, FEATURES)).astype("float32")
    weights = network.weights
    subjects = {
        "Stream.step": elman_step(network),
        "NumPy": numpy_step(weights),
        "ONNX Runtime": onnx_step(network),
        "JAX, jitted": jax_step(weights),
        "torch.nn.RNNCell": torch_step(weights),
    }
    check(subjects, network, x)
    found = times(subjects, x[0])
    own = found["Stream.step"]
    result = {
        "times": found,
        "over_stream": {name: each["median_us"] / own["median_us"] for name, each in found.items()},
        "least_over_stream": {name: each["least_us"] / own["least_us"] for name, each in found.items()},
        "single": single_steps(network, x[0]),
        "loop_us": loops(),
        "busy_cpus": busy_cpus(),
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
