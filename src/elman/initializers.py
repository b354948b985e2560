# SPDX-License-Identifier: Apache-2.0
"""Initial weights for long memory, as Keras initializers that are saved with a model.

In: a shape. Out: a tensor of the backend. Random numbers are drawn by NumPy, so that a seed gives the same weights on
every backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np

from elman import _native, _numpy, reference
from elman.checks import is_integer, is_real, positive_integer
from elman.operands import Operands
from elman.options import ACTIVATIONS, Options

__all__ = ["Chrono", "ScaledIdentity", "orthogonal_on_batch"]

_GAINS = np.geomspace(0.05, 20, 25)  # what is tried first, each 1.28 times the one before


@keras.saving.register_keras_serializable("elman")
class ScaledIdentity(keras.initializers.Initializer):
    """A recurrent kernel that hands each unit's state on to itself: the identity times `gain`, for each gate.

    With `activation="relu"` and zero biases the layer is an IRNN, through which a state and its gradient pass unchanged
    (Le, Jaitly and Hinton 2015, "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units"). Its
    training is fragile: use it with a small learning rate and `clipnorm` or `clip_state_gradient`.

    Args:
        gain: The number on the diagonal. Below 1 the network forgets by that factor per step.

    Raises:
        ValueError: If `gain` is no finite number; when it is called, if the shape is not `(units, n * units)`.

    Example:

    >>> layer = elman.SimpleRNN(4, activation="relu", recurrent_initializer=elman.initializers.ScaledIdentity())
    """

    gain: float

    def __init__(self, gain: float = 1.0) -> None:
        if not is_real(gain):
            raise ValueError(f"gain is {gain!r}; expected a finite number, 1.0 to hand states on as they are.")
        self.gain = float(gain)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """A tensor of that shape."""
        if len(shape) != 2 or shape[0] < 1 or shape[1] % shape[0]:
            raise ValueError(
                f"ScaledIdentity got the shape {tuple(shape)}; expected (units, units), or a multiple of units beside "
                "it, one for each gate. Set it as recurrent_initializer."
            )
        blocks = np.tile(self.gain * np.eye(shape[0]), (1, shape[1] // shape[0]))
        return _tensor(blocks, dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {"gain": self.gain}


@keras.saving.register_keras_serializable("elman")
class Chrono(keras.initializers.Initializer):
    """Biases with which the gates of an LSTM or a GRU begin by remembering from 1 to `longest` steps.

    The forget gate's bias is `ln(u)`, `u` uniform in `[1, longest - 1]` for each unit, and the input gate's its
    negative (Tallec and Ollivier 2018, "Can recurrent neural networks warp time?"). A GRU's update gate `z` is both at
    once (`h_t = z h_{t-1} + (1 - z) n`), and has `ln(u)`. All other biases are 0. An LSTM needs
    `unit_forget_bias=False`: else Keras asks for the biases piece by piece, and puts ones in the forget gate's place.

    Args:
        longest: About how many steps the task asks for; at least 3.
        units: Of the layer: they tell an LSTM's biases from a GRU's, and both from a piece of an LSTM's.
        seed: Of the draw.

    Raises:
        TypeError: If `seed` is no integer.
        ValueError: If another argument is none of these; when it is called, if the shape is not that of such a bias.

    Example:

    >>> chrono = elman.initializers.Chrono(longest=200, units=32)
    >>> layer = elman.LSTM(32, bias_initializer=chrono, unit_forget_bias=False)
    """

    longest: int
    units: int
    seed: int

    def __init__(self, longest: int, units: int, seed: int = 0) -> None:
        if not is_integer(longest, least=3):
            raise ValueError(f"longest is {longest!r}; expected an integer of at least 3, the steps to remember.")
        positive_integer("units", units, "the layer's units")
        if not is_integer(seed):
            raise TypeError(f"seed is {seed!r}; expected an integer.")
        self.longest = int(longest)
        self.units = int(units)
        self.seed = int(seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """A tensor of that shape."""
        shape, units = tuple(shape), self.units
        kept = np.log(np.random.default_rng(self.seed).uniform(1, self.longest - 1, units))
        bias = np.zeros(shape)
        if shape == (4 * units,):  # an LSTM's i, f, g, o
            bias[:units], bias[units : 2 * units] = -kept, kept
        elif shape in {(3 * units,), (2, 3 * units)}:  # a GRU's z, r, n; a second row is for the state's product
            np.atleast_2d(bias)[0, :units] = kept
        elif shape in {(units,), (2 * units,)}:
            raise ValueError(
                f"Chrono got the shape {shape}, a piece of the biases of an LSTM of {units} units; expected all, "
                f"({4 * units},). Set unit_forget_bias=False on the layer."
            )
        else:
            raise ValueError(
                f"Chrono for {units} units got the shape {shape}; expected ({4 * units},) of an LSTM, ({3 * units},) "
                f"or (2, {3 * units}) of a GRU. Set it as bias_initializer, with the layer's units."
            )
        return _tensor(bias, dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {"longest": self.longest, "units": self.units, "seed": self.seed}


def _tensor(array: np.ndarray, dtype: Any) -> Any:
    return keras.ops.convert_to_tensor(array, dtype or keras.config.floatx())


def orthogonal_on_batch(
    x: Any, units: int, activation: str = "tanh", *, mask: Any = None, kernel: Any = None, seed: int = 0
) -> keras.initializers.Orthogonal:
    """An orthogonal recurrent kernel whose gain is set by a batch, so that gradients neither shrink nor grow at first.

    The activation's slope shrinks a gradient at every step, more so the larger the input is. The gain makes up for it:
    it is the least gain between 0.05 and 20 where the mean over examples of `ln |g_{T-k}| / |g_T|` per step is 0, of a
    loss at the last step in a random direction. Where there is none, as of few units, or of inputs that saturate them
    at any gain, it is about where the mean is nearest to 0; and 1 where at no gain a gradient arrives in half of the
    examples. It is to a recurrent kernel what "All you need is a good init" (Mishkin and Matas 2016) is to the layers
    of a deep network; the label is elman's. Of relu, half of whose slopes are zero, other draws of that gain still grow
    or shrink by up to 20 % per step.

    Args:
        x: The layer's input, `(batch, time, features)`, at least 2 steps; after whatever stands before the layer.
        units: Of the `SimpleRNN`.
        activation: Its activation, by name.
        mask: `(batch, time)`, `True` where a step counts; all do, if `None`.
        kernel: Its kernel `(features, units)`; one that Keras's default `glorot_uniform` could draw, if `None`.
        seed: Of the draws.

    Returns:
        A `keras.initializers.Orthogonal` of that gain.

    Raises:
        ValueError: If an argument does not fit, or `x` has NaN or infinities.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(64, 20, 3))
    >>> initializer = elman.initializers.orthogonal_on_batch(x, 32)
    >>> layer = elman.SimpleRNN(32, recurrent_initializer=initializer)
    """
    x = np.ascontiguousarray(np.asarray(x, "float64"))
    valid = np.ones(x.shape[:2], bool) if mask is None else np.ascontiguousarray(np.asarray(mask, bool))
    _check(x, valid, units, activation, kernel)
    rng = np.random.default_rng(seed)
    limit = np.sqrt(6 / (x.shape[2] + units))
    drawn = rng.uniform(-limit, limit, (x.shape[2], units))
    kernel = drawn if kernel is None else np.ascontiguousarray(np.asarray(kernel, "float64"))
    turn, upper = np.linalg.qr(rng.standard_normal((units, units)))
    turn *= np.sign(np.diag(upper))  # uniform over all turns
    direction = rng.standard_normal((len(x), units))

    def growth(gain: float) -> float:
        return _growth(x, valid, kernel, gain * turn, direction, activation)

    return keras.initializers.Orthogonal(gain=round(_balanced(growth), 4), seed=seed)


def _balanced(growth: Callable[[float], float]) -> float:
    """The gain of all those tried at which `growth` is nearest to 0; the least one where it passes 0 several times.

    Bisection between the ends is not enough: at large gains tanh and sigmoid saturate, and growth falls again.
    """
    tried = {float(gain): growth(gain) for gain in _GAINS}
    for (low, before), (high, after) in pairwise(list(tried.items())):
        if -np.inf < before < 0 <= after:
            for _ in range(16):
                middle = float(np.sqrt(low * high))
                tried[middle] = growth(middle)
                low, high = (middle, high) if tried[middle] < 0 else (low, middle)
            break
    distance = {gain: abs(found) for gain, found in tried.items() if np.isfinite(found)}
    return min(distance, key=distance.__getitem__, default=1.0)


def _check(x: np.ndarray, valid: np.ndarray, units: Any, activation: Any, kernel: Any) -> None:
    if x.ndim != 3 or x.shape[0] < 1 or x.shape[1] < 2:
        raise ValueError(f"x has shape {x.shape}; expected (batch, time, features), with at least 2 steps.")
    if valid.shape != x.shape[:2]:
        raise ValueError(f"mask has shape {valid.shape}; expected (batch, time) = {x.shape[:2]}.")
    if not np.isfinite(x[valid]).all():
        raise ValueError("x has NaN or infinities; expected numbers. Fill them, or leave those examples out.")
    positive_integer("units", units)
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; expected one of {', '.join(ACTIVATIONS)}.")
    if kernel is not None and np.shape(kernel) != (x.shape[2], units):
        raise ValueError(f"kernel has shape {np.shape(kernel)}; expected (features, units) = {(x.shape[2], units)}.")
    if kernel is not None and not np.isfinite(np.asarray(kernel, "float64")).all():
        raise ValueError("kernel has NaN or infinities; expected numbers. Pass one that has not diverged.")


def _growth(
    x: np.ndarray,
    valid: np.ndarray,
    kernel: np.ndarray,
    recurrent_kernel: np.ndarray,
    direction: np.ndarray,
    activation: str,
) -> float:
    """The mean logarithm of a gradient's growth per step on its way back, over the examples in which it arrives; minus
    infinity where that is not half of them, plus infinity where numbers end."""
    options = Options(activation=activation)
    operands = Operands(x, kernel, recurrent_kernel, None, (np.zeros_like(direction),), valid)
    dy = np.zeros((*x.shape[:2], direction.shape[1]))
    dy[:, -1] = direction
    none = (np.zeros_like(direction),)
    with np.errstate(all="ignore"):  # too large a gain may grow past every number
        if _native.reason():
            y, _, tape = reference.forward(*operands, options=options)
            norms = reference.backward(*operands, tape, dy, none, options=options).norms
        else:
            y, _, kept = _numpy.forward(options, operands, keep_tape=True)
            norms = _numpy.backward(options, operands, y, kept, dy, none, want_dx=False).norms
        steps = valid.sum(axis=1) - 1
        growth = np.log(norms[:, 0] / norms[:, -1])[steps > 0] / steps[steps > 0]
    if not np.isfinite(y).all() or np.isposinf(growth).any():  # relu's slope at NaN is 0, as if nothing arrived
        return np.inf
    arrives = growth[np.isfinite(growth)]
    return float(arrives.mean()) if len(arrives) and 2 * len(arrives) >= len(growth) else -np.inf
