# SPDX-License-Identifier: Apache-2.0
"""The recurrences as functions of arrays: checks, a route, and one call of the adapter.

In: arrays of NumPy, TensorFlow, JAX or PyTorch. Out: arrays of the same framework, differentiable in the
last three. No framework is imported here, and nothing is computed.
"""

from __future__ import annotations

import functools
from typing import Any

from elman import _native, _numpy, route
from elman.cells import CELLS
from elman.checks import boolean, check_extras, check_lengths, did_you_mean, python_scalar, shape_text, shapes_agree
from elman.frameworks import adapter_of
from elman.operands import Operands
from elman.options import ACTIVATIONS, Options


def simple_rnn(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any = None,
    initial_state: Any = None,
    *,
    activation: str = "tanh",
    mask: Any = None,
    lengths: Any = None,
    resets: Any = None,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    truncate_gradient: int | None = None,
    clip_state_gradient: float | None = None,
    native: str | bool = "auto",
) -> tuple[Any, Any]:
    """A simple recurrent network over a batch of sequences.

    `h_t = activation(x_t @ kernel + h_{t-1} @ recurrent_kernel + bias)` (Elman 1990, "Finding Structure in
    Time"). Weights, shapes and masks are those of `keras.layers.SimpleRNN`.

    Args:
        x: Array of shape `(batch, time, features)`, float32 or float64 for the native path; the weights, the bias and
            the state have its dtype.
        kernel: Array of shape `(features, units)`.
        recurrent_kernel: Array of shape `(units, units)`.
        bias: Optional array of shape `(units,)`.
        initial_state: Optional array of shape `(batch, units)`; zeros by default.
        activation: One of `"tanh"`, `"relu"`, `"sigmoid"`, `"hard_sigmoid"`, `"linear"`. A callable runs in plain
            framework operations.
        mask: Optional boolean array of shape `(batch, time)`, `True` where a step counts. A masked step keeps the state
            and repeats the output before it (zero before the first valid step).
        lengths: Optional integers of shape `(batch,)`, instead of `mask`: the first `lengths[b]` steps of row `b`
            count. Steps beyond the longest row are not computed.
        resets: Optional boolean array of shape `(batch, time)`. Before a step at which it is `True` the state returns
            to the initial one; at masked steps it plays no part.
        go_backwards: Whether to read time from the last step to the first; `y` is in processing order, as in Keras.
        zero_output_for_mask: Whether outputs of masked steps are zero, rather than the output before them.
        truncate_gradient: Optional positive integer `k` (time steps). The gradient of the state is cut at `time-k`,
            `time-2k`, ... in processing order.
        clip_state_gradient: Optional positive float. Largest L2 norm, per example, of the gradient that one step passes
            to the step before it.
        native: `"auto"` runs natively where it can, `"require"` raises an error where it cannot, `False` runs in plain
            framework operations (which can be differentiated any number of times, and exported).

    Returns:
        `(y, h)`: every step's output, `(batch, time, units)` in processing order, and the state after the last step,
        `(batch, units)`. With no time steps `y` is empty and `h` is the initial state.

    Raises:
        TypeError: If an argument is not an array, or has another framework or dtype.
        ValueError: If a shape, a length or an option does not fit.
        elman.NativeUnavailable: If `native="require"` and the native path cannot run.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(2, 5, 3)).astype("float32")
    >>> kernel = rng.normal(size=(3, 4)).astype("float32")
    >>> recurrent_kernel = rng.normal(size=(4, 4)).astype("float32")
    >>> y, h = elman.simple_rnn(x, kernel, recurrent_kernel)
    >>> y.shape, h.shape
    ((2, 5, 4), (2, 4))
    """
    states = () if initial_state is None else (initial_state,)
    options = (
        "simple_rnn",
        activation,
        "sigmoid",
        go_backwards,
        zero_output_for_mask,
        True,
        truncate_gradient,
        clip_state_gradient,
        True,
    )
    y, (h,) = _run(options, native, (x, kernel, recurrent_kernel, bias, states, mask, None, None), lengths, resets)
    return y, h


def lstm(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any = None,
    initial_state: Any = None,
    *,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    mask: Any = None,
    lengths: Any = None,
    resets: Any = None,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    truncate_gradient: int | None = None,
    clip_state_gradient: float | None = None,
    native: str | bool = "auto",
) -> tuple[Any, tuple[Any, Any]]:
    """A long short-term memory over a batch of sequences.

    `i, f, g, o = x_t @ kernel + h_{t-1} @ recurrent_kernel + bias`, with `recurrent_activation` over `i`, `f` and `o`
    and `activation` over `g`; `c_t = f * c_{t-1} + i * g`; `h_t = o * activation(c_t)` (Hochreiter and Schmidhuber
    1997, "Long Short-Term Memory"; Gers, Schmidhuber and Cummins 2000, "Learning to Forget"). Weights, shapes and
    masks are those of `keras.layers.LSTM`.

    Args:
        x: Array of shape `(batch, time, features)`, float32 or float64 for the native path; the weights, the bias and
            the states have its dtype.
        kernel: Array of shape `(features, 4 * units)`, the gates in the order i, f, g, o.
        recurrent_kernel: Array of shape `(units, 4 * units)`, the gates in the same order.
        bias: Optional array of shape `(4 * units,)`, the gates in the same order.
        initial_state: Optional pair `(h, c)` of arrays of shape `(batch, units)`; zeros by default.
        activation: One of `"tanh"`, `"relu"`, `"sigmoid"`, `"hard_sigmoid"`, `"linear"`. A callable runs in plain
            framework operations.
        recurrent_activation: The activation of the gates i, f and o, one of the same names or a callable.
        mask: Optional boolean array of shape `(batch, time)`, `True` where a step counts. A masked step keeps the
            states and repeats the output before it (zero before the first valid step).
        lengths: Optional integers of shape `(batch,)`, instead of `mask`: the first `lengths[b]` steps of row `b`
            count. Steps beyond the longest row are not computed.
        resets: Optional boolean array of shape `(batch, time)`. Before a step at which it is `True` the state returns
            to the initial one; at masked steps it plays no part.
        go_backwards: Whether to read time from the last step to the first; `y` is in processing order, as in Keras.
        zero_output_for_mask: Whether outputs of masked steps are zero, rather than the output before them.
        truncate_gradient: Optional positive integer `k` (time steps). The gradient of the states is cut at `time-k`,
            `time-2k`, ... in processing order.
        clip_state_gradient: Optional positive float. Largest L2 norm, per example and over both states jointly, of the
            gradient that one step passes to the step before it.
        native: `"auto"` runs natively where it can, `"require"` raises an error where it cannot, `False` runs in plain
            framework operations (which can be differentiated any number of times, and exported).

    Returns:
        `(y, (h, c))`: every step's output, `(batch, time, units)` in processing order, and the states after the last
        step, each `(batch, units)`. With no time steps `y` is empty and the states are the initial ones.

    Raises:
        TypeError: If an argument is not an array, or has another framework or dtype.
        ValueError: If a shape, a length or an option does not fit.
        elman.NativeUnavailable: If `native="require"` and the native path cannot run.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(2, 5, 3)).astype("float32")
    >>> kernel = rng.normal(size=(3, 16)).astype("float32")
    >>> recurrent_kernel = rng.normal(size=(4, 16)).astype("float32")
    >>> y, (h, c) = elman.lstm(x, kernel, recurrent_kernel)
    >>> y.shape, h.shape, c.shape
    ((2, 5, 4), (2, 4), (2, 4))
    """
    states = () if initial_state is None else _pair_of_states(initial_state)
    options = (
        "lstm",
        activation,
        recurrent_activation,
        go_backwards,
        zero_output_for_mask,
        True,
        truncate_gradient,
        clip_state_gradient,
        True,
    )
    y, (h, c) = _run(options, native, (x, kernel, recurrent_kernel, bias, states, mask, None, None), lengths, resets)
    return y, (h, c)


def gru(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any = None,
    initial_state: Any = None,
    *,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    reset_after: bool = True,
    mask: Any = None,
    lengths: Any = None,
    resets: Any = None,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    truncate_gradient: int | None = None,
    clip_state_gradient: float | None = None,
    native: str | bool = "auto",
) -> tuple[Any, Any]:
    """A gated recurrent unit over a batch of sequences.

    `z, r = recurrent_activation(x_t @ kernel + h_{t-1} @ recurrent_kernel + bias)`; `h_t = z * h_{t-1} + (1 - z) * n`,
    where `n = activation(x_t @ kernel + bias[0] + r * (h_{t-1} @ recurrent_kernel + bias[1]))`, or without
    `reset_after` `n = activation(x_t @ kernel + bias + (r * h_{t-1}) @ recurrent_kernel)` (Cho et al. 2014, "Learning
    Phrase Representations using RNN Encoder-Decoder"). Weights, shapes and masks are those of `keras.layers.GRU`.

    Args:
        x: Array of shape `(batch, time, features)`, float32 or float64 for the native path; the weights, the bias and
            the state have its dtype.
        kernel: Array of shape `(features, 3 * units)`, the gates in the order z, r, n.
        recurrent_kernel: Array of shape `(units, 3 * units)`, the gates in the same order.
        bias: Optional array of shape `(2, 3 * units)`, the first row for x and the second for the state; without
            `reset_after` of shape `(3 * units,)`.
        initial_state: Optional array of shape `(batch, units)`; zeros by default.
        activation: One of `"tanh"`, `"relu"`, `"sigmoid"`, `"hard_sigmoid"`, `"linear"`. A callable runs in plain
            framework operations.
        recurrent_activation: The activation of the gates z and r, one of the same names or a callable.
        reset_after: Whether the reset gate acts on the product of the state, rather than on the state before it.
        mask: Optional boolean array of shape `(batch, time)`, `True` where a step counts. A masked step keeps the state
            and repeats the output before it (zero before the first valid step).
        lengths: Optional integers of shape `(batch,)`, instead of `mask`: the first `lengths[b]` steps of row `b`
            count. Steps beyond the longest row are not computed.
        resets: Optional boolean array of shape `(batch, time)`. Before a step at which it is `True` the state returns
            to the initial one; at masked steps it plays no part.
        go_backwards: Whether to read time from the last step to the first; `y` is in processing order, as in Keras.
        zero_output_for_mask: Whether outputs of masked steps are zero, rather than the output before them.
        truncate_gradient: Optional positive integer `k` (time steps). The gradient of the state is cut at `time-k`,
            `time-2k`, ... in processing order.
        clip_state_gradient: Optional positive float. Largest L2 norm, per example, of the gradient that one step passes
            to the step before it.
        native: `"auto"` runs natively where it can, `"require"` raises an error where it cannot, `False` runs in plain
            framework operations (which can be differentiated any number of times, and exported).

    Returns:
        `(y, h)`: every step's output, `(batch, time, units)` in processing order, and the state after the last step,
        `(batch, units)`. With no time steps `y` is empty and `h` is the initial state.

    Raises:
        TypeError: If an argument is not an array, or has another framework or dtype.
        ValueError: If a shape, a length or an option does not fit.
        elman.NativeUnavailable: If `native="require"` and the native path cannot run.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(2, 5, 3)).astype("float32")
    >>> kernel = rng.normal(size=(3, 12)).astype("float32")
    >>> recurrent_kernel = rng.normal(size=(4, 12)).astype("float32")
    >>> y, h = elman.gru(x, kernel, recurrent_kernel)
    >>> y.shape, h.shape
    ((2, 5, 4), (2, 4))
    """
    states = () if initial_state is None else (initial_state,)
    options = (
        "gru",
        activation,
        recurrent_activation,
        go_backwards,
        zero_output_for_mask,
        True,
        truncate_gradient,
        clip_state_gradient,
        reset_after,
    )
    y, (h,) = _run(options, native, (x, kernel, recurrent_kernel, bias, states, mask, None, None), lengths, resets)
    return y, h


for _name in CELLS:
    # TensorFlow's AutoGraph rewrites what a tf.function calls; where it finds this it leaves the function as written.
    vars(globals()[_name])["autograph_info__"] = {}


def _pair_of_states(initial_state: Any) -> tuple[Any, Any]:
    if not (isinstance(initial_state, tuple | list) and len(initial_state) == 2):
        got = type(initial_state).__name__
    elif initial_state[0] is None or initial_state[1] is None:
        got = "a pair with None in it"
    else:
        return initial_state[0], initial_state[1]
    raise TypeError(
        f"initial_state is {got}; expected a pair (h, c) of arrays of shape (batch, units). Pass both in a tuple."
    )


def _run(
    options: tuple[Any, ...], native: str | bool, given: Any, lengths: Any, resets: Any
) -> tuple[Any, tuple[Any, ...]]:
    """Runs the recurrence of every function here.

    The usual call, of NumPy arrays of one dtype without a mask and with activations by name, is over in microseconds:
    its checks are looked up by its shapes. Any other call, and one that is wrong, takes the general way.

    Args:
        options: The fields of `Options`, as the user passed them.
        native: As the user set it.
        given: The fields of `Operands`, as the user passed them.
        lengths: As the user passed them.
        resets: Likewise.
    """
    x, kernel, recurrent_kernel, bias, states, mask, _, _ = given
    if type(x) is type(kernel) is type(recurrent_kernel) is type(bias) is _numpy.Array:
        _, activation, recurrent_activation, go_backwards, zero_output, _, truncate, clip, reset_after = options
        dtype, usual = x.dtype, True
        shapes = (x.shape, kernel.shape, recurrent_kernel.shape, bias.shape)
        if states:
            usual = all(type(state) is _numpy.Array and state.dtype is dtype for state in states)
            shapes += tuple([state.shape for state in states]) if usual else ()
        if (
            usual
            and kernel.dtype is recurrent_kernel.dtype is bias.dtype is dtype
            and mask is lengths is resets is truncate is clip is None
            and go_backwards is zero_output is False
            and type(activation) is type(recurrent_activation) is type(native) is str
            and type(reset_after) is bool
            and (spec := _cached_spec(options, native, dtype, shapes))
        ):
            y, final_states, _ = _numpy.run(spec, given)
            return y, final_states
    return _run_any(options, native, given, lengths, resets)


def _run_any(options: Any, native: str | bool, given: Any, lengths: Any, resets: Any) -> tuple[Any, tuple[Any, ...]]:
    """Checks the arrays of one framework, and takes the route that the facts allow. Arguments as `_run`."""
    x, kernel, recurrent_kernel, bias, states, mask, _, _ = given
    native = python_scalar(native)
    names = ("x", "kernel", "recurrent_kernel", "bias", "mask", "lengths", *("initial_state",) * len(states), "resets")
    arrays = (x, kernel, recurrent_kernel, bias, mask, lengths, *states, resets)
    adapter, like = adapter_of(zip(names, arrays, strict=True))
    *found, resets = [None if a is None else adapter.asarray(a, like) for a in arrays]
    arrays = tuple(found)
    facts = tuple([None if a is None else (adapter.shape(a), adapter.dtype(a)) for a in arrays])
    traced = adapter.traced_environment()
    if traced is None and type(options[1]) is type(options[2]) is str:
        options, decision = _checked_once(native, facts, options)
    else:  # a cache would keep a callable for good, and all that it holds; a compiler cannot look into a cache
        options, decision = _checked(native, facts, traced, *options)
    x, kernel, recurrent_kernel, bias, mask, lengths, *states = arrays
    decision = route.decide_for(decision, adapter, x)
    if decision.reason and decision.required:
        raise route.unavailable(decision.reason)
    if (decision.reason or resets is not None) and lengths is not None:
        check_lengths(adapter.values(lengths), adapter.shape(x)[1])
    recur = adapter.plain if decision.reason else adapter.recurrence
    mask = lengths if mask is None else mask
    if resets is not None:
        _check_resets((adapter.shape(resets), adapter.dtype(resets)), adapter.shape(x))
        mask = adapter.codes(mask, resets)
    return recur(options, x, kernel, recurrent_kernel, bias, tuple(states), mask, None, None)


@functools.lru_cache(maxsize=4096)
def _cached_spec(
    options: tuple[Any, ...], native: str | bool, dtype: Any, shapes: tuple[tuple[int, ...], ...]
) -> _native.Spec | None:
    """The spec for x, kernel, recurrent_kernel, bias and states of these shapes; `None` where they cannot run natively
    as they are."""
    if not dtype.isnative:
        return None
    facts = [(shape, dtype) for shape in shapes]
    checked, decision = _checked(native, (*facts[:4], None, None, *facts[4:]), None, *options)
    return None if decision.reason else _native.spec(checked, *shapes[0], shapes[2][0], str(dtype))


def _checked_once(
    native: str | bool, facts: tuple[Any, ...], options: tuple[Any, ...]
) -> tuple[Options, route.Decision]:
    """As `_checked`, which runs once for each set of facts."""
    try:
        return _cached(native, facts, None, *options)
    except TypeError:  # a dtype that does not fit, or an argument that cannot be hashed: the checks say which
        return _checked(native, facts, None, *options)


def _checked(
    native: str | bool, facts: tuple[Any, ...], traced: _native.Environment | None, *given: Any
) -> tuple[Options, route.Decision]:
    """Checks a call. Returns its options in their own types, and the route as far as it is known before the call.

    Args:
        native: As the user set it.
        facts: `(shape, dtype)`, or `None` where it is left out, of x, kernel, recurrent_kernel, bias, mask, lengths and
            the initial states; a size is `None` where a framework does not know it yet.
        traced: What the adapter's `traced_environment` returned.
        *given: The fields of `Options`, as the user passed them.
    """
    options = Options(*given)
    x, kernel, recurrent_kernel, bias, mask, lengths, *states = facts
    truncate, clip = options.truncate_gradient, options.clip_state_gradient
    _check_flags(
        go_backwards=options.go_backwards,
        zero_output_for_mask=options.zero_output_for_mask,
        reset_after=options.reset_after,
    )
    _check_arrays(options, Operands(x, kernel, recurrent_kernel, bias, tuple(states), mask), lengths)
    _check_activations(activation=options.activation, recurrent_activation=options.recurrent_activation)
    check_extras(truncate, clip, native)
    options = options._replace(
        go_backwards=bool(options.go_backwards),
        zero_output_for_mask=bool(options.zero_output_for_mask),
        reset_after=bool(options.reset_after),
        truncate_gradient=None if truncate is None else min(int(truncate), _native.MOST_STEPS),
        clip_state_gradient=None if clip is None else float(clip),
    )
    return options, route.before_the_call(native, options, str(x[1]), traced)


_cached = functools.lru_cache(maxsize=4096, typed=True)(_checked)


def _check_activations(**activations: Any) -> None:
    for name, activation in activations.items():
        if not callable(activation) and not (isinstance(activation, str) and activation in ACTIVATIONS):
            raise ValueError(
                f"{name} is {activation!r}; expected one of {', '.join(ACTIVATIONS)}, or a callable."
                + did_you_mean(activation, ACTIVATIONS)
            )


def _check_flags(**flags: Any) -> None:
    for name, value in flags.items():
        boolean(name, value)


def _check_arrays(options: Options, facts: Operands, lengths: Any) -> None:
    """Checks shapes and dtypes, in the order in which a user would mend them."""
    for name in ("x", "kernel", "recurrent_kernel"):
        if getattr(facts, name) is None:
            raise TypeError(
                f"{name} is NoneType; expected an array. Only bias, initial_state, mask and lengths may be left out."
            )
    shape, dtype = facts.x
    if len(shape) != 3:
        raise ValueError(
            f"x has shape {shape_text(shape)}; expected 3 dimensions, (batch, time, features). For one feature per "
            "step pass x[:, :, None]; for a single sequence pass x[None]."
        )
    if "float" not in str(dtype):
        raise TypeError(f"x has dtype {dtype}; expected float32 or float64, or a half type. Cast x and the weights.")
    _check_weights(options, facts)
    _check_mask(shape, facts.mask, lengths)


def _check_weights(options: Options, facts: Operands) -> None:
    (batch, _, features), dtype = facts.x
    cell, recurrent_kernel = CELLS[options.cell], facts.recurrent_kernel
    gates = len(cell.gates)
    columns = f"{gates} * units" if gates > 1 else "units"
    if len(recurrent_kernel[0]) != 2 or recurrent_kernel[0][0] == 0:
        raise ValueError(
            f"recurrent_kernel has shape {shape_text(recurrent_kernel[0])}; expected (units, {columns}), with at least "
            "one unit."
        )
    units = recurrent_kernel[0][0]
    width = None if units is None else gates * units
    two_biases = cell.two_biases(bool(options.reset_after))
    named = [
        ("recurrent_kernel", recurrent_kernel, f"(units, {columns})", (units, width)),
        ("kernel", facts.kernel, f"(features, {columns})", (features, width)),
        (
            *("bias", facts.bias, f"(2, {columns})" if two_biases else f"({columns},)"),
            (2, width) if two_biases else (width,),
        ),
        *(("initial_state", state, "(batch, units)", (batch, units)) for state in facts.initial_states),
    ]
    others = [(name, array[1]) for name, array, *_ in named if array is not None and array[1] != dtype]
    also = f" Also cast {' and '.join(name for name, _ in others)} to {dtype}, the dtype of x." if others else ""
    for name, array, meaning, expected in named:
        _check_shape(name, array, meaning, expected, also)
    for name, other in others:
        raise TypeError(f"{name} has dtype {other} and x has {dtype}; expected the same dtype. Cast one of them.")


def _check_mask(shape: tuple[int | None, ...], mask: Any, lengths: Any) -> None:
    if mask is not None and lengths is not None:
        raise ValueError(
            "mask and lengths are both given; expected one of them. Lengths mask all but the leading steps."
        )
    _check_shape("mask", mask, "(batch, time)", shape[:2])
    if mask is not None and str(mask[1]) != "bool":
        raise TypeError(f"mask has dtype {mask[1]}; expected bool, True where a step counts. Pass mask != 0.")
    _check_shape("lengths", lengths, "(batch,)", shape[:1])
    if lengths is not None and str(lengths[1]) not in {"int32", "int64"}:
        raise TypeError(f"lengths has dtype {lengths[1]}; expected int32 or int64, the valid steps of each row.")


def _check_resets(resets: Any, shape: tuple[int | None, ...]) -> None:
    _check_shape("resets", resets, "(batch, time)", shape[:2])
    if str(resets[1]) != "bool":
        raise TypeError(
            f"resets has dtype {resets[1]}; expected bool, True where the state returns to the initial one. "
            "Pass resets != 0."
        )


def _check_shape(name: str, array: Any, meaning: str, expected: tuple[int | None, ...], also: str = "") -> None:
    if array is None:
        return
    if not shapes_agree(array[0], expected):
        raise ValueError(f"{name} has shape {shape_text(array[0])}; expected {meaning} = {shape_text(expected)}.{also}")
