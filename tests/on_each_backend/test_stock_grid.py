# SPDX-License-Identifier: Apache-2.0
"""The native library held to the rule with stock Keras as the yardstick: `keras.layers.SimpleRNN` in float32 on
the backend that KERAS_BACKEND names, its gradients by that backend's own autodiff.

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

import cases
import tolerance

Array = np.ndarray
BACKEND = keras.backend.backend()
CASES = {"tensorflow": 150, "torch": 150, "jax": 40}[BACKEND]  # JAX compiles each
SIZES = {
    "batch": (1, 2, 5, 8, 13, 32),
    "time": (1, 2, 7, 20),
    "features": (2, 3, 8, 17, 64),
    "units": (2, 5, 10, 16, 33, 47, 64, 100, 128),
}
OPTIONS = {
    name: cases.FACTORS[name]
    for name in (
        *("activation", "go_backwards", "zero_output_for_mask", "return_sequences"),
        *("bias", "initial_state", "cotangents"),
    )
} | {"mask": ("none", cases.STOCK_MASK)}


def layer_of(case: cases.Case) -> keras.layers.SimpleRNN:
    """A stock layer with the case's weights."""
    layer = keras.layers.SimpleRNN(
        case.shape.units,
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


def call(case: cases.Case, function: Callable[..., Any], x: Any, state: Any) -> tuple[Any, Any, Any]:
    """y, h and the loss, by a layer or what stands for one."""
    y, h = function(x, mask=case.mask, initial_state=None if state is None else [state])
    pairs = [(a, keras.ops.convert_to_tensor(da)) for a, da in ((y, case.dy), (h, case.dfinal)) if da is not None]
    return y, h, sum(keras.ops.sum(a * da) for a, da in pairs)


def given(*tensors: Any) -> list[Any]:
    return [tensor for tensor in tensors if tensor is not None]


def on_tensorflow(case: cases.Case) -> list[Any]:
    tf = importlib.import_module("tensorflow")
    layer = layer_of(case)
    x = tf.constant(case.x)
    state = None if case.initial_state is None else tf.constant(case.initial_state)
    with tf.GradientTape() as tape:
        tape.watch(given(x, state))
        y, h, loss = call(case, layer, x, state)
    weights = [w.value for w in layer.trainable_variables]
    return [y, h, *tape.gradient(loss, given(x, *weights, state))]


def on_jax(case: cases.Case) -> list[Any]:
    jax = importlib.import_module("jax")
    layer = layer_of(case)
    others = [v.value for v in layer.non_trainable_variables]

    def loss(x: Any, weights: list[Any], state: Any) -> tuple[Any, Any]:
        def function(x: Any, **arguments: Any) -> Any:
            return layer.stateless_call(weights, others, x, **arguments)[0]

        y, h, loss = call(case, function, x, state)
        return loss, (y, h)

    weights = [w.value for w in layer.trainable_variables]
    which = (0, 1) if case.initial_state is None else (0, 1, 2)
    differentiate = jax.jit(jax.value_and_grad(loss, which, has_aux=True))
    (_, results), (dx, dweights, *dstate) = differentiate(case.x, weights, case.initial_state)
    return [*results, dx, *dweights, *dstate]


def on_torch(case: cases.Case) -> list[Any]:
    torch = importlib.import_module("torch")
    layer = layer_of(case)
    x = torch.tensor(case.x, requires_grad=True)
    state = None if case.initial_state is None else torch.tensor(case.initial_state, requires_grad=True)
    y, h, loss = call(case, layer, x, state)
    weights = [w.value for w in layer.trainable_variables]
    gradients = torch.autograd.grad(loss, given(x, *weights, state))
    return [t.detach() for t in (y, h, *gradients)]


def by_stock(case: cases.Case) -> dict[str, Array]:
    """The case's results by stock Keras; no norms, and no gradient of a state that was not given."""
    bias = [] if case.bias is None else ["dbias"]
    state = [] if case.initial_state is None else ["dinitial_state"]
    names = ["y", "h", "dx", "dkernel", "drecurrent_kernel", *bias, *state]
    run = {"tensorflow": on_tensorflow, "jax": on_jax, "torch": on_torch}[BACKEND]
    return {name: np.asarray(result) for name, result in zip(names, run(case), strict=True)}


def stock_cases() -> Iterator[cases.Case]:
    """Sizes and options in one covering set, gone through until there are enough."""
    rows = cases.pairwise({**SIZES, **OPTIONS})
    for seed, row in enumerate(itertools.islice(itertools.cycle(rows), CASES)):
        yield cases.make(tuple(row[size] for size in SIZES), {name: row[name] for name in OPTIONS}, seed)


@functools.cache
def measured() -> tolerance.Grid:
    """Every case held to the rule, and the errors found."""
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
