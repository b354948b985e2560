# SPDX-License-Identifier: Apache-2.0
"""Whether results agree, so that a time may be printed: every output and gradient against the float64 reference.

In: what each subject returned for one problem. Out: a sentence for each that differs. The rule, per tensor: an
error of at most 4 times the stock error, or 32 ulp of the tensor's largest value. The stock error is the median
over Keras's own layers that ran and the reference in float32, so one of them being wrong does not move it. A peer may
round more than that, up to PEER of that value: refusing it for the order of its sums would only flatter elman.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from elman import reference
from elman.bench.shapes import Array, Problem
from elman.operands import Operands
from elman.options import Options

Results = Sequence[Array]

PEER = 1e-4  # of the largest value, for subjects that are not elman
TENSORS = ("y of the forward", "y", "dkernel", "drecurrent_kernel", "dbias")


def truth(problem: Problem, dtype: type[np.floating]) -> list[Array]:
    """What the reference computes in `dtype`, in the order of `TENSORS`."""
    x, kernel, recurrent_kernel, bias, dy = (array.astype(dtype) for array in problem.arrays)
    options, operands = Options(problem.cell), Operands(x, kernel, recurrent_kernel, bias)
    y, final, tape = reference.forward(*operands, options=options)
    no_final = tuple(np.zeros_like(state) for state in final)
    gradients = reference.backward(*operands, tape, dy, no_final, options=options)
    return [y, y, gradients.dkernel, gradients.drecurrent_kernel, gradients.dbias]  # type: ignore[list-item]


def errors(results: Results, expected: Results) -> list[float]:
    """The largest absolute error of each tensor; infinite where a shape or a NaN does not fit."""
    return [
        float(np.nan_to_num(np.abs(got - want).max(), nan=np.inf)) if got.shape == want.shape else np.inf
        for got, want in zip(results, expected, strict=True)
    ]


def differences(problem: Problem, results: Mapping[str, Results], stock: Collection[str]) -> dict[str, str]:
    """The subjects whose results differ, each with a sentence; `stock` names those that are Keras's own."""
    expected = truth(problem, np.float64)
    found = {name: errors(arrays, expected) for name, arrays in results.items()}
    yardsticks = [errors(truth(problem, np.float32), expected), *(found[name] for name in found if name in stock)]
    sentences: dict[str, str] = {}
    for i, tensor in enumerate(TENSORS):
        usual = statistics.median_low(each[i] for each in yardsticks)
        largest = np.abs(expected[i]).max().astype(np.float32)
        least = 32 * float(np.spacing(largest))
        for name, error in found.items():
            more = 0.0 if name.startswith("elman") else PEER * float(largest)
            limit = max(4 * usual, least, more)
            if not error[i] <= limit and name not in sentences:
                sentences[name] = (
                    f"{name} is refused: its {tensor} differs from the float64 reference by {error[i]:.3g}; expected "
                    f"at most {limit:.3g}, the largest of 4 x the stock error ({usual:.3g}), 32 ulp ({least:.3g}) and "
                    f"what a peer may round ({more:.3g}). Its times would mean nothing."
                )
    return sentences
