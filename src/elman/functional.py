# SPDX-License-Identifier: Apache-2.0
"""The recurrences as functions of arrays: checks, a route, and one call of the adapter.

In: arrays of NumPy, TensorFlow, JAX or PyTorch. Out: arrays of the same framework, differentiable in the
last three. No framework is imported here, and nothing is computed.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from elman import _native, _numpy, _portable, route
from elman.checks import check_extras, did_you_mean, shape_text, shapes_agree
from elman.frameworks import adapter_of
from elman.options import ACTIVATIONS, Options
from elman.reference import CELLS


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
        x: Array of shape `(batch, time, features)`, float32 or float64 for the native path; the weights, the
            bias and the state have its dtype.
        kernel: Array of shape `(features, units)`.
        recurrent_kernel: Array of shape `(units, units)`.
        bias: Optional array of shape `(units,)`.
        initial_state: Optional array of shape `(batch, units)`; zeros by default.
        activation: One of `"tanh"`, `"relu"`, `"sigmoid"`, `"hard_sigmoid"`, `"linear"`. A callable runs in plain
            framework operations.
        mask: Optional boolean array of shape `(batch, time)`, `True` where a step counts. A masked step keeps the
            state and repeats the output before it (zero before the first valid step).
        lengths: Optional integers of shape `(batch,)`, in place of `mask`: the first `lengths[b]` steps count. Time
            is saved in proportion.
        go_backwards: Read time from the last step to the first; `y` is in processing order, as in Keras.
        zero_output_for_mask: Outputs of masked steps are zero.
        truncate_gradient: Optional positive integer `k`. The state's gradient is cut at `time-k`, `time-2k`, ... in
            processing order.
        clip_state_gradient: Optional positive float. Largest L2 norm, per example, of the gradient that one step
            hands to the step before it.
        native: `"auto"` runs natively where it can, `"require"` raises where it cannot, `False` runs in plain
            framework operations (differentiable any number of times, exportable).

    Returns:
        `(y, h)`: every step's output, `(batch, time, units)` in processing order, and the state after the last step,
        `(batch, units)`. With no time steps `y` is empty and `h` is the initial state.

    Raises:
        TypeError: If an argument is no array, or of another framework or dtype.
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
    settings = (activation, "sigmoid", go_backwards, zero_output_for_mask, truncate_gradient, clip_state_gradient, True)
    y, (h,) = _run("simple_rnn", settings, native, x, kernel, recurrent_kernel, bias, states, mask, lengths)
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
        x: Array of shape `(batch, time, features)`, float32 or float64 for the native path; the weights, the
            bias and the states have its dtype.
        kernel: Array of shape `(features, 4 * units)`, the gates in the order i, f, g, o.
        recurrent_kernel: Array of shape `(units, 4 * units)`, likewise.
        bias: Optional array of shape `(4 * units,)`, likewise.
        initial_state: Optional pair `(h, c)` of arrays of shape `(batch, units)`; zeros by default.
        activation: One of `"tanh"`, `"relu"`, `"sigmoid"`, `"hard_sigmoid"`, `"linear"`. A callable runs in plain
            framework operations.
        recurrent_activation: Likewise, for the gates.
        mask: As `elman.simple_rnn`.
        lengths: As `elman.simple_rnn`.
        go_backwards: As `elman.simple_rnn`.
        zero_output_for_mask: As `elman.simple_rnn`.
        truncate_gradient: As `elman.simple_rnn`, for both states.
        clip_state_gradient: As `elman.simple_rnn`; the norm is over both states jointly.
        native: As `elman.simple_rnn`.

    Returns:
        `(y, (h, c))`: every step's output, `(batch, time, units)` in processing order, and the states after the last
        step, each `(batch, units)`. With no time steps `y` is empty and the states are the initial ones.

    Raises:
        TypeError: If an argument is no array, or of another framework or dtype.
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
    if initial_state is not None and not (isinstance(initial_state, tuple | list) and len(initial_state) == 2):
        raise TypeError(
            f"initial_state is {type(initial_state).__name__}; expected a pair (h, c) of arrays of shape (batch, "
            "units). Pass both states in a tuple."
        )
    states = () if initial_state is None else tuple(initial_state)
    settings = (
        *(activation, recurrent_activation, go_backwards, zero_output_for_mask),
        *(truncate_gradient, clip_state_gradient, True),
    )
    y, (h, c) = _run("lstm", settings, native, x, kernel, recurrent_kernel, bias, states, mask, lengths)
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
        x: Array of shape `(batch, time, features)`, float32 or float64 for the native path; the weights, the
            bias and the state have its dtype.
        kernel: Array of shape `(features, 3 * units)`, the gates in the order z, r, n.
        recurrent_kernel: Array of shape `(units, 3 * units)`, likewise.
        bias: Optional array of shape `(2, 3 * units)`, or without `reset_after` `(3 * units,)`, likewise.
        initial_state: Optional array of shape `(batch, units)`; zeros by default.
        activation: One of `"tanh"`, `"relu"`, `"sigmoid"`, `"hard_sigmoid"`, `"linear"`. A callable runs in plain
            framework operations.
        recurrent_activation: Likewise, for the gates z and r.
        reset_after: Whether the reset gate acts on the product of the state, rather than on the state before it.
        mask: As `elman.simple_rnn`.
        lengths: As `elman.simple_rnn`.
        go_backwards: As `elman.simple_rnn`.
        zero_output_for_mask: As `elman.simple_rnn`.
        truncate_gradient: As `elman.simple_rnn`.
        clip_state_gradient: As `elman.simple_rnn`.
        native: As `elman.simple_rnn`.

    Returns:
        `(y, h)`: every step's output, `(batch, time, units)` in processing order, and the state after the last step,
        `(batch, units)`. With no time steps `y` is empty and `h` is the initial state.

    Raises:
        TypeError: If an argument is no array, or of another framework or dtype.
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
    settings = (
        *(activation, recurrent_activation, go_backwards, zero_output_for_mask),
        *(truncate_gradient, clip_state_gradient, reset_after),
    )
    y, (h,) = _run("gru", settings, native, x, kernel, recurrent_kernel, bias, states, mask, lengths)
    return y, h


for _function in (simple_rnn, lstm, gru):
    # TensorFlow's AutoGraph rewrites what a tf.function calls; where it finds this it leaves the function as written.
    vars(_function)["autograph_info__"] = {}


def _run(
    cell: str,
    settings: tuple[Any, ...],
    native: str | bool,
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    states: tuple[Any, ...],
    mask: Any,
    lengths: Any,
) -> tuple[Any, tuple[Any, ...]]:
    """What every cell's function does: one framework's arrays, checked, by the route that the facts allow."""
    if type(x) is type(kernel) is type(recurrent_kernel) is type(bias) is _numpy.Array:
        # The usual call on NumPy arrays has a way of its own: it is over in microseconds.
        activation, recurrent_activation, go_backwards, zero_output, truncate, clip, _ = settings
        dtype = x.dtype
        if (
            kernel.dtype is recurrent_kernel.dtype is bias.dtype is dtype
            and mask is lengths is truncate is clip is None
            and go_backwards is zero_output is False
            and not states
            and type(activation) is type(recurrent_activation) is type(native) is str
        ):
            usual = _usual(cell, settings, native, dtype, x.shape, kernel.shape, recurrent_kernel.shape, bias.shape)
            if usual:
                options, spec = usual
                return _numpy.recurrence(options, x, kernel, recurrent_kernel, bias, states, None, None, None, spec)
    names = ("x", "kernel", "recurrent_kernel", "bias", "mask", "lengths", *("initial_state",) * len(states))
    arrays = (x, kernel, recurrent_kernel, bias, mask, lengths, *states)
    adapter, like = adapter_of(zip(names, arrays, strict=True))
    arrays = tuple([None if a is None else adapter.asarray(a, like) for a in arrays])
    x, kernel, recurrent_kernel, bias, mask, lengths = arrays[:6]
    facts = tuple([None if a is None else (adapter.shape(a), adapter.dtype(a)) for a in arrays])
    traced = adapter.traced_environment()
    plan = None
    if (
        traced is None and isinstance(settings[0], str) and isinstance(settings[1], str)
    ):  # a cache would keep a callable for good, and all that it holds
        try:
            plan = _cached_plan(cell, native, facts, None, *settings)
        except TypeError:  # a dtype that does not fit, or an argument that cannot be hashed: the checks say which
            plan = None
    options, obstacle, required = plan or _plan(cell, native, facts, traced, *settings)
    if _portable.active():
        obstacle, required = route.reason("portable"), False
    obstacle = obstacle or adapter.obstacle(x)
    if obstacle and required:
        raise route.unavailable(obstacle)
    if obstacle and lengths is not None:
        _check_lengths(adapter.values(lengths), adapter.shape(x)[1])
    recur = adapter.plain if obstacle else adapter.recurrence
    mask = lengths if mask is None else mask
    return recur(options, x, kernel, recurrent_kernel, bias, arrays[6:], mask, None, None)


class _Plan(NamedTuple):
    """What the facts of a call come to: its options, why not natively, if so, and whether that is an error."""

    options: Options
    obstacle: str | None
    required: bool


def _plan(
    cell: str,
    native: str | bool,
    facts: tuple[Any, ...],
    traced: _native.Environment | None,
    activation: Any,
    recurrent_activation: Any,
    go_backwards: Any,
    zero_output_for_mask: Any,
    truncate: Any,
    clip: Any,
    reset_after: Any,
) -> _Plan:
    """Checks a call, once for each set of facts.

    Args:
        cell: The cell's name.
        native: As the user set it.
        facts: `(shape, dtype)`, or `None` where left out, of x, kernel, recurrent_kernel, bias, mask, lengths and the
            initial states; a size is `None` where a framework does not know it yet.
        traced: What the environment said before, where a compiler of the framework reads along, which cannot ask it;
            else `None`.
        activation: This and what follows as the user set it, in the order of `Options`.
        recurrent_activation: See `Options`.
        go_backwards: See `Options`.
        zero_output_for_mask: See `Options`.
        truncate: See `Options.truncate_gradient`.
        clip: See `Options.clip_state_gradient`.
        reset_after: See `Options`.
    """
    _check_flags(go_backwards=go_backwards, zero_output_for_mask=zero_output_for_mask, reset_after=reset_after)
    _check_arrays(cell, bool(reset_after), *facts)
    _check_activations(activation=activation, recurrent_activation=recurrent_activation)
    check_extras(truncate, clip, native)
    truncate = None if truncate is None else min(int(truncate), _native.MOST_STEPS)
    clip = None if clip is None else float(clip)
    flags = {
        "go_backwards": bool(go_backwards),
        "zero_output_for_mask": bool(zero_output_for_mask),
        "reset_after": bool(reset_after),
    }
    options = Options(
        cell, activation, recurrent_activation, truncate_gradient=truncate, clip_state_gradient=clip, **flags
    )
    return _Plan(options, *route.decide(native, options, str(facts[0][1]), traced))


_cached_plan = functools.lru_cache(maxsize=4096, typed=True)(_plan)


@functools.lru_cache(maxsize=4096)
def _usual(
    cell: str, settings: tuple[Any, ...], native: str | bool, dtype: Any, *shapes: tuple[int, ...]
) -> tuple[Options, _native.Spec] | None:
    """Options and spec of a call without a mask or a state, of arrays x, kernel, recurrent_kernel and bias of these
    shapes; `None` where it is wrong, or not native."""
    x, _, (units, *_), _ = shapes
    facts = tuple((shape, dtype) for shape in shapes)
    options, obstacle, _ = _plan(cell, native, (*facts, None, None), None, *settings)
    return None if obstacle else (options, _native.spec(options, *x, units, str(dtype)))


def _check_activations(**activations: Any) -> None:
    for name, activation in activations.items():
        if not callable(activation) and not (isinstance(activation, str) and activation in ACTIVATIONS):
            raise ValueError(
                f"{name} is {activation!r}; expected one of {', '.join(ACTIVATIONS)}, or a callable."
                + did_you_mean(activation, ACTIVATIONS)
            )


def _check_flags(**flags: Any) -> None:
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name} is {value!r}; expected True or False.")


def _check_arrays(
    cell: str,
    reset_after: bool,
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    mask: Any,
    lengths: Any,
    *states: Any,
) -> None:
    """Shapes and dtypes, in the order in which a user would mend them."""
    for name, array in (("x", x), ("kernel", kernel), ("recurrent_kernel", recurrent_kernel)):
        if array is None:
            raise TypeError(
                f"{name} is NoneType; expected an array. Only bias, initial_state, mask and lengths may be left out."
            )
    shape, dtype = x
    if len(shape) != 3:
        raise ValueError(
            f"x has shape {shape_text(shape)}; expected 3 dimensions, (batch, time, features). For one feature per "
            "step pass x[:, :, None]; for a single sequence pass x[None]."
        )
    if "float" not in str(dtype):
        raise TypeError(f"x has dtype {dtype}; expected float32 or float64, or a half type. Cast x and the weights.")
    two_biases = cell == "gru" and reset_after
    _check_weights(shape, dtype, CELLS[cell].gates, two_biases, kernel, recurrent_kernel, bias, states)
    _check_mask(shape, mask, lengths)


def _check_weights(
    shape: tuple[int | None, ...],
    dtype: Any,
    gates: int,
    two_biases: bool,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    states: tuple[Any, ...],
) -> None:
    batch, _, features = shape
    columns = "units" if gates == 1 else f"{gates} * units"
    if len(recurrent_kernel[0]) != 2 or recurrent_kernel[0][0] == 0:
        raise ValueError(
            f"recurrent_kernel has shape {shape_text(recurrent_kernel[0])}; expected (units, {columns}), with at least "
            "one unit."
        )
    units = recurrent_kernel[0][0]
    width = None if units is None else gates * units
    named = [
        ("recurrent_kernel", recurrent_kernel, f"(units, {columns})", (units, width)),
        ("kernel", kernel, f"(features, {columns})", (features, width)),
        ("bias", bias, f"(2, {columns})" if two_biases else f"({columns},)", (2, width) if two_biases else (width,)),
        *(("initial_state", state, "(batch, units)", (batch, units)) for state in states),
    ]
    for name, array, meaning, expected in named:
        _check_shape(name, array, meaning, expected)
        if array is not None and array[1] != dtype:
            raise TypeError(
                f"{name} has dtype {array[1]} and x has {dtype}; expected the same dtype. Cast one of them."
            )


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


def _check_lengths(lengths: np.ndarray | None, time: int | None) -> None:
    """As the native library does; `None`, of a traced call, passes."""
    if lengths is None or time is None:
        return
    for row in np.flatnonzero((lengths < 0) | (lengths > time)):
        raise ValueError(
            f"lengths[{row}] is {lengths[row]}; expected 0 to {time}, the number of time steps. Correct it, or pass a "
            "mask."
        )


def _check_shape(name: str, array: Any, meaning: str, expected: tuple[int | None, ...]) -> None:
    if array is None:
        return
    if not shapes_agree(array[0], expected):
        raise ValueError(f"{name} has shape {shape_text(array[0])}; expected {meaning} = {shape_text(expected)}.")
