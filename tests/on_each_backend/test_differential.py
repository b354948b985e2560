# SPDX-License-Identifier: Apache-2.0
"""Random uses of `elman.SimpleRNN`, `LSTM` and `GRU`, with options of Keras and of elman combined: outputs, states and
every gradient.

Truth is the reference in long double, on inputs and weights that the dtype of the layer holds exactly. The yardstick is
the stock layer on the same input and backend. Where stock is wrong or lacks an option, it is the reference in the
dtype. The rule is that of `tolerance`, and for the half types, in which elman computes as in float32:

    half      as float32, with the yardstick in float32 as well; and for each time that Keras rounds the result to the
              half type at the end, half a unit in the last place of that type at the largest value of the rounded
              tensor. Where Keras's own loop runs (off the native path), which computes in the half type, so does the
              yardstick

A case that fails is reported with its number: `pytest -k "case-17-"` runs it again, and `layer_cases.choose` shows it.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest

import cases
import elman
import layer_cases
import size
import tolerance
from layer_cases import Call, Choice

Array = np.ndarray
Layer = Any
BACKEND = keras.backend.backend()
COUNTS = {"tensorflow": (20, 24, 9000), "torch": (30, 80, 9800), "jax": (4, 6, 1200)}  # JAX compiles each
NAMES = {"simple_rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}  # of classes
COUNT = size.by_size(*COUNTS[BACKEND])
CASES_BETWEEN_CLEARINGS = 50


# --- layers ----------------------------------------------------------------------------------------------------------


def layer_of(choice: Choice, make: Callable[..., Layer], dtype: str, **own: Any) -> Layer:
    """The built layer of a case, in a Bidirectional if the case has one."""
    if choice.cell != "simple_rnn":
        own |= {"recurrent_activation": choice.recurrent_activation, "implementation": choice.implementation}
    if choice.cell == "gru":
        own["reset_after"] = choice.reset_after
    layer = make(
        choice.shape.units,
        activation=choice.activation,
        use_bias=choice.use_bias,
        go_backwards=choice.go_backwards,
        return_sequences=choice.return_sequences,
        return_state=choice.return_state,
        unroll=choice.unroll,
        zero_output_for_mask=choice.zero_output_for_mask,
        dropout=choice.dropout,
        recurrent_dropout=choice.recurrent_dropout,
        kernel_initializer="zeros",  # the quickest to compile on JAX; the weights are those of the case
        recurrent_initializer="zeros",
        seed=choice.number,
        dtype=dtype,
        **own,
    )
    if choice.bidirectional:
        layer = keras.layers.Bidirectional(layer, merge_mode=choice.merge_mode, dtype=dtype)
    layer.build((choice.shape.batch, choice.shape.time, choice.shape.features))
    return layer


def elman_layer(choice: Choice) -> Layer:
    own = ("stateful", "truncate_gradient", "clip_state_gradient", "learn_initial_state", "native")
    given = {name: getattr(choice, name) for name in own}
    return layer_of(choice, getattr(elman, NAMES[choice.cell]), choice.dtype, **given)


def stock_layer(choice: Choice, dtype: str) -> Layer:
    """The stock layer, without the loop that fails if each gate has a dropout mask of its own."""
    own = {"use_cudnn": False} if choice.implementation == 1 else {}
    return layer_of(choice, getattr(keras.layers, NAMES[choice.cell]), dtype, **own)


def halves(layer: Layer) -> list[Layer]:
    """The recurrent layers inside a layer, the forward one first."""
    return [layer.forward_layer, layer.backward_layer] if hasattr(layer, "forward_layer") else [layer]


def set_weights(layer: Layer, call: Call) -> None:
    values = [w for own in call.directions for w in own.weights]
    assert len(values) == len(layer.trainable_variables), call.choice
    for variable, value in zip(layer.trainable_variables, values, strict=True):
        variable.assign(value)


def dropout_masks(choice: Choice) -> list[layer_cases.Masks]:
    """The masks that Keras draws for each call of a layer with the seed of the case."""
    own = {"dropout": choice.dropout, "recurrent_dropout": choice.recurrent_dropout}
    if choice.cell != "simple_rnn":
        own["implementation"] = choice.implementation
    kind = getattr(keras.layers, f"{NAMES[choice.cell]}Cell")
    cell = kind(choice.shape.units, **own, seed=choice.number, dtype=choice.dtype)

    def drawn_by(draw: Callable[[Any], Any], size: int) -> Array | None:
        masks = draw(keras.ops.ones((choice.shape.batch, size), cell.compute_dtype))
        if masks is None:
            return None
        return np.stack([as_numpy(m, choice) for m in (masks if isinstance(masks, list) else [masks])])

    drawn = []
    for _ in range(2 if choice.stateful else 1):
        of_inputs = drawn_by(cell.get_dropout_mask, choice.shape.features)
        drawn.append((of_inputs, drawn_by(cell.get_recurrent_dropout_mask, choice.shape.units)))
        cell.reset_dropout_mask()
        cell.reset_recurrent_dropout_mask()
    return drawn


def as_numpy(tensor: Any, choice: Choice) -> Array:
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, np.dtype(choice.numpy_dtype).name))


# --- one call, with its gradients, on each backend -----------------------------------------------------------------


def invoke(layer: Callable[..., Any], call: Call, x: Any, states: Sequence[Any], mask: Any) -> tuple[list[Any], Any]:
    """The flat results of a layer, or of a function that calls one, and the loss."""
    choice = call.choice
    given = {} if mask is None else {"mask": mask}
    if states:
        given["initial_state"] = states[0] if choice.bare else list(states)
    results = keras.tree.flatten(layer(x, **given, training=choice.training))
    outputs = len(call.dy)
    gradients = [*call.dy, *(d for own in call.directions for d in own.dfinals)]
    wanted = {"y": slice(outputs), "h": slice(outputs, None), "both": slice(None)}[choice.cotangents]
    wide = np.dtype(choice.numpy_dtype).name
    pairs = list(zip(results, gradients, strict=False))[wanted]
    return results, sum(keras.ops.sum(keras.ops.cast(r, wide) * keras.ops.convert_to_tensor(d)) for r, d in pairs)


def on_tensorflow(layer: Layer, call: Call, compiled: bool) -> tuple[list[Any], list[Any]]:
    tf = importlib.import_module("tensorflow")
    weights = [w.value for w in layer.trainable_variables]

    def differentiate(x: Any, states: list[Any], masks: list[Any]) -> tuple[list[Any], list[Any]]:
        with tf.GradientTape() as tape:
            tape.watch([x, states])
            results, loss = invoke(layer, call, x, states, masks[0] if masks else None)
        return results, tape.gradient(loss, [x, *states, *weights])

    operands = tf.nest.map_structure(tf.constant, operands_of(call))
    if compiled:
        unknown = 2 if call.choice.dynamic else 0

        def specification(tensor: Any, leading: int) -> Any:
            return tf.TensorSpec([None] * leading + tensor.shape[leading:], tensor.dtype)

        x, states, masks = operands
        signature = (
            specification(x, unknown),
            [specification(s, unknown // 2) for s in states],
            [specification(m, unknown) for m in masks],
        )
        differentiate = tf.function(differentiate, input_signature=signature)
    return differentiate(*operands)


def on_jax(layer: Layer, call: Call, compiled: bool) -> tuple[list[Any], list[Any]]:
    jax = importlib.import_module("jax")

    def loss(x: Any, states: list[Any], weights: list[Any], others: list[Any], masks: list[Any]) -> tuple[Any, Any]:
        changed = []

        def function(x: Any, **arguments: Any) -> Any:
            outputs, after = layer.stateless_call(weights, others, x, **arguments)
            changed.extend(after)
            return outputs

        results, loss = invoke(function, call, x, states, masks[0] if masks else None)
        return loss, (results, changed)

    x, states, masks = operands_of(call)
    weights = [w.value for w in layer.trainable_variables]
    others = [v.value for v in layer.non_trainable_variables]
    differentiate = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)
    differentiate = jax.jit(differentiate) if compiled else differentiate
    (_, (results, changed)), (dx, dstates, dweights) = differentiate(
        jax.numpy.asarray(x), states, weights, others, masks
    )
    for variable, value in zip(layer.non_trainable_variables, changed, strict=True):
        variable.assign(value)
    return results, [dx, *dstates, *dweights]


def on_torch(layer: Layer, call: Call, compiled: bool) -> tuple[list[Any], list[Any]]:
    assert not compiled
    torch = importlib.import_module("torch")
    x, states, masks = operands_of(call)
    x, states = torch.tensor(x).requires_grad_(), [torch.tensor(s).requires_grad_() for s in states]
    results, loss = invoke(layer, call, x, states, masks[0] if masks else None)
    weights = [w.value for w in layer.trainable_variables]
    return results, list(torch.autograd.grad(loss, [x, *states, *weights]))


RUN = {"tensorflow": on_tensorflow, "jax": on_jax, "torch": on_torch}[BACKEND]


def operands_of(call: Call) -> tuple[Array, list[Array], list[Array]]:
    """x; the initial states; and the mask in the form of the case, if it has one."""
    mask = [] if call.mask is None else [call.mask[..., None] if call.choice.shape_of_mask == 3 else call.mask]
    return call.x, [state for d in call.directions for state in d.initial_states], mask


def prefixes(choice: Choice) -> list[str]:
    """The prefix of the names of each direction's results."""
    return [f"{d} " if choice.bidirectional else "" for d in choice.directions]


def results_of(layer: Layer, call: Call, compiled: bool = False) -> dict[str, Array]:
    """The results of a call of the layer, by the names of `layer_cases.truth`."""
    choice = call.choice
    results, gradients = RUN(layer, call, compiled)
    before = prefixes(choice)
    names = ["y", "y1"][: len(call.dy)]
    names += [b + name for b in before for name in "hc"[: choice.states] if choice.return_state]
    of = ["dx"]
    for b, own in zip(before, call.directions, strict=True):
        of += [f"{b}d{name}" for name in cases.STATES[: len(own.initial_states)]]
    for b, own in zip(before, call.directions, strict=True):
        of += [f"{b}{name}" for name in ("dkernel", "drecurrent_kernel", *["dbias"] * (own.bias is not None))]
        of += [b + layer_cases.learned_name(name) for name in cases.STATES[: len(own.learned)]]
    for output in results:
        assert keras.backend.standardize_dtype(output.dtype) == layer.compute_dtype, choice
    tensors = zip([*names, *of], [*results, *gradients], strict=True)
    return {name: as_numpy(t.detach() if BACKEND == "torch" else t, choice) for name, t in tensors}


# --- the yardstick ---------------------------------------------------------------------------------------------------


def stock_is_right(call: Call) -> bool:
    """Whether stock has the options of the call, and on this backend does what it documents."""
    choice = call.choice
    if choice.extras:
        return False
    if BACKEND == "jax" and choice.dtype in layer_cases.HALVES and not choice.native_expected:
        return False  # stateless_call fails with dropout, and on a GRU
    if call.mask is None:
        return True
    if choice.unroll:  # it mistakes zero_output_for_mask, and masks read backwards
        zero = any(choice.options(d).zero_output_for_mask for d in choice.directions)
        backwards = any(choice.options(d).go_backwards for d in choice.directions)
        return not (BACKEND == "jax" and zero) and not (BACKEND == "torch" and backwards) and not (zero and backwards)
    if BACKEND == "jax":  # a masked first step's output is the initial state
        firsts = [call.mask[:, -1 if choice.options(d).go_backwards else 0] for d in choice.directions]
        begun = any(d.initial_states or d.learned for d in call.directions)
        return not begun or all(first.all() for first in firsts)
    return True


def yardstick(call: Call) -> dict[str, Array]:
    """The results of the call by stock if it is right, else by the reference in the dtype of the layer."""
    if not stock_is_right(call):  # unrolled; looped it has the same arithmetic
        call = dataclasses.replace(call, choice=dataclasses.replace(call.choice, unroll=False))
    if not stock_is_right(call):
        return layer_cases.truth(call, call.choice.numpy_dtype)
    choice = dataclasses.replace(call.choice, return_state=True)
    call = dataclasses.replace(call, choice=choice)
    half = choice.dtype in layer_cases.HALVES
    layer = stock_layer(choice, "float32" if half and choice.native_expected else choice.dtype)
    learned = bool(call.directions[0].learned)
    if learned:
        size = (choice.shape.batch, choice.shape.units)
        begun = call.starting_from([[np.broadcast_to(w, size) for w in d.learned] for d in call.directions])
        call = dataclasses.replace(
            begun, directions=tuple(dataclasses.replace(d, learned=()) for d in begun.directions)
        )
    set_weights(layer, call)
    for part, own in zip(halves(layer), call.directions, strict=True):
        part.cell._dropout_mask, part.cell._recurrent_dropout_mask = (
            as_keras_has(m, part) for m in (own.dropout, own.recurrent_dropout)
        )
    # Off the native path Keras's loop is what is tested, and a compiler rounds half types elsewhere.
    compiled = BACKEND == "jax" or (call.choice.compiled and not call.choice.native_expected)
    results = results_of(layer, call, compiled=compiled)
    if learned:
        for name in [n for n in results if "dinitial_" in n]:
            results[name.replace("dinitial", "dlearned")] = results.pop(name).sum(axis=0)
    return results


def as_keras_has(masks: Array | None, layer: Layer) -> Any:
    """Dropout masks in the form of a cell: a tensor, or one for each gate."""
    if masks is None:
        return None
    tensors = [keras.ops.convert_to_tensor(m, layer.compute_dtype) for m in masks]
    return tensors if getattr(layer.cell, "dropout_mask_count", None) else tensors[0]


# --- the rule --------------------------------------------------------------------------------------------------------


def assert_half(name: str, got: Array, truth: Array, stock: Array, roundings: Sequence[Array], call: Call) -> None:
    """The rule for half types; `roundings` are the tensors that Keras rounds."""
    unit = tolerance.ulp(truth, np.float32)
    allowed = max(tolerance.STOCK_FACTOR * tolerance.error(stock, truth), tolerance.ULPS * unit)
    half = ml_dtypes.finfo(layer_cases.HALVES[call.choice.dtype])
    for tensor in roundings:
        size = max(tolerance.largest(tensor) + allowed, float(half.tiny))
        allowed += 2.0 ** math.floor(math.log2(size)) * float(half.eps) / 2
    distance = tolerance.error(got, truth)
    assert distance <= allowed, (
        f"{call.choice}: {name} has error {distance:.3g}, allowed {allowed:.3g} "
        f"(largest value {tolerance.largest(truth):.3g})"
    )


def hold(call: Call, got: dict[str, Array], grid: tolerance.Grid) -> None:
    """Compares the results of one call by the rule."""
    choice = call.choice
    truth = layer_cases.truth(call, np.longdouble)
    stock = {} if choice.dtype == "float64" else yardstick(call)
    assert set(got) <= set(truth), choice
    for name, array in got.items():
        if choice.dtype == "float64":
            tolerance.assert_float64(array, truth[name], f"{choice}: {name}")
        elif choice.dtype == "float32":
            grid.check(name.rpartition(" ")[2], array, truth[name], stock[name], choice)
        else:
            assert_half(name, array, truth[name], stock[name], layer_cases.roundings(call, name, truth), call)


@functools.cache
def measured(number: int) -> tolerance.Grid:
    """The errors of a case, after the rule is checked."""
    if number % CASES_BETWEEN_CLEARINGS == 0:
        clear()
    choice = layer_cases.choose(number, BACKEND)
    calls = layer_cases.draw(choice, dropout_masks(choice))
    choice = calls[0].choice
    layer = elman_layer(choice)
    set_weights(layer, calls[0])
    grid = tolerance.Grid()
    begun = calls[0]
    for call, following in itertools.zip_longest(calls, calls[1:]):
        got = results_of(layer, call, choice.compiled)
        if choice.stateful:
            got = with_states(layer, choice, got)
        hold(begun, got, grid)
        if following is not None:
            begun = following.starting_from([part.get_state() for part in halves(layer)])
    for part in halves(layer):
        assert (part.route.path == "native") == choice.native_expected, f"{choice}: {part.route}"
    return grid


def with_states(layer: Layer, choice: Choice, got: dict[str, Array]) -> dict[str, Array]:
    """The results, and the states that the layer keeps: those that it returned, if it did."""
    kept = {
        before + name: state
        for before, part in zip(prefixes(choice), halves(layer), strict=True)
        for name, state in zip("hc", part.get_state(), strict=False)
    }
    for name, state in kept.items():
        if name in got:
            np.testing.assert_array_equal(state, got[name], err_msg=f"{choice}: {name}")
    return kept | got


def clear() -> None:
    """Drops what a backend keeps for each compiled case."""
    keras.backend.clear_session(free_memory=False)
    if BACKEND == "jax":
        importlib.import_module("jax").clear_caches()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(COUNT), ids=lambda number: f"case-{number}-")
def test_outputs_states_and_gradients_are_within_the_rule(number: int) -> None:
    measured(number)


@pytest.mark.medium
def test_all_cases_together_are_about_as_exact_as_stock() -> None:
    grid = tolerance.Grid()
    for number in range(COUNT):
        grid.extend(measured(number))
    grid.assert_root_mean_square()
