# SPDX-License-Identifier: Apache-2.0
"""Initial weights for long memory, as Keras initializers that are saved with a model.

Input: a shape. Output: a tensor of Keras's backend. NumPy draws the random numbers, so that a seed gives the same
weights on every backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np

from elman import state_gradient
from elman.cells import CELLS
from elman.checks import check_seed, is_integer, is_real, positive_integer, short
from elman.operands import Operands
from elman.options import ACTIVATIONS, Options

__all__ = ["Chrono", "ScaledIdentity", "orthogonal_on_batch"]

_GAINS = np.geomspace(0.05, 20, 25)  # the first gains to try, each 1.28 times the one before


@keras.saving.register_keras_serializable("elman")
class ScaledIdentity(keras.initializers.Initializer):
    """A recurrent kernel that passes each unit's state to the same unit: the identity times `gain`, for each gate.

    With `activation="relu"` and zero biases the layer is an IRNN, through which a state and its gradient pass unchanged
    (Le, Jaitly and Hinton 2015, "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units"). Its
    training is fragile: use it with a small learning rate and `clipnorm` or `clip_state_gradient`.

    Args:
        gain: The number on the diagonal. Below 1 the network forgets by that factor per step.

    Raises:
        ValueError: If `gain` is not a finite number; in a call, if the shape is not `(units, n * units)`.

    Example:

    >>> layer = elman.SimpleRNN(4, activation="relu", recurrent_initializer=elman.initializers.ScaledIdentity())
    """

    gain: float

    def __init__(self, gain: float = 1.0) -> None:
        if not is_real(gain):
            raise ValueError(f"gain is {short(gain)}; expected a finite number, 1.0 to pass states on as they are.")
        self.gain = float(gain)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Returns a tensor of that shape."""
        if len(shape) != 2 or shape[0] < 1 or shape[1] % shape[0]:
            raise ValueError(
                f"ScaledIdentity got the shape {tuple(shape)}; expected (units, units), or (units, n * units) for n "
                "gates. Set it as recurrent_initializer."
            )
        blocks = np.tile(self.gain * np.eye(shape[0]), (1, shape[1] // shape[0]))
        return _tensor(blocks, dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"gain": self.gain}


@keras.saving.register_keras_serializable("elman")
class Chrono(keras.initializers.Initializer):
    """Biases for an LSTM or a GRU whose units at first remember from 1 to `longest` steps.

    The bias of the forget gate is `ln(u)`, with `u` uniform in `[1, longest - 1]` for each unit, and the bias of the
    input gate is its negative (Tallec and Ollivier 2018, "Can recurrent neural networks warp time?"). In a GRU the
    update gate `z` is both (`h_t = z h_{t-1} + (1 - z) n`), and its bias is `ln(u)`. All other biases are 0. An LSTM
    needs `unit_forget_bias=False`: otherwise Keras asks for the biases in three pieces, with ones for the forget gate.

    Args:
        longest: Integer of at least 3, about how many steps the task needs.
        units: Positive integer, the units of the layer. The shape of the biases is a multiple of it, by which the two
            cells are told apart.
        seed: Integer of at least 0, random seed.

    Raises:
        TypeError: If `seed` is not an integer.
        ValueError: If another argument is not valid; in a call, if the shape is not that of such a bias.

    Example:

    >>> chrono = elman.initializers.Chrono(longest=200, units=32)
    >>> layer = elman.LSTM(32, bias_initializer=chrono, unit_forget_bias=False)
    """

    longest: int
    units: int
    seed: int

    def __init__(self, longest: int, units: int, seed: int = 0) -> None:
        if not is_integer(longest, least=3):
            raise ValueError(f"longest is {short(longest)}; expected an integer of at least 3, the steps to remember.")
        self.longest = int(longest)
        self.units = positive_integer("units", units, "the layer's units")
        self.seed = check_seed(seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Returns a tensor of that shape."""
        shape, units = tuple(shape), self.units
        kept = np.log(np.random.default_rng(self.seed).uniform(1, self.longest - 1, units))
        bias = np.zeros(shape)
        lstm, gru = CELLS["lstm"].gates, CELLS["gru"].gates
        if shape == (len(lstm) * units,):
            by_gate = bias.reshape(len(lstm), units)
            by_gate[lstm.index("i")], by_gate[lstm.index("f")] = -kept, kept
        elif shape in {(len(gru) * units,), (2, len(gru) * units)}:  # of two rows the second is for the state's product
            bias.reshape(-1, len(gru), units)[0, gru.index("z")] = kept
        elif shape in {(units,), (2 * units,)}:
            raise ValueError(
                f"Chrono got the shape {shape}, a piece of the biases of an LSTM with {units} units; expected all, "
                f"({len(lstm) * units},). Set unit_forget_bias=False on the layer."
            )
        else:
            raise ValueError(
                f"Chrono for {units} units got the shape {shape}; expected ({len(lstm) * units},) for an LSTM, "
                f"({len(gru) * units},) or (2, {len(gru) * units}) for a GRU. Set it as bias_initializer, with the "
                "layer's units."
            )
        return _tensor(bias, dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"longest": self.longest, "units": self.units, "seed": self.seed}


def _tensor(array: np.ndarray, dtype: Any) -> Any:
    return keras.ops.convert_to_tensor(array, dtype or keras.config.floatx())


def orthogonal_on_batch(
    x: Any, units: int, activation: str = "tanh", *, mask: Any = None, kernel: Any = None, seed: int = 0
) -> keras.initializers.Orthogonal:
    """An orthogonal recurrent kernel with a gain at which gradients of a batch neither shrink nor grow at first.

    The slope of the activation shrinks a gradient at every step, and shrinks it more for a larger input. The gain
    compensates for that. It is the least gain between 0.05 and 20 where the mean over examples of
    `ln |g_{T-k}| / |g_T|` per step is 0, for the gradient `g` of a loss at the last step in a random direction. If
    there is no such gain, as with few units or with inputs that saturate them at every gain, it is about the gain where
    the mean is nearest to 0. It is 1 if at every gain the gradient vanishes in more than half of the examples. "All you
    need is a good init" (Mishkin and Matas 2016) does the same for the layers of a deep network; the name is elman's.
    With relu, which has slope 0 for half of its inputs, other kernels of the same gain still grow or shrink gradients
    by up to 20 % per step.

    Args:
        x: Array of shape `(batch, time, features)` with at least 2 steps, the input of the layer, after all layers
            in front of it.
        units: Positive integer, the units of the `SimpleRNN`.
        activation: Name of its activation.
        mask: Optional boolean array of shape `(batch, time)`, `True` where a step counts.
        kernel: Optional array of shape `(features, units)`, its kernel. By default one is drawn as Keras's
            `glorot_uniform` draws it.
        seed: Integer of at least 0, random seed.

    Returns:
        A `keras.initializers.Orthogonal` with that gain.

    Raises:
        TypeError: If `seed` is not an integer.
        ValueError: If another argument is not valid, or `x` has NaN or infinities.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(64, 20, 3))
    >>> initializer = elman.initializers.orthogonal_on_batch(x, 32)
    >>> layer = elman.SimpleRNN(32, recurrent_initializer=initializer)
    """
    x = np.ascontiguousarray(np.asarray(x, "float64"))
    valid = np.ones(x.shape[:2], bool) if mask is None else np.ascontiguousarray(np.asarray(mask, bool))
    _check(x, valid, units, activation, kernel)
    rng = np.random.default_rng(seed := check_seed(seed))
    limit = np.sqrt(6 / (x.shape[2] + units))
    drawn = rng.uniform(-limit, limit, (x.shape[2], units))
    kernel = drawn if kernel is None else np.ascontiguousarray(np.asarray(kernel, "float64"))
    turn, upper = np.linalg.qr(rng.standard_normal((units, units)))
    turn *= np.sign(np.diag(upper))  # uniform over all orthogonal matrices
    direction = rng.standard_normal((len(x), units))

    def growth(gain: float) -> float:
        return _growth(x, valid, kernel, gain * turn, direction, activation)

    return keras.initializers.Orthogonal(gain=round(_balanced(growth), 4), seed=seed)


def _balanced(growth: Callable[[float], float]) -> float:
    """The gain at which `growth` is nearest to 0; the least one if it passes 0 several times.

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
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(f"activation is {short(activation)}; expected one of {', '.join(ACTIVATIONS)}.")
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
    """The mean logarithm of a gradient's growth per step backwards, over the examples in which it does not vanish.

    Minus infinity if it vanishes in more than half of them, and plus infinity if it overflows.
    """
    options = Options(activation=activation)
    operands = Operands(x, kernel, recurrent_kernel, None, (np.zeros_like(direction),), valid)
    with np.errstate(all="ignore"):  # with too large a gain numbers overflow
        run = state_gradient.forward(options, operands, keep_tape=True)
        norms = state_gradient.gradient_norms(options, operands, run, direction)
        steps = valid.sum(axis=1) - 1
        growth = np.log(norms[:, 0] / norms[:, -1])[steps > 0] / steps[steps > 0]
    if not np.isfinite(run.y).all() or np.isposinf(growth).any():  # relu's slope at NaN is 0: it seems to vanish
        return np.inf
    arrives = growth[np.isfinite(growth)]
    return float(arrives.mean()) if len(arrives) and 2 * len(arrives) >= len(growth) else -np.inf
