# SPDX-License-Identifier: Apache-2.0
"""The modules of elman.torch against those of torch.nn on the CPU: forward and backward, padded, packed, with resets.

    python benchmarks/torch_layers.py [repetitions]

Out: one JSON object: a row for each cell and shape with the least CPU times of one thread, in ms, and their ratios, and
geometric means; the rows on standard error as they come. Outputs and gradients are compared before anything is timed.
The peers run in turn, in one process.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.utils.rnn import pack_padded_sequence

import elman
import elman.torch
from elman.bench.clock import busy_cpus
from elman.bench.shapes import DEFAULT, Shape

CELLS = ("RNN", "GRU", "LSTM")


def step(module: torch.nn.Module, x: Any, **given: Any) -> Callable[[], None]:
    """One forward and backward, with the gradients of all parameters."""

    def run() -> None:
        module.zero_grad(set_to_none=True)
        y, _ = module(x, **given)
        y = y.data if isinstance(y, torch.nn.utils.rnn.PackedSequence) else y
        y.sum().backward()

    return run


def least(peers: list[Callable[[], None]], repetitions: int) -> list[float]:
    """The least CPU time of each, in ms, which others on the machine disturb least; the peers take turns."""
    found: list[list[float]] = [[] for _ in peers]
    for turn in range(repetitions + 1):
        for run, times in zip(peers, found, strict=True):
            begin = time.process_time()
            run()
            if turn:  # the first warms up
                times.append(1e3 * (time.process_time() - begin))
    return [min(times) for times in found]


def modules(cell: str, shape: Shape) -> tuple[torch.nn.Module, torch.nn.Module]:
    """torch.nn's module and elman's, with the same weights."""
    torch.manual_seed(0)
    stock = getattr(torch.nn, cell)(shape.features, shape.units)
    own = getattr(elman.torch, cell)(shape.features, shape.units, native="require")
    own.load_state_dict(stock.state_dict())
    return stock, own


def check(stock: torch.nn.Module, own: torch.nn.Module, x: Any) -> None:
    """Raises if outputs or gradients differ."""
    for module in (stock, own):
        step(module, x)()
    for a, b in zip(stock.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-3 * float(a.grad.abs().max()))


def measured(cell: str, shape: Shape, repetitions: int) -> dict[str, Any]:
    """A row: least CPU times in ms, and what elman's are of the others."""
    stock, own = modules(cell, shape)
    x = torch.randn(shape.time, shape.batch, shape.features)
    check(stock, own, x)
    lengths = torch.randint(1, shape.time + 1, (shape.batch,))
    lengths[0] = shape.time
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    check(stock, own, packed)
    resets = torch.zeros(shape.batch, shape.time, dtype=torch.bool)
    resets[:, 50 % shape.time :: 100] = True  # one in 100 steps
    peers = [step(stock, x), step(own, x), step(stock, packed), step(own, packed), step(own, x, resets=resets)]
    theirs, ours, theirs_packed, ours_packed, ours_reset = least(peers, repetitions)
    return {
        "cell": cell, "shape": str(shape), "torch_ms": theirs, "elman_ms": ours, "ratio": theirs / ours,
        "torch_packed_ms": theirs_packed, "elman_packed_ms": ours_packed, "ratio_packed": theirs_packed / ours_packed,
        "resets_ms": ours_reset, "resets_over_none": ours_reset / ours,
    }  # fmt: skip


def main(repetitions: int) -> None:
    """Measures and prints."""
    rows = []
    torch.set_num_threads(1)
    elman.set_num_threads(1)
    for cell in CELLS:
        for shape in DEFAULT:
            rows.append(measured(cell, shape, repetitions))
            print(rows[-1], file=sys.stderr, flush=True)
    means: dict[str, dict[str, float]] = {}
    for cell in CELLS:
        for name in ("ratio", "ratio_packed", "resets_over_none"):
            found = [row[name] for row in rows if row["cell"] == cell]
            means.setdefault(cell, {})[name] = statistics.geometric_mean(found)
            means[cell][f"{name}_least"] = min(found)
    json.dump({"means": means, "rows": rows, "busy_cpus": busy_cpus()}, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
