# SPDX-License-Identifier: Apache-2.0
"""The native library checked by the rule with stock Keras as the yardstick: its recurrent layers in float32 on the
backend that KERAS_BACKEND names, their gradients by that backend's own autodiff.

Truth is the reference in long double. Options that stock lacks, and masks on which its backends disagree, are
left to the grid without a framework.
"""

from __future__ import annotations

import functools
import importlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest

import cases
import size
import tolerance

pytestmark = [pytest.mark.medium, pytest.mark.once]
Array = np.ndarray
BACKEND = keras.backend.backend()
CASES = size.by_size(20, *{"tensorflow": (60, 90), "torch": (60, 150), "jax": (20, 25)}[BACKEND])  # JAX compiles each
SIZES = {
    "batch": (1, 2, 5, 8, 13, 32),
    "time": (1, 2, 7, 20),
    "features": (2, 3, 8, 17, 64),
    "units": (2, 5, 10, 16, 33, 47, 64, 100, 128),
}
OPTIONS = {
    name: cases.FACTORS[name]
    for name in (
        *("cell", "activation", "recurrent_activation", "go_backwards", "zero_output_for_mask", "return_sequences"),
        *("bias", "initial_state", "cotangents"),
    )
} | {"mask": ("none", cases.STOCK_MASK)}


def layer_of(case: cases.Case) -> keras.layers.RNN:
    """A stock layer with the case's weights."""
    options = case.options
    kind = {"simple_rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}[options.cell]
    own = {} if options.cell == "simple_rnn" else {"recurrent_activation": options.recurrent_activation}
    if options.cell == "gru":
        own["reset_after"] = options.reset_after
    layer = getattr(keras.layers, kind)(
        case.shape.units,
        **own,
        activation=case.options.activation,
        use_bias=case.bias is not None,
        go_backwards=case.options.go_backwards,
        zero_output_for_mask=case.options.zero_output_for_mask,
        return_sequences=case.options.return_sequences,
        return_state=True,
    )
    layer.build(case.x.shape)
    layer.set_weights([w for w in (case.kernel, case.recurrent_kernel, case.bias) if w is not None])
    return layer


def call(case: cases.Case, function: Callable[..., Any], x: Any, states: list[Any]) -> tuple[list[Any], Any]:
    """y and the final states, and the loss, by a layer or what stands for one."""
    y, *finals = function(x, mask=case.mask, initial_state=states or None)
    pairs = [(a, keras.ops.convert_to_tensor(da)) for a, da in case.cotangents(y, tuple(finals))]
    return [y, *finals], sum(keras.ops.sum(a * da) for a, da in pairs)


def on_tensorflow(case: cases.Case) -> list[Any]:
    tf = importlib.import_module("tensorflow")
    layer = layer_of(case)
    x, states = tf.constant(case.x), [tf.constant(s) for s in case.initial_states]
    with tf.GradientTape() as tape:
        tape.watch([x, *states])
        results, loss = call(case, layer, x, states)
    weights = [w.value for w in layer.trainable_variables]
    return [*results, *tape.gradient(loss, [x, *weights, *states])]


def on_jax(case: cases.Case) -> list[Any]:
    jax = importlib.import_module("jax")
    layer = layer_of(case)
    others = [v.value for v in layer.non_trainable_variables]

    def loss(x: Any, weights: list[Any], states: list[Any]) -> tuple[Any, Any]:
        def function(x: Any, **arguments: Any) -> Any:
            return layer.stateless_call(weights, others, x, **arguments)[0]

        results, loss = call(case, function, x, states)
        return loss, results

    weights = [w.value for w in layer.trainable_variables]
    differentiate = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))
    (_, results), (dx, dweights, dstates) = differentiate(case.x, weights, list(case.initial_states))
    return [*results, dx, *dweights, *dstates]


def on_torch(case: cases.Case) -> list[Any]:
    torch = importlib.import_module("torch")
    layer = layer_of(case)
    x = torch.tensor(case.x, requires_grad=True)
    states = [torch.tensor(s, requires_grad=True) for s in case.initial_states]
    results, loss = call(case, layer, x, states)
    weights = [w.value for w in layer.trainable_variables]
    return [t.detach() for t in (*results, *torch.autograd.grad(loss, [x, *weights, *states]))]


def by_stock(case: cases.Case) -> dict[str, Array]:
    """The case's results by stock Keras; no norms, and no gradient of a state that was not given."""
    bias = [] if case.bias is None else ["dbias"]
    states = [f"d{name}" for name in cases.STATES[: len(case.initial_states)]]
    names = ["y", *case.cell.states, "dx", "dkernel", "drecurrent_kernel", *bias, *states]
    run = {"tensorflow": on_tensorflow, "jax": on_jax, "torch": on_torch}[BACKEND]
    return {name: np.asarray(result) for name, result in zip(names, run(case), strict=True)}


def stock_cases() -> Iterator[cases.Case]:
    """Sizes and options in one covering set, gone through until there are enough."""
    rows = cases.pairwise({**SIZES, **OPTIONS})
    for seed, row in enumerate(itertools.islice(itertools.cycle(rows), CASES)):
        yield cases.make(tuple(row[name] for name in SIZES), {name: row[name] for name in OPTIONS}, seed)


@functools.cache
def measured() -> tolerance.Grid:
    """Checks every case by the rule; returns the errors."""
    grid = tolerance.Grid()
    for case in stock_cases():
        truth = cases.by_reference(case, np.longdouble)
        got = cases.by_native(case, np.float32)
        for name, stock in by_stock(case).items():
            grid.check(name, got[name], truth[name], stock, case)
    return grid


def test_every_tensor_is_within_the_rule() -> None:
    measured()


def test_the_whole_grid_is_about_as_exact_as_stock() -> None:
    measured().assert_root_mean_square()
