# SPDX-License-Identifier: Apache-2.0
"""The TensorFlow adapter against the reference, and wherever TensorFlow may put it: eager, tf.function with unknown
sizes, tapes, datasets, loops, XLA, saved models, threads, devices, and installations that lack something."""

import inspect
import itertools
import math
import shutil
import subprocess
import sys
import threading
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import cases
import elman
import tolerance
from elman import _native, _tensorflow
from elman._tensorflow import plain, recurrence
from elman.options import Options

SHAPES = ((3, 7, 4, 5), (1, 1, 2, 3), (4, 2, 3, 6), (2, 5, 1, 1), (5, 6, 2, 17))
EMPTY = ((0, 3, 2, 4), (3, 0, 2, 4), (3, 4, 0, 5))
CASES = [cases.make(shape, row, seed) for seed, (row, shape) in enumerate(zip(cases.COVERING, itertools.cycle(SHAPES)))]
ZERO_CASES = list(cases.grid(EMPTY * 4))


# --- numbers ---------------------------------------------------------------------------------------------------------


def tensors(case: cases.Case) -> tuple[Any, ...]:
    """The operands of an adapter."""
    return tuple(
        tuple(map(tf.constant, operand))
        if isinstance(operand, tuple)
        else operand
        if operand is None
        else tf.constant(operand)
        for operand in case.operands
    )


def differentiate(run, case: cases.Case, operands: tuple[Any, ...]) -> dict[str, tf.Tensor]:
    """Outputs and gradients by name, of what is traced here or run."""
    x, kernel, recurrent_kernel, bias, states, *_ = operands
    named = {"dx": x} if case.choice["want_dx"] else {}
    named |= {"dkernel": kernel, "drecurrent_kernel": recurrent_kernel}
    named |= {} if bias is None else {"dbias": bias}
    named |= {f"d{name}": state for name, state in zip(cases.STATES, states, strict=False)}
    with tf.GradientTape() as tape:
        tape.watch(named)
        y, last = run(case.options, *operands)
    arriving = [(out, tf.constant(d)) for out, d in case.cotangents(y, last)]
    outputs, cotangents = zip(*arriving, strict=True)
    gradients = tape.gradient(outputs, named, cotangents)
    return {"y": y, **dict(zip("hc", last, strict=False)), **gradients}


def results(run, case: cases.Case, mode: str) -> dict[str, np.ndarray]:
    """As `differentiate`, eagerly or in a graph, whose sizes may be unknown while it is traced."""
    operands = tensors(case)
    if mode == "eager":
        found = differentiate(run, case, operands)
    else:
        given = [tensor for tensor in tf.nest.flatten(operands) if tensor is not None]

        def traced(*given):
            left = iter(given)
            return differentiate(run, case, tf.nest.map_structure(lambda t: t if t is None else next(left), operands))

        known = mode == "known sizes"
        signature = [tf.TensorSpec(t.shape if known else [None] * len(t.shape), t.dtype) for t in given]
        found = tf.function(traced, autograph=False).get_concrete_function(*signature)(*given)
    return {name: tensor.numpy() for name, tensor in found.items()}


@pytest.mark.parametrize("mode", ["eager", "known sizes", "unknown sizes"])
@pytest.mark.parametrize("run", [recurrence, plain])
@pytest.mark.parametrize("which", [CASES, ZERO_CASES], ids=["covering", "empty"])
def test_float64_results_and_gradients_are_the_references(run, mode, which):
    for case in [case.astype(np.float64) for case in which[:: 1 if mode == "eager" else 3]]:
        truth = cases.by_reference(case, np.longdouble)
        for name, array in results(run, case, mode).items():
            tolerance.assert_float64(array, truth[name], f"{case}: {name}")


def test_float32_results_and_gradients_are_as_good_as_tensorflows_own():
    grid = tolerance.Grid()
    for case in CASES:
        truth = cases.by_reference(case, np.longdouble)
        stock = results(plain, case, "eager")
        for name, array in results(recurrence, case, "eager").items():
            grid.check(name, array, truth[name], stock[name], case)
    grid.assert_root_mean_square()


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("keep_tape", [False, True])
def test_a_gradient_without_a_tape_runs_the_forward_again(keep_tape, in_graph):
    case = cases.make((3, 6, 4, 5), {"return_sequences": False, "mask": "holes", "initial_state": True}).astype(
        np.float64
    )
    sizes = []

    def run(options, *operands):
        y, states, tape = _tensorflow.forward(options, operands, keep_tape)
        sizes.append(tape.shape)
        return y, states

    found = results(run, case, "known sizes" if in_graph else "eager")
    truth = cases.by_reference(case, np.longdouble)
    for name, array in found.items():
        tolerance.assert_float64(array, truth[name], name)
    if not in_graph:
        assert [tuple(size) for size in sizes] == [(3, 6, 5 if keep_tape else 0)]


def test_a_tape_is_kept_only_where_a_gradient_may_be_asked_for():
    case = cases.make((3, 6, 4, 5), {"return_sequences": False})
    operands = tensors(case)
    kept = []

    @tf.function(autograph=False)
    def inference():
        return recurrence(case.options, *operands)[0]

    @tf.function(autograph=False)
    def training():
        return differentiate(recurrence, case, operands)

    for traced in (inference, training):
        nodes = traced.get_concrete_function().graph.get_operations()
        kept += [op.get_attr("keep_tape") for op in nodes if op.type == "ElmanForward"]
    assert kept == [False, True]


def test_norms_are_the_references():
    case = cases.make((4, 6, 3, 5), {"mask": "holes", "clip_state_gradient": "small"}).astype(np.float64)
    x, kernel, recurrent_kernel, bias, states, mask, *_ = tensors(case)
    y, _, tape = _tensorflow.forward(case.options, tensors(case), keep_tape=True)
    attributes, _ = _tensorflow._attributes(case.options)
    none = dict.fromkeys(("n_dx", "n_dkernel", "n_drecurrent_kernel", "n_dbias", "n_dinitial"), 0)
    *nothing, (norms,) = _tensorflow._ops().elman_backward(
        x, kernel, recurrent_kernel, [bias], states, [mask], [], [], y, tape, case.dy, [case.dfinal], n_norms=1, **none,
        **attributes,
    )  # fmt: skip
    assert nothing == [[]] * 5
    tolerance.assert_float64(norms.numpy(), cases.by_reference(case, np.longdouble)["norms"], "norms")


# --- where TensorFlow may put it -------------------------------------------------------------------------------------


@pytest.fixture
def weights() -> dict[str, tf.Tensor]:
    case = cases.make((3, 6, 4, 5))
    return {
        "kernel": tf.constant(case.kernel),
        "recurrent_kernel": tf.constant(case.recurrent_kernel),
        "bias": tf.constant(case.bias),
    }


@pytest.fixture
def x() -> tf.Tensor:
    return tf.constant(cases.make((3, 6, 4, 5)).x)


def node_types(function: Any) -> set[str]:
    """Types of the operations of a concrete function, and of the functions that it calls."""
    graph = function.graph.as_graph_def()
    return {node.op for nodes in (graph.node, *(f.node_def for f in graph.library.function)) for node in nodes}


def same(got: Any, expected: Any) -> None:
    """The same arithmetic in the same order, so the same bits."""
    tf.nest.map_structure(np.testing.assert_array_equal, got, expected)


def close(got: Any, expected: Any) -> None:
    """Other arithmetic in float32."""
    for one, other in zip(tf.nest.flatten(got), tf.nest.flatten(expected), strict=True):
        assert tolerance.error(np.asarray(one), np.asarray(other)) <= tolerance.ULPS * tolerance.ulp(
            np.asarray(other), np.float32
        )


def test_a_graph_knows_what_is_to_be_known(weights):
    @tf.function(input_signature=[tf.TensorSpec([None, None, 4]), tf.TensorSpec([None, 5])])
    def run(x, h):
        with tf.GradientTape() as tape:
            tape.watch((x, h))
            y, last = elman.simple_rnn(x, **weights, initial_state=h, native="require")
        return y, last, *tape.gradient(y, (x, h))

    shapes = [output.shape.as_list() for output in run.get_concrete_function().outputs]
    assert shapes == [[None, None, 5], [None, 5], [None, None, 4], [None, 5]]
    for batch, time in ((2, 3), (7, 1), (1, 0), (0, 2)):
        y, last, *_ = run(tf.zeros((batch, time, 4)), tf.zeros((batch, 5)))
        assert (y.shape, last.shape) == ((batch, time, 5), (batch, 5))


@pytest.mark.parametrize("native", ["require", False])
def test_kernels_of_unknown_sizes(x, weights, native):
    signature = [tf.TensorSpec([None] * rank) for rank in (3, 2, 2, 1, 2)]
    run = tf.function(lambda x, w, u, b, h: elman.simple_rnn(x, w, u, b, h, native=native), input_signature=signature)
    close(run(x, *weights.values(), tf.ones((3, 5))), elman.simple_rnn(x, **weights, initial_state=tf.ones((3, 5))))
    with pytest.raises(tf.errors.InvalidArgumentError):  # never spread over the batch
        run(x, *weights.values(), tf.ones((1, 5)))


def test_numbers_lists_numpy_arrays_and_variables(x, weights):
    import keras

    expected = elman.simple_rnn(x, **weights, lengths=tf.constant([3, 6, 0]), native="require")
    as_numpy = {name: weight.numpy() for name, weight in weights.items()}
    as_variables = {name: tf.Variable(weight) for name, weight in weights.items()}
    as_keras = {name: keras.Variable(weight) for name, weight in weights.items()}
    same(elman.simple_rnn(x, **as_numpy, lengths=[3, 6, 0], native="require"), expected)
    same(elman.simple_rnn(x.numpy(), **as_variables, lengths=np.array([3, 6, 0]), native="require"), expected)
    same(elman.simple_rnn(keras.Variable(x), **as_keras, lengths=[3, 6, 0], native="require"), expected)


@pytest.mark.parametrize("in_graph", [False, True])
def test_variables_are_trained(x, weights, in_graph):
    variables = {name: tf.Variable(weight) for name, weight in weights.items()}

    def loss_and_gradients(weights, sources):
        with tf.GradientTape() as tape:
            tape.watch(sources)
            y, h = elman.simple_rnn(x, **weights, native="require")
            loss = tf.reduce_sum(y * y) + tf.reduce_sum(h)
        return loss, tape.gradient(loss, sources)

    run = tf.function(loss_and_gradients) if in_graph else loss_and_gradients
    same(run(variables, list(variables.values())), loss_and_gradients(weights, list(weights.values())))


def test_only_the_gradients_that_are_wanted_are_computed(x, weights):
    def backward_of(*names):
        @tf.function(autograph=False)
        def run():
            sources = {"x": x, **weights, "initial_state": tf.zeros((3, 5))}
            with tf.GradientTape() as tape:
                tape.watch([sources[name] for name in names])
                y, _ = elman.simple_rnn(**sources, native="require")
            return tape.gradient(y, [sources[name] for name in names])

        nodes = run.get_concrete_function().graph.get_operations()
        (node,) = (op for op in nodes if op.type == "ElmanBackward")
        lengths = ("n_dx", "n_dkernel", "n_drecurrent_kernel", "n_dbias", "n_dinitial", "n_norms")
        return [node.get_attr(name) for name in lengths]

    assert backward_of("kernel", "recurrent_kernel", "bias") == [0, 1, 1, 1, 0, 0]
    assert backward_of("x") == [1, 0, 0, 0, 0, 0]
    assert backward_of("initial_state", "x") == [1, 0, 0, 0, 1, 0]


def test_a_persistent_tape_gives_the_same_again(x, weights):
    kernel = weights["kernel"]

    def run(x):
        return elman.simple_rnn(x, **weights, native="require")

    for call in (run, tf.function(run)):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch((x, kernel))
            y, h = call(x)
            square = y * y
        first = tape.gradient(square, kernel)
        same(tape.gradient(square, kernel), first)
        assert tape.gradient(h, x).shape == x.shape


def test_a_tape_around_a_function(x, weights):
    run = tf.function(lambda x: elman.simple_rnn(x, **weights, native="require"))
    found = []
    for call in (run, run.python_function):
        with tf.GradientTape() as tape:
            tape.watch((x, weights))
            y, h = call(x)
        found.append(tape.gradient((y, h), (x, weights)))
    same(*found)


def test_indexed_slices_come_back_as_gradients(x, weights):
    def run():
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, h = elman.simple_rnn(x, **weights, native="require")
            picked = tf.reduce_sum(tf.gather(y, [0, 2])) + tf.reduce_sum(tf.gather(h, [1]))
        return tape.gradient(picked, x)

    close(tf.function(run)(), run())


def test_datasets_map_fn_loops_and_vectorized_map(x, weights):
    def run(x):
        return elman.simple_rnn(x, **weights, native="require")[0]

    stacked = tf.stack([x, 2 * x, -x])
    expected = tf.stack([run(x) for x in stacked])
    same(tf.stack(list(tf.data.Dataset.from_tensor_slices(stacked).map(run, num_parallel_calls=2))), expected)
    same(tf.map_fn(run, stacked), expected)
    same(tf.function(lambda s: tf.map_fn(run, s))(stacked), expected)
    same(tf.vectorized_map(run, stacked), expected)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            y = run(x)
        return tape.gradient(y, weights)

    each = [gradient(x) for x in stacked]
    expected = {name: tf.stack([g[name] for g in each]) for name in weights}
    same(tf.vectorized_map(gradient, stacked), expected)
    same(
        tf.function(lambda s: tf.map_fn(gradient, s, fn_output_signature=dict.fromkeys(weights, tf.float32)))(stacked),
        expected,
    )


def test_a_gradient_through_a_loop(x, weights):
    @tf.function
    def run(x, times):
        h = tf.zeros((3, 5))
        for _ in tf.range(times):
            h = elman.simple_rnn(x, **weights, initial_state=h, native="require")[1]
        return h

    def gradient(call):
        with tf.GradientTape() as tape:
            tape.watch(x)
            h = call(x, tf.constant(3))
        return tape.gradient(h, x)

    close(gradient(run), gradient(lambda x, _: run.python_function(x, 3)))


def test_jacobians(x, weights):
    kernel = weights["recurrent_kernel"]
    found = []
    for native in ("require", False):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            _, h = elman.simple_rnn(x, **weights, native=native)
        found.append(tape.jacobian(h, kernel))
    close(*found)


def test_graphs_of_old(x, weights):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        fed = tf.compat.v1.placeholder(tf.float32, (None, None, 4))
        y, h = elman.simple_rnn(fed, **{name: w.numpy() for name, w in weights.items()}, native="require")
        dx = tf.gradients(h, fed)[0]
        assert dx.shape.as_list() == [None, None, 4]
        got = session.run((y, h), {fed: x.numpy()})
    same(got, elman.simple_rnn(x, **weights))


def test_logical_devices_of_the_cpu(x, weights):
    with tf.device("CPU:0"):
        y, _ = elman.simple_rnn(x, **weights, native="require")
    assert y.device.endswith("CPU:0")


# --- what is not there -----------------------------------------------------------------------------------------------


def hessian_product(run: Any, x: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            square = tf.reduce_sum(run(x) ** 2)
        gradient = inner.gradient(square, x)
    return outer.gradient(gradient, x)


def forward_mode(run: Any, x: tf.Tensor) -> tf.Tensor:
    with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
        y = run(x)
    return accumulator.jvp(y)


@pytest.mark.parametrize("derivative", [hessian_product, forward_mode])
@pytest.mark.parametrize("in_graph", [False, True])
def test_second_and_forward_mode_derivatives_name_the_way_out(derivative, in_graph, x, weights):
    def native(x):
        return elman.simple_rnn(x, **weights, native="require")[0]

    def in_plain_operations(x):
        return elman.simple_rnn(x, **weights, native=False)[0]

    with pytest.raises(NotImplementedError, match="pass native=False"):
        derivative(tf.function(native) if in_graph else native, x)
    found = derivative(tf.function(in_plain_operations) if in_graph else in_plain_operations, x)
    assert np.all(np.isfinite(found))
    assert np.any(found != 0)


def test_a_second_derivative_inside_a_function_names_the_way_out(x, weights):
    @tf.function
    def run(x):
        return hessian_product(lambda x: elman.simple_rnn(x, **weights, native="require")[0], x)

    with pytest.raises(NotImplementedError, match="pass native=False"):
        run(x)


@pytest.mark.parametrize("options", [{}, {"clip_state_gradient": 0.3}, {"truncate_gradient": 2}])
def test_plain_operations_have_second_derivatives(options):
    case = cases.make((2, 4, 3, 5)).astype(np.float64)
    x, direction = tf.constant(case.x), tf.constant(np.random.default_rng(1).normal(size=case.x.shape))
    weights = {"kernel": case.kernel, "recurrent_kernel": case.recurrent_kernel, "bias": case.bias}

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, _ = elman.simple_rnn(x, **weights, native=False, **options)
            square = tf.reduce_sum(y * y)
        return tape.gradient(square, x)

    with tf.GradientTape() as tape:
        tape.watch(x)
        along = tf.reduce_sum(gradient(x) * direction)
    reverse = tape.gradient(along, x)
    step = 1e-5
    differences = (gradient(x + step * direction) - gradient(x - step * direction)) / (2 * step)
    if not options:  # the gradient options give a result that is not a derivative, so its own has no symmetry
        assert tolerance.error(reverse.numpy(), differences.numpy()) <= 1e-7 * np.abs(reverse).max()
    assert np.all(np.isfinite(reverse))
    assert np.any(reverse.numpy() != 0)


def test_xla_takes_plain_operations_and_says_so(x, weights):
    @tf.function(jit_compile=True)
    def compiled(x):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            y, h = elman.simple_rnn(x, **weights, lengths=[3, 6, 0], clip_state_gradient=0.5, truncate_gradient=4)
        return y, h, tape.gradient((y, h), weights)

    with tf.GradientTape() as tape:
        tape.watch(weights)
        y, h = elman.simple_rnn(
            x, **weights, lengths=[3, 6, 0], clip_state_gradient=0.5, truncate_gradient=4, native="require"
        )
    close(compiled(x), (y, h, tape.gradient((y, h), weights)))
    assert "ElmanForward" not in node_types(compiled.get_concrete_function(x))
    with pytest.raises(elman.NativeUnavailable, match="compiles this function with XLA"):
        tf.function(lambda x: elman.simple_rnn(x, **weights, native="require"), jit_compile=True)(x)


def test_xla_is_seen_from_inside_functions_and_loops(x, weights):
    @tf.function
    def inner(x):
        return elman.simple_rnn(x, **weights)[1]

    @tf.function(jit_compile=True)
    def outer(x):
        h = inner(x)
        for _ in tf.range(2):
            h += elman.simple_rnn(x, **weights, initial_state=h)[1]
        return h

    assert outer(x).shape == (3, 5)
    assert "ElmanForward" not in node_types(outer.get_concrete_function(x))


def test_xla_with_sizes_that_tracing_does_not_know(x, weights):
    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec([None, None, 4])])
    def compiled(x):
        y, _ = elman.simple_rnn(x, **weights)
        return y, tf.gradients(y, x)[0]

    for batch, time in ((3, 6), (2, 1)):
        assert [tensor.shape.as_list() for tensor in compiled(x[:batch, :time])] == [[batch, time, 5], [batch, time, 4]]


def test_where_xla_cannot_be_detected_graphs_are_plain_and_eager_calls_native(x, weights, monkeypatch):
    monkeypatch.setattr(_tensorflow, "GraphOrParentsInXlaContext", None)
    elman.simple_rnn(x, **weights, native="require")
    with pytest.raises(elman.NativeUnavailable, match="lacks what the native path needs: control_flow_util"):
        tf.function(lambda x: elman.simple_rnn(x, **weights, native="require"))(x)
    run = tf.function(lambda x: elman.simple_rnn(x, **weights))
    assert "ElmanForward" not in node_types(run.get_concrete_function(x))


def test_next_to_a_gpu_only_a_scope_of_the_cpu_is_native(x, weights, monkeypatch):
    monkeypatch.setattr(_tensorflow, "_accelerator", lambda: "/physical_device:GPU:0")

    def run():
        return elman.simple_rnn(x, **weights, native="require")

    @tf.function
    def scoped():
        with tf.device("/device:CPU:0"):
            return run()

    with pytest.raises(elman.NativeUnavailable, match="are on /physical_device:GPU:0, or may be"):
        tf.function(run)()
    scoped()
    with tf.device("CPU"):
        run()
    monkeypatch.setattr(_tensorflow, "_device", lambda: "/job:localhost/replica:0/task:0/device:GPU:0")
    with pytest.raises(elman.NativeUnavailable, match="are on /physical_device:GPU:0, or may be"):
        run()


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x": (3, 4)}, r"x has shape \(3, 4\); expected \(batch, time, features\) = \(\?, \?, \?\)"),
        ({"x": (1, 1, 1, 3, 4)}, "x has shape of 5 dimensions; expected"),
        ({"kernel": (3, 5)}, r"kernel has shape \(3, 5\); expected \(features, gates \* units\) = \(4, 5\)"),
        ({"kernel": (4, 6)}, r"kernel has shape \(4, 6\); expected \(features, gates \* units\) = \(4, 5\)"),
        ({"recurrent_kernel": (4, 5)}, r"recurrent_kernel has shape \(4, 5\); expected .* = \(4, 4\)"),
        ({"recurrent_kernel": (5,)}, r"recurrent_kernel has shape \(5,\); expected .* = \(\?, \?\)"),
        ({"bias": (4,)}, r"bias has shape \(4,\); expected \(gates \* units,\) = \(5,\)"),
        ({"initial_states": (1, 5)}, r"initial_state has shape \(1, 5\); expected \(batch, units\) = \(3, 5\)"),
        ({"input_dropout": (1, 3, 5)}, r"input_dropout has shape \(1, 3, 5\); expected .* = \(\?, 3, 4\)"),
        ({"recurrent_dropout": (1, 2, 5)}, r"recurrent_dropout has shape \(1, 2, 5\); expected .* = \(\?, 3, 5\)"),
    ],
)
def test_shapes_that_only_a_run_knows(change, sentence):
    shapes = {
        "x": (3, 6, 4), "kernel": (4, 5), "recurrent_kernel": (5, 5), "bias": (5,), "initial_states": (3, 5),
        "input_dropout": (1, 3, 4), "recurrent_dropout": (1, 3, 5),
    }  # fmt: skip
    lists = {"bias", "initial_states", "input_dropout", "recurrent_dropout"}
    given = {name: tf.zeros(change.get(name, shape)) for name, shape in shapes.items()}
    operands = {name: [tensor] if name in lists else tensor for name, tensor in given.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=sentence):
        _tensorflow._ops().elman_forward(**operands, mask=[], A=tf.float32, n_states=1)


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("bad", [-1, 7])
def test_lengths_out_of_range(x, weights, in_graph, dtype, bad):
    def run(lengths):
        return elman.simple_rnn(x, **weights, lengths=lengths, native="require")

    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"lengths\[1\] is {bad}; expected 0 to 6"):
        (tf.function(run) if in_graph else run)(tf.constant([3, bad, 0], dtype))


def test_masks_and_lengths_whose_shape_only_a_run_knows(x, weights):
    def run(**given):
        return elman.simple_rnn(x, **weights, **given, native="require")

    mask = tf.function(lambda mask: run(mask=mask), input_signature=[tf.TensorSpec([None, None], tf.bool)])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"mask has shape \(3, 5\); expected .* = \(3, 6\)"):
        mask(tf.ones((3, 5), bool))
    lengths = tf.function(lambda lengths: run(lengths=lengths), input_signature=[tf.TensorSpec([None], tf.int64)])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"lengths has shape \(2,\); expected .* = \(3,\)"):
        lengths(tf.ones((2,), tf.int64))


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"cell": "mgu"}, "cell is 'mgu', which this version of elman does not know; upgrade elman"),
        ({"activation": "gelu"}, "activation is 'gelu'"),
        ({"activation": "a" * 100}, "activation is ''"),
        ({"n_states": 2}, "n_states is 2; expected 0 or 1"),
        ({"bias": 2}, "n_bias is 2; expected 0 or 1"),
    ],
)
def test_attributes_of_a_newer_elman(x, weights, attributes, sentence):
    attributes = {"n_states": 1, "bias": 1, **attributes}
    bias = [weights["bias"]] * attributes.pop("bias")
    with pytest.raises(tf.errors.InvalidArgumentError, match=sentence):
        _tensorflow._ops().elman_forward(
            x, weights["kernel"], weights["recurrent_kernel"], bias, [], [], [], [], A=tf.float32, **attributes
        )


def test_a_backward_that_does_not_fit_its_forward(x, weights):
    operands = (x, weights["kernel"], weights["recurrent_kernel"], [weights["bias"]], [], [], [], [])
    y, (h,), tape = _tensorflow._ops().elman_forward(*operands, A=tf.float32, n_states=1)
    wanted = {"n_dx": 1, "n_dkernel": 1, "n_drecurrent_kernel": 1, "n_dbias": 1, "n_dinitial": 0, "n_norms": 0}
    for changed, sentence in (
        ((y[1:], tape, y, [h]), r"y has shape \(2, 6, 5\); expected \(batch, time, units\) = \(3, 6, 5\)"),
        ((y, y, y, [h]), r"tape has shape \(3, 6, 5\); expected \(batch, time, columns\) = \(3, 6, 0\)"),
        ((y, tape, h, [h]), r"dy has shape \(3, 5\); expected \(batch, time, units\) = \(3, 6, 5\)"),
        ((y, tape, y, [h[1:]]), r"dfinal_state has shape \(2, 5\); expected \(batch, units\) = \(3, 5\)"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=sentence):
            _tensorflow._ops().elman_backward(*operands, *changed, **wanted)


def test_tensors_that_are_not_arrays(weights):
    with pytest.raises(TypeError, match=r"got a RaggedTensor of shape \(2, None, 4\).*lengths=x.row_lengths"):
        elman.simple_rnn(tf.RaggedTensor.from_row_lengths(tf.zeros((3, 4)), [1, 2]), **weights)
    unknown = tf.function(lambda x: elman.simple_rnn(x, **weights), input_signature=[tf.TensorSpec(None)])
    with pytest.raises(ValueError, match=r"unknown number of dimensions.*tf\.ensure_shape"):
        unknown.get_concrete_function()


def test_errors_of_the_checks_reach_through_a_function(x, weights):
    @tf.function
    def run():
        return elman.simple_rnn(x, **weights, lengths=[1, 2])

    with pytest.raises(ValueError, match=r"lengths has shape \(2,\); expected \(batch,\) = \(3,\)"):
        run()


def test_an_activation_without_a_kernel_is_plain(x, weights):
    run = tf.function(lambda x: elman.simple_rnn(x, **weights, activation=tf.nn.elu))
    assert run(x)[0].shape == (3, 6, 5)
    assert "ElmanForward" not in node_types(run.get_concrete_function(x))


# --- threads ---------------------------------------------------------------------------------------------------------


def test_eight_threads_at_once():
    some = [case.astype(np.float64) for case in CASES[::4]]
    expected = [results(recurrence, case, "eager") for case in some]
    found: dict[int, list[dict[str, np.ndarray]]] = {}
    start = threading.Barrier(8)
    _tensorflow._ops.cache_clear()  # as if none had called before
    _tensorflow.register.cache_clear()

    def work(number):
        start.wait()
        assert _tensorflow.register() is None
        found[number] = [results(recurrence, case, "eager" if number % 2 else "known sizes") for case in some]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for each in found.values():
        for case, got, truth in zip(some, each, expected, strict=True):
            assert got.keys() == truth.keys()
            for name in truth:
                np.testing.assert_array_equal(got[name], truth[name], f"{case}: {name}")


# --- saved graphs ----------------------------------------------------------------------------------------------------


def test_the_operands_are_final_and_new_attributes_have_defaults():
    operands = [
        "x",
        "kernel",
        "recurrent_kernel",
        "bias",
        "initial_states",
        "mask",
        "input_dropout",
        "recurrent_dropout",
    ]
    from_forward = ["y", "tape", "dy", "dfinal_states"]
    gradients = ["n_dx", "n_dkernel", "n_drecurrent_kernel", "n_dbias", "n_dinitial", "n_norms"]
    defaults = {
        "cell": "simple_rnn",
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "go_backwards": False,
        "zero_output_for_mask": False,
        "return_sequences": True,
        "truncate_gradient": 0,
        "clip_state_gradient_bits": 0,
    }
    for op, required in (
        (_tensorflow._ops().elman_forward, [*operands, "A", "n_states"]),
        (_tensorflow._ops().elman_backward, [*operands, *from_forward, *gradients]),
    ):
        parameters = inspect.signature(op).parameters
        assert [name for name, p in parameters.items() if p.default is inspect.Parameter.empty] == required
        assert defaults.items() <= {name: p.default for name, p in parameters.items()}.items()
    forward, backward = _tensorflow._ops()._ElmanForwardOutput, _tensorflow._ops()._ElmanBackwardOutput
    assert forward._fields == ("y", "final_states", "tape")
    assert backward._fields == ("dx", "dkernel", "drecurrent_kernel", "dbias", "dinitial_states", "norms")


def test_the_clipping_norm_is_kept_as_a_float64():
    for c in (0.1, math.pi, 5e-324, 1e300):
        bits = _tensorflow._attributes(Options(clip_state_gradient=c))[0]["clip_state_gradient_bits"]
        assert np.int64(bits).view(np.float64) == c


def in_a_new_process(code: str, *arguments: object) -> str:
    """What a Python process prints."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["require", False], ids=["native", "plain"])
def saved(request, tmp_path_factory):
    """A folder with a saved model, and with what it computes and has for a gradient; whether it is native."""
    case = cases.make((3, 6, 4, 5))

    class Model(tf.Module):
        def __init__(self):
            self.kernel = tf.Variable(case.kernel)
            self.recurrent_kernel = tf.Variable(case.recurrent_kernel)

        @tf.function(input_signature=[tf.TensorSpec([None, None, 4]), tf.TensorSpec([None], tf.int64)])
        def run(self, x, lengths):
            y, h = elman.simple_rnn(
                x, self.kernel, self.recurrent_kernel, lengths=lengths, clip_state_gradient=0.1, native=request.param
            )
            return {"y": y, "h": h}

    folder = tmp_path_factory.mktemp("saved")
    model, x, lengths = Model(), tf.constant(case.x), tf.constant([3, 6, 0], tf.int64)
    with tf.GradientTape() as tape:
        y = model.run(x, lengths)["y"]
    np.savez(folder / "expected.npz", x=x, lengths=lengths, y=y, dkernel=tape.gradient(y, model.kernel))
    tf.saved_model.save(model, str(folder / "model"))
    return folder, request.param == "require"


LOAD = """
import sys, numpy as np
for name in sys.argv[2].split(","):
    __import__(name)
import tensorflow as tf
folder = sys.argv[1]
expected = np.load(folder + "/expected.npz")
loaded = tf.saved_model.load(folder + "/model")
with tf.GradientTape() as tape:
    found = loaded.run(tf.constant(expected["x"]), tf.constant(expected["lengths"]))
for got, name in ((found["y"], "y"), (tape.gradient(found["y"], loaded.kernel), "dkernel")):
    assert np.abs(got - expected[name]).max() <= 32 * np.spacing(np.abs(expected[name]).max()), name
print(loaded.run.get_concrete_function().structured_outputs["y"].shape)
"""


@pytest.mark.parametrize("saved", ["require"], indirect=True, ids=["native"])
@pytest.mark.parametrize("imports", ["elman,tensorflow", "tensorflow,elman", "elman,keras", "keras,elman"])
def test_a_saved_model_loads_where_elman_is_imported(saved, imports):
    folder, _ = saved
    assert in_a_new_process(LOAD, folder, imports) == "(None, None, 5)\n"


def test_without_elman_only_a_saved_model_of_plain_operations_loads(saved):
    folder, native = saved
    if native:
        with pytest.raises(AssertionError, match="Op type not registered 'ElmanForward'"):
            in_a_new_process(LOAD, folder, "tensorflow")
    else:
        assert in_a_new_process(LOAD, folder, "tensorflow") == "(None, None, 5)\n"


# --- installations that lack something -------------------------------------------------------------------------------


def test_importing_elman_leaves_tensorflows_devices_to_be_configured():
    in_a_new_process("""
import elman, tensorflow as tf
assert elman._tensorflow.register() is None
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
tf.config.threading.set_intra_op_parallelism_threads(1)
with tf.device("CPU:1"):
    y, _ = elman.simple_rnn(tf.ones((2, 3, 4)), tf.ones((4, 5)), tf.ones((5, 5)), native="require")
assert y.device.endswith("CPU:1")
""")


LACKING = """
import sys
from pathlib import Path
import elman
from elman import _native
_native.library_path = lambda name="elman": Path(sys.argv[1]) / f"lib{name}{sys.argv[2]}"
import tensorflow as tf  # elman looks for its library now
from elman import _tensorflow
x, kernel, recurrent_kernel = tf.ones((2, 3, 4)), tf.ones((4, 5)), tf.ones((5, 5))
try:
    elman.simple_rnn(x, kernel, recurrent_kernel, native="require")
except elman.NativeUnavailable as error:
    print(error)
run = tf.function(lambda x: elman.simple_rnn(x, kernel, recurrent_kernel)[1])
with tf.GradientTape() as tape:
    tape.watch(x)
    h = run(x)
assert h.shape == (2, 5) and tape.gradient(h, x).shape == x.shape
assert tf.function(tf.linalg.matmul, jit_compile=True)(kernel, recurrent_kernel)[0, 0] == 5
"""


@pytest.fixture
def broken(tmp_path):
    """A folder with copies of the two libraries, and their suffix."""
    for name in ("elman", "elman_tensorflow"):
        shutil.copy(_native.library_path(name), tmp_path)
    return tmp_path, _native.library_path().suffix


def test_a_symbol_that_tensorflow_lacks(broken):
    folder, suffix = broken
    library = folder / f"libelman_tensorflow{suffix}"
    symbol = b"\0TF_AllocateOutput\0"
    content = library.read_bytes()
    assert symbol in content
    library.write_bytes(content.replace(symbol, b"\0TF_AllocateOutpot\0"))
    said = in_a_new_process(LACKING, folder, suffix)
    assert f"TensorFlow {tf.__version__} lacks what the native path needs: TF_AllocateOutpot" in said


def test_a_library_that_is_not_there(broken):
    folder, suffix = broken
    (folder / f"libelman_tensorflow{suffix}").unlink()
    said = in_a_new_process(LACKING, folder, suffix)
    assert "elman's library for TensorFlow cannot be opened" in said


def test_a_library_that_is_none(broken):
    folder, suffix = broken
    (folder / f"libelman_tensorflow{suffix}").write_text("no library")
    assert "elman's library for TensorFlow cannot be opened" in in_a_new_process(LACKING, folder, suffix)


def test_private_modules_that_are_gone():
    in_a_new_process("""
import sys, tensorflow as tf
for name in ("tensorflow.python.eager.record", "tensorflow.python.ops.control_flow_util"):
    sys.modules[name] = None
import elman
from elman import _tensorflow, route
from elman.options import Options
assert _tensorflow.GraphOrParentsInXlaContext is None
x, kernel, recurrent_kernel = tf.ones((2, 3, 4)), tf.ones((4, 5)), tf.ones((5, 5))
assert _tensorflow.facts(x) == route.Facts()
with tf.GradientTape() as tape:
    tape.watch(x)
    operands = (x, kernel, recurrent_kernel, None, (), None, None, None)
    y, _ = _tensorflow.recurrence(Options(return_sequences=False), *operands)
assert tape.gradient(y, x).shape == x.shape
""")


@pytest.mark.parametrize("stand_in", ["types.ModuleType('tensorflow')", "unittest.mock.MagicMock(__spec__=None)"])
def test_a_stand_in_for_tensorflow_is_no_error(stand_in):
    code = f"""
import sys, types, unittest.mock
sys.modules["tensorflow"] = {stand_in}
import numpy as np, elman
elman.simple_rnn(np.ones((2, 3, 4)), np.ones((4, 5)), np.ones((5, 5)), native="require")
"""
    in_a_new_process(code)


@pytest.mark.parametrize("native", ["auto", False])
def test_what_a_masked_step_holds_reaches_no_gradient(native: Any) -> None:
    x = np.ones((2, 3, 4), np.float32)
    x[0, 2] = np.nan
    leaves = [tf.constant(a) for a in (x, np.full((4, 5), 0.1, np.float32), np.eye(5, dtype=np.float32))]
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        y, h = elman.simple_rnn(*leaves, lengths=tf.constant([2, 3]), native=native)
        loss = tf.reduce_sum(y) + tf.reduce_sum(h)
    assert all(np.isfinite(g).all() for g in tape.gradient(loss, leaves))


@pytest.mark.parametrize("native", ["auto", False])
@pytest.mark.parametrize("arriving", [1e20, 2e38])
def test_a_huge_gradient_is_clipped(arriving: float, native: Any) -> None:
    h0, identity = tf.zeros((1, 2)), tf.eye(2)
    with tf.GradientTape() as tape:
        tape.watch(h0)
        options = {"activation": "linear", "clip_state_gradient": 1.0, "native": native}
        _, h = elman.simple_rnn(tf.zeros((1, 3, 2)), identity, identity, None, h0, **options)
    gradient = tape.gradient(h, h0, tf.fill((1, 2), arriving))
    np.testing.assert_allclose(gradient, np.sqrt(0.5), rtol=1e-6)


def test_lengths_out_of_range_are_told_in_plain_operations() -> None:
    x, kernel, recurrent_kernel = tf.ones((2, 3, 4)), tf.ones((4, 5)), tf.ones((5, 5))
    with pytest.raises(ValueError, match=r"lengths\[1\] is 9; expected 0 to 3"):
        elman.simple_rnn(x, kernel, recurrent_kernel, lengths=tf.constant([3, 9]), native=False)


@pytest.mark.parametrize("late", [False, True], ids=["stateful from the start", "made stateful when it was built"])
def test_a_checkpoint_holds_the_states_of_a_stateful_layer(late: bool, tmp_path: Any) -> None:
    x = tf.ones((2, 3, 4))
    layer = elman.LSTM(5, stateful=not late)
    model = keras.Sequential([keras.Input(batch_shape=x.shape), layer])
    model(x)
    layer.stateful = True
    model(x)
    kept = layer.get_state()
    tf.train.Checkpoint(model=model).write(str(tmp_path / "model"))
    layer.reset_state()
    tf.train.Checkpoint(model=model).read(str(tmp_path / "model")).assert_consumed()
    for state, expected in zip(layer.get_state(), kept, strict=True):
        np.testing.assert_array_equal(state, expected)


def test_tensorflow_itself_saves_a_stateful_model(tmp_path: Any) -> None:
    x = tf.ones((2, 3, 4))
    model = keras.Sequential([keras.Input(batch_shape=x.shape), elman.SimpleRNN(5, stateful=True)])
    tf.saved_model.save(model, str(tmp_path / "model"))
    serve = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    for _ in range(2):  # the second call starts from the states of the first one
        (y,) = serve(x).values()
        np.testing.assert_allclose(y, model(x), rtol=1e-6)
