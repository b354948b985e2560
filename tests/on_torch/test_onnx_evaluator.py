# SPDX-License-Identifier: Apache-2.0
"""The functions against ONNX's own definition of its operators RNN, LSTM and GRU, `onnx.reference.ReferenceEvaluator`:
another hand's reading of the same recurrences, in float64.

ONNX has each weight transposed, a direction in front, an LSTM's gates in the order i, o, f, c, and two biases. It gives
outputs in the order of x. Masks are left to other tests; it stands here as torch's environment brings onnx.
"""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnx.reference
import pytest

import cases
import elman
import tolerance

Array = np.ndarray
OPERATORS = {"simple_rnn": "RNN", "lstm": "LSTM", "gru": "GRU", "gru, reset before": "GRU"}
GATES = {"LSTM": (0, 3, 1, 2)}  # ONNX's order, by Keras's
SHAPES = ((3, 7, 4, 5), (1, 1, 2, 1), (2, 20, 1, 33))


def turned(weights: Array, operator: str) -> Array:
    """(..., gates * units), Keras's, as (1, gates * units, ...), ONNX's."""
    if operator in GATES:
        gates = np.split(weights, 4, axis=-1)
        weights = np.concatenate([gates[i] for i in GATES[operator]], axis=-1)
    return weights.T[None]


def by_onnx(case: cases.Case) -> list[Array]:
    """Every output, in processing order, and the final states."""
    operator, after = OPERATORS[case.choice["cell"]], case.options.reset_after
    bias = case.bias if case.bias.ndim == 2 else np.stack([case.bias, np.zeros_like(case.bias)])
    both = np.concatenate([turned(bias[0], operator), turned(bias[1], operator)], axis=1)
    operands = {
        "X": case.x.swapaxes(0, 1),
        "W": turned(case.kernel, operator),
        "R": turned(case.recurrent_kernel, operator),
        "B": both,
        "": None,  # lengths
        **{f"initial_{name}": state[None] for name, state in zip("hc", case.initial_states, strict=False)},
    }
    given = {name: value for name, value in operands.items() if value is not None}
    results = ["Y", *(f"Y_{name}" for name in case.cell.states)]
    own = {"linear_before_reset": int(after)} if operator == "GRU" else {}
    node = onnx.helper.make_node(
        operator,
        list(operands),
        results,
        hidden_size=case.shape.units,
        direction="reverse" if case.options.go_backwards else "forward",
        **own,
    )
    double = onnx.TensorProto.DOUBLE
    graph = onnx.helper.make_graph(
        [node],
        "recurrence",
        [onnx.helper.make_tensor_value_info(name, double, value.shape) for name, value in given.items()],
        [onnx.helper.make_tensor_value_info(name, double, None) for name in results],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)])
    y, *states = onnx.reference.ReferenceEvaluator(model).run(None, given)
    y = y[:, 0].swapaxes(0, 1)
    return [y[:, ::-1] if case.options.go_backwards else y, *(state[0] for state in states)]


@pytest.mark.parametrize("cell", OPERATORS)
def test_the_functions_are_onnxs_operators(cell: str) -> None:
    for seed, (shape, go_backwards) in enumerate(itertools.product(SHAPES, (False, True))):
        choice = {"cell": cell, "go_backwards": go_backwards, "initial_state": True}
        case = cases.make(shape, choice, seed).astype(np.float64)
        function = getattr(elman, case.options.cell)
        own = {"reset_after": case.options.reset_after} if case.options.cell == "gru" else {}
        states = case.initial_states if len(case.initial_states) > 1 else case.initial_states[0]
        y, final = function(*case.operands[:4], states, go_backwards=go_backwards, native="require", **own)
        finals = final if isinstance(final, tuple) else (final,)
        for got, expected in zip((y, *finals), by_onnx(case), strict=True):
            tolerance.assert_float64(got, expected, str(case))
