# SPDX-License-Identifier: Apache-2.0
"""elman on NumPy arrays: the native calls with no framework around them, on all threads, on one and on two."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import elman
from elman import _native, _numpy
from elman.bench.shapes import Array, Problem
from elman.bench.worker import Calls
from elman.cells import CELLS
from elman.operands import Operands
from elman.options import Options
from elman.reference import Gradients


def facts() -> dict[str, Any]:
    """Versions, threads, and what the library runs on."""
    library = _native.library()
    return {
        "versions": {"numpy": np.__version__, "elman": elman.__version__},
        "threads": library.elman_num_threads(),
        "isa": library.elman_isa().decode(),
        "isas": library.elman_isas().decode(),
    }


def _elman(threads: int | None, problem: Problem) -> Calls:
    options, function = Options(problem.cell), getattr(elman, problem.cell)
    x, kernel, recurrent_kernel, bias, *_ = operands = Operands(problem.x, *problem.weights)
    dy, no_final = problem.dy, (None,) * len(CELLS[problem.cell].states)

    def forward() -> Array:
        return function(x, kernel, recurrent_kernel, bias, native="require")[0]

    def forward_backward() -> tuple[Array, Gradients]:
        y, _, tape = _numpy.forward(options, operands, keep_tape=True)
        return y, _numpy.backward(options, operands, y, tape, dy, no_final, want_dx=False)

    def arrays(y: Array, y_and_gradients: tuple[Array, Gradients]) -> list[Array]:
        again, gradients = y_and_gradients
        _, dkernel, drecurrent_kernel, dbias, *_ = gradients
        return [y, again, dkernel, drecurrent_kernel, np.asarray(dbias)]

    return Calls(forward, forward_backward, arrays, before=partial(elman.set_num_threads, threads))


BUILD = {
    "elman on numpy": partial(_elman, None),
    "elman on numpy, 1 thread": partial(_elman, 1),
    "elman on numpy, 2 threads": partial(_elman, 2),
}
