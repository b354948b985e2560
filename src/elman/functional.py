# SPDX-License-Identifier: Apache-2.0
"""The recurrences as functions of arrays: checks, a route, and one call of the adapter.

In: arrays of NumPy, TensorFlow, JAX or PyTorch. Out: arrays of the same framework, differentiable in the
last three. No framework is imported here, and nothing is computed.
"""

from __future__ import annotations

import difflib
from types import ModuleType
from typing import Any

from elman import _numpy, route
from elman.frameworks import adapter_of
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
        activation: One of `"tanh"`, `"relu"`, `"sigmoid"`, `"linear"`. A callable runs in plain framework
            operations.
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
    options = Options(
        "simple_rnn",
        activation,
        "sigmoid",
        go_backwards,
        zero_output_for_mask,
        True,
        truncate_gradient,
        clip_state_gradient,
    )
    states = () if initial_state is None else (initial_state,)
    y, (h,) = _run(options, x, kernel, recurrent_kernel, bias, states, mask, lengths, native)
    return y, h


def _run(
    options: Options,
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    states: tuple[Any, ...],
    mask: Any,
    lengths: Any,
    native: str | bool,
) -> tuple[Any, tuple[Any, ...]]:
    """What every cell's function does: one framework's arrays, checked, by the route that the facts allow."""
    adapter: ModuleType = _numpy
    arrays = (x, kernel, recurrent_kernel, bias, *states, mask, lengths)
    if not all(a is None or type(a) is _numpy.Array for a in arrays):
        names = ("x", "kernel", "recurrent_kernel", "bias", *("initial_state",) * len(states), "mask", "lengths")
        adapter, like = adapter_of(zip(names, arrays, strict=True))
        x, kernel, recurrent_kernel, bias, *states, mask, lengths = (
            None if a is None else adapter.asarray(a, like) for a in arrays
        )
    mask = _check_mask(adapter, x, mask, lengths)
    _check_shapes(adapter, x, kernel, recurrent_kernel, bias, states)
    _check_options(options, native)
    obstacle = route.obstacle(native, options, adapter.dtype(x)) or adapter.obstacle(x)
    if obstacle is None:
        recur = adapter.recurrence
    elif native == "require":
        raise route.NativeUnavailable(f"native=\"require\", and the native path cannot run: {obstacle}.")
    else:
        recur = adapter.plain
    return recur(options, x, kernel, recurrent_kernel, bias, tuple(states), mask, None, None)


def _check_options(options: Options, native: str | bool) -> None:
    activation, k, c = options.activation, options.truncate_gradient, options.clip_state_gradient
    if activation not in ACTIVATIONS and not callable(activation):
        nearest = difflib.get_close_matches(str(activation), ACTIVATIONS, n=1)
        raise ValueError(
            f"activation is {activation!r}; expected one of {', '.join(ACTIVATIONS)}, or a callable."
            + (f" Did you mean {nearest[0]!r}?" if nearest else "")
        )
    if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
        raise ValueError(f"truncate_gradient is {k!r}; expected a positive integer (time steps), or None.")
    if c is not None and not (isinstance(c, int | float) and 0 < c < float("inf")):
        raise ValueError(f"clip_state_gradient is {c!r}; expected a positive number (an L2 norm), or None.")
    if native not in route.NATIVE:
        raise ValueError(f'native is {native!r}; expected "auto", "require" or False.')


def _check_mask(adapter: ModuleType, x: Any, mask: Any, lengths: Any) -> Any:
    """The mask operand: a boolean (batch, time) mask, integer (batch,) lengths, or `None`."""
    if lengths is not None:
        if mask is not None:
            raise ValueError("mask and lengths are both given; expected one. Lengths are a mask of leading steps.")
        if adapter.dtype(lengths) not in ("int32", "int64"):
            raise TypeError(
                f"lengths has dtype {adapter.dtype(lengths)}; expected int32 or int64, the number of valid steps of each row."
            )
        _check_shape(adapter, "lengths", lengths, "(batch,)", adapter.shape(x)[:1])
        return lengths
    if mask is not None:
        if adapter.dtype(mask) != "bool":
            raise TypeError(
                f"mask has dtype {adapter.dtype(mask)}; expected bool, True where a step counts. Pass mask != 0."
            )
        _check_shape(adapter, "mask", mask, "(batch, time)", adapter.shape(x)[:2])
    return mask


def _check_shapes(
    adapter: ModuleType, x: Any, kernel: Any, recurrent_kernel: Any, bias: Any, states: tuple[Any, ...]
) -> None:
    x_shape = adapter.shape(x)
    if len(x_shape) != 3:
        raise ValueError(
            f"x has shape {x_shape}; expected 3 dimensions, (batch, time, features). For one feature per step pass "
            "x[:, :, None]; for a single sequence pass x[None]."
        )
    batch, _, features = x_shape
    units = adapter.shape(recurrent_kernel)[0] if len(adapter.shape(recurrent_kernel)) == 2 else None
    if units == 0:
        raise ValueError("recurrent_kernel has shape (0, 0); expected at least one unit.")
    _check_shape(adapter, "recurrent_kernel", recurrent_kernel, "(units, units)", (units, units))
    _check_shape(adapter, "kernel", kernel, "(features, units)", (features, units))
    named = {"kernel": kernel, "recurrent_kernel": recurrent_kernel}
    if bias is not None:
        _check_shape(adapter, "bias", bias, "(units,)", (units,))
        named["bias"] = bias
    for state in states:
        _check_shape(adapter, "initial_state", state, "(batch, units)", (batch, units))
        named["initial_state"] = state
    for name, array in named.items():
        if adapter.dtype(array) != adapter.dtype(x):
            raise TypeError(
                f"{name} has dtype {adapter.dtype(array)} and x has {adapter.dtype(x)}; expected the same dtype. "
                "Cast one of them."
            )


def _check_shape(adapter: ModuleType, name: str, array: Any, meaning: str, expected: tuple[int | None, ...]) -> None:
    got = adapter.shape(array)
    if len(got) == len(expected) and all(g == e or g is None or e is None for g, e in zip(got, expected, strict=True)):
        return
    sizes = ", ".join("?" if e is None else str(e) for e in expected) + ("," if len(expected) == 1 else "")
    raise ValueError(f"{name} has shape {got}; expected {meaning} = ({sizes}).")
