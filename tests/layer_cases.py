# SPDX-License-Identifier: Apache-2.0
"""Random uses of the three layers, and what the reference makes of them.

In: the number of a case, a backend, and (as they are Keras's to draw) dropout masks. Out: a `LayerCase`: one or two
calls of a layer or of a Bidirectional around it, whose numbers fit the layer's dtype exactly; and the truth about a
call by name, from `elman.reference`. No framework, no tolerance. Case n is the same however many there are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any
from unittest import mock

import ml_dtypes
import numpy as np

import cases
from elman import reference
from elman.cells import CELLS
from elman.options import ACTIVATIONS, Options

Array = np.ndarray
Masks = tuple[Array | None, Array | None]  # those of dropout and recurrent_dropout, each (1 or gates, batch, size)
HALVES = {"mixed_bfloat16": ml_dtypes.bfloat16, "mixed_float16": np.float16}
# Activations without a native kernel. The slope of each follows from its value, as the reference needs it.
OTHER_ACTIVATIONS = {
    "elu": reference.Activation(
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))), lambda y: np.where(y > 0, 1, y + 1).astype(y.dtype)
    ),
    "softplus": reference.Activation(lambda z: np.logaddexp(z, np.zeros_like(z)), lambda y: -np.expm1(-y)),
}
DIRECTIONS = ("forward", "backward")
LARGEST = cases.Shape(batch=13, time=20, features=17, units=70)
# JAX compiles each operation once more for each shape.
FEW_SIZES = cases.Shape(batch=(1, 5, 13), time=(1, 2, 7, 13), features=(1, 3, 17), units=(1, 5, 16, 33, 70))
_SEED = 20240607


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a case is made from; the defaults are the plainest.

    Attributes:
        initial_state: Whether the first call is given one; `bare` whether as an array and not in a list.
        cotangents: What the loss reads: the outputs, the states, or both.
        merge_mode: Of the Bidirectional around the layer, if `bidirectional`.
        compiled: Whether elman's layer runs in a tf.function or under jax.jit; `dynamic` whether that tf.function is
            traced with batch and time unknown.
        shape_of_mask: 2, or 3 for masks (batch, time, 1).
        implementation: Of a cell with gates: 1 draws a dropout mask for each, 2 one for all.
    """

    number: int
    shape: cases.Shape
    cell: str = "simple_rnn"
    dtype: str = "float32"
    activation: str | None = "tanh"
    recurrent_activation: str | None = "sigmoid"
    reset_after: bool = True
    implementation: int = 2
    use_bias: bool = True
    go_backwards: bool = False
    return_sequences: bool = False
    return_state: bool = False
    unroll: bool = False
    zero_output_for_mask: bool = False
    mask: str = "none"
    shape_of_mask: int = 2
    initial_state: bool = False
    bare: bool = False
    stateful: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    training: bool = False
    bidirectional: bool = False
    merge_mode: str | None = "concat"
    cotangents: str = "y"
    truncate_gradient: int | None = None
    clip_state_gradient: float | None = None
    learn_initial_state: bool = False
    native: str | bool = "auto"
    compiled: bool = False
    dynamic: bool = False

    def __str__(self) -> str:
        """How to make the case again, and what it is; options left at their plainest are not told."""
        told = ", ".join(
            f"{f.name}={value!r}"
            for f in dataclasses.fields(self)
            if f.name not in {"number", "shape"} and (value := getattr(self, f.name)) != f.default
        )
        return f"case {self.number} ({', '.join(f'{k} {v}' for k, v in self.shape._asdict().items())}; {told})"

    @property
    def directions(self) -> tuple[str, ...]:
        return DIRECTIONS if self.bidirectional else DIRECTIONS[:1]

    @property
    def numpy_dtype(self) -> type:
        """That of what goes into the layer and of its weights."""
        return np.float64 if self.dtype == "float64" else np.float32

    @property
    def native_expected(self) -> bool:
        used = (self.activation, self.recurrent_activation)
        return self.native is not False and all((name or "linear") in ACTIVATIONS for name in used)

    @property
    def states(self) -> int:
        return len(CELLS[self.cell].states)

    @property
    def extras(self) -> bool:
        """Whether it asks for what stock Keras lacks."""
        return self.truncate_gradient is not None or self.clip_state_gradient is not None

    def options(self, direction: str) -> Options:
        """What the layer of a direction means to the reference; Bidirectional sets zero_output_for_mask."""
        zero = self.return_sequences if self.bidirectional else self.zero_output_for_mask
        return Options(
            cell=self.cell,
            activation=self.activation or "linear",
            recurrent_activation=self.recurrent_activation or "linear",
            reset_after=self.reset_after,
            go_backwards=self.go_backwards != (direction == "backward"),
            zero_output_for_mask=zero,
            return_sequences=self.return_sequences,
            truncate_gradient=self.truncate_gradient,
            clip_state_gradient=self.clip_state_gradient,
        )


def choose(number: int, backend: str) -> Choice:
    """The choice of that number. JAX has no float64 unless it is switched on for a whole process."""
    rng = np.random.default_rng((_SEED, number))

    def one(*values: Any, p: Sequence[float] | None = None) -> Any:
        return values[rng.choice(len(values), p=p)]

    def chance(probability: float) -> bool:
        return bool(rng.random() < probability)

    sizes = [int(rng.integers(1, most, endpoint=True)) for most in LARGEST]
    if backend == "jax":
        sizes = [min(few, key=lambda size: abs(size - drawn)) for few, drawn in zip(FEW_SIZES, sizes, strict=True)]
    shape = cases.Shape(*sizes)
    drawn: dict[str, Any] = {
        "cell": one("simple_rnn", "lstm", "gru"),
        "dtype": one("float32", "float64", *HALVES, p=(0.55, 0.2, 0.15, 0.1)),
        "activation": one(*ACTIVATIONS, None, *OTHER_ACTIVATIONS, p=(0.12, 0.3, 0.2, 0.14, 0.08, 0.04, 0.06, 0.06)),
        "recurrent_activation": one(*ACTIVATIONS, None, "softplus", p=(0.04, 0.1, 0.08, 0.5, 0.22, 0.03, 0.03)),
        "reset_after": chance(0.6),
        "implementation": one(1, 2),
        "use_bias": chance(0.8),
        "go_backwards": chance(0.4),
        "return_sequences": chance(0.6),
        "return_state": chance(0.6),
        "unroll": chance(0.2),
        "zero_output_for_mask": chance(0.4),
        "mask": one("none", "holes", "left padding", "right padding", "empty rows", p=(0.3, 0.2, 0.2, 0.2, 0.1)),
        "shape_of_mask": one(2, 3, p=(0.8, 0.2)),
        "initial_state": chance(0.4),
        "bare": chance(0.2),
        "stateful": chance(0.15),
        "dropout": one(0.0, 0.1, 0.5, p=(0.7, 0.15, 0.15)),
        "recurrent_dropout": one(0.0, 0.1, 0.5, p=(0.7, 0.15, 0.15)),
        "training": chance(0.8),
        "bidirectional": chance(0.15),
        "merge_mode": one("concat", "sum", "ave", "mul", None),
        "cotangents": one("y", "h", "both", p=(0.25, 0.25, 0.5)),
        "native": one("auto", False, p=(0.85, 0.15)),
        "compiled": chance(0.3 if backend == "tensorflow" else 0.9),
        "dynamic": chance(0.5),
    }
    extras: dict[str, Any] = {
        "truncate_gradient": one(None, 1, 2, 3, 1000, p=(0.5, 0.1, 0.15, 0.15, 0.1)),
        "clip_state_gradient": one(None, 0.1, 2.0, 1e6, p=(0.5, 0.2, 0.2, 0.1)),
        "learn_initial_state": chance(0.4),
    }
    if chance(0.25):
        drawn |= extras
    return _made_possible(Choice(number, shape, **drawn), backend)


def _made_possible(choice: Choice, backend: str) -> Choice:
    """The choice without what does not go together, or cannot be told apart."""
    choice = dataclasses.replace(choice, **_made_possible_for_the_cell(choice))
    changes: dict[str, Any] = _made_possible_for_the_type(choice, backend)
    if choice.learn_initial_state:
        changes |= {"stateful": False, "initial_state": False}
    if choice.learn_initial_state or not choice.initial_state or choice.bidirectional or choice.states > 1:
        changes["bare"] = False
    if choice.mask == "none":
        changes["shape_of_mask"] = 2
    if backend == "torch":
        changes["compiled"] = False
    if not choice.compiled or backend != "tensorflow" or choice.stateful or choice.unroll:
        changes["dynamic"] = False
    return dataclasses.replace(choice, **{**changes, **_made_possible_together(choice)})


def _made_possible_for_the_cell(choice: Choice) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if choice.cell == "simple_rnn":
        changes |= {"recurrent_activation": "sigmoid", "implementation": 2}
    elif choice.recurrent_dropout:
        changes["implementation"] = 1  # as Keras sets it
    if choice.cell != "gru":
        changes["reset_after"] = True
    return changes


def _made_possible_for_the_type(choice: Choice, backend: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if choice.dtype == "float64" and backend == "jax":
        changes["dtype"] = "float32"
    if choice.dtype == "float64" and backend == "torch":  # whose softplus is the identity from 20 on: off by 2e-9
        names = ("activation", "recurrent_activation")
        changes |= {name: "elu" for name in names if getattr(choice, name) == "softplus"}
    if choice.dtype in HALVES and backend == "jax":
        # Between operations that it fuses, those that it differentiates among them, XLA keeps more of a number than
        # its type has. Of 2 there is no more.
        changes |= {name: 0.5 for name in ("dropout", "recurrent_dropout") if getattr(choice, name)}
    return changes


def _made_possible_together(choice: Choice) -> dict[str, Any]:
    """What has to change about Bidirectional, and about what a loss reads."""
    changes: dict[str, Any] = {}
    if not choice.bidirectional:
        changes["merge_mode"] = "concat"
    else:
        changes |= {"go_backwards": False, "zero_output_for_mask": False}
        if choice.merge_mode == "mul" and choice.dtype in HALVES:
            changes["merge_mode"] = "concat"  # its rounding would go into the gradients
        if choice.stateful:
            changes["return_state"] = False  # Keras's Bidirectional fails at the mask of these two
    if not changes.get("return_state", choice.return_state):
        changes["cotangents"] = "y"
    return changes


# --- the numbers ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Direction:
    """What one layer is given for one call; `learned` are the weights of learn_initial_state. Of the states one array
    each, or none."""

    kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    learned: tuple[Array, ...]
    initial_states: tuple[Array, ...]
    dropout: Array | None
    recurrent_dropout: Array | None
    dfinals: tuple[Array, ...]

    @property
    def weights(self) -> list[Array]:
        return [*(w for w in (self.kernel, self.recurrent_kernel, self.bias) if w is not None), *self.learned]


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of the layer. `mask` is (batch, time) or `None`; `dy` one gradient per output."""

    choice: Choice
    x: Array
    mask: Array | None
    dy: tuple[Array, ...]
    directions: tuple[Direction, ...]

    def starting_from(self, states: Sequence[Sequence[Array]]) -> Call:
        """The same call, each direction begun from states, as after another call of a stateful layer."""
        begun = (dataclasses.replace(d, initial_states=tuple(s)) for d, s in zip(self.directions, states, strict=True))
        return dataclasses.replace(self, directions=tuple(begun))

    def recurrence(self, number: int, dy: Array | None) -> cases.Case:
        """What the reference runs for a direction."""
        choice, own = self.choice, self.directions[number]
        size = (choice.shape.batch, choice.shape.units)
        states = tuple(np.broadcast_to(w, size) for w in own.learned) or own.initial_states
        dfinals = () if choice.cotangents == "y" else own.dfinals
        return cases.Case(
            shape=choice.shape,
            choice={"want_dx": True},
            seed=choice.number,
            options=choice.options(choice.directions[number]),
            x=self.x,
            kernel=own.kernel,
            recurrent_kernel=own.recurrent_kernel,
            bias=own.bias,
            **dict(itertools.zip_longest(cases.STATES, states)),
            mask=self.mask,
            input_dropout=own.dropout if choice.training else None,
            recurrent_dropout=own.recurrent_dropout if choice.training else None,
            dy=dy,
            **dict(itertools.zip_longest(("dfinal", "dfinal_carry"), dfinals)),
        )


def draw(choice: Choice, masks: Sequence[Masks]) -> list[Call]:
    """Numbers for the calls of a case: the first that are fair to ask, as `cases.make` has it.

    A few long sequences are never fair: with one unit the rounding of its weight counts once for each step, and a relu
    that is given nothing falls to its kink. They are cut in half until they are.

    Args:
        choice: The case.
        masks: Those of dropout and recurrent_dropout, of each call; both directions have the same.
    """
    rng = np.random.default_rng((_SEED, choice.number, 1))
    while choice.shape.time:
        for _ in range(20):
            calls = _draw(choice, masks, rng)
            with contextlib.suppress(FloatingPointError), np.errstate(over="raise"):  # an overflow is not an error here
                if _fair(calls, rng):
                    return calls
        choice = dataclasses.replace(choice, shape=choice.shape._replace(time=choice.shape.time // 2))
    raise AssertionError(f"no fair problem for {choice}")


def _draw(choice: Choice, masks: Sequence[Masks], rng: np.random.Generator) -> list[Call]:
    batch, time, features, units = choice.shape
    cell = CELLS[choice.cell]
    gates, states = len(cell.gates), len(cell.states)
    small = cases.scale(gates, choice.recurrent_activation or "linear")

    def normal(*size: int, scale: float = 1.0, wanted: bool = True) -> Array | None:
        return rounded(rng.normal(size=size) * scale, choice) if wanted else None

    def each_state(*size: int, scale: float = 1.0, wanted: bool = True) -> tuple[Array, ...]:
        return tuple(normal(*size, scale=scale) for _ in range(states if wanted else 0))

    two_biases = cell.two_biases(choice.reset_after)
    weights = [
        {
            "kernel": normal(features, gates * units, scale=small * features**-0.5),
            "recurrent_kernel": rounded(small * cases.orthogonal(units, gates, rng), choice),
            "bias": normal(*(2,) * two_biases, gates * units, scale=0.3 * small, wanted=choice.use_bias),
            "learned": each_state(units, scale=0.5, wanted=choice.learn_initial_state),
        }
        for _ in choice.directions
    ]
    parts = 2 if choice.bidirectional and choice.merge_mode == "concat" else 1
    size = (batch, *([time] if choice.return_sequences else []), units * parts)
    outputs = 2 if choice.bidirectional and choice.merge_mode is None else 1
    return [
        Call(
            choice=choice,
            x=normal(batch, time, features),
            mask=_draw_mask(choice, rng),
            dy=tuple(normal(*size) for _ in range(outputs)),
            directions=tuple(
                Direction(
                    **own,
                    initial_states=each_state(batch, units, scale=0.5, wanted=choice.initial_state and number == 0),
                    dropout=dropout,
                    recurrent_dropout=recurrent_dropout,
                    dfinals=each_state(batch, units),
                )
                for own in weights
            ),
        )
        for number, (dropout, recurrent_dropout) in enumerate(masks)
    ]


def _draw_mask(choice: Choice, rng: np.random.Generator) -> Array | None:
    return cases._draw_mask({"mask": choice.mask, "go_backwards": False}, *choice.shape[:2], rng)


def rounded(array: Array, choice: Choice) -> Array:
    """The nearest numbers that the layer computes with."""
    return array.astype(HALVES.get(choice.dtype, np.float32)).astype(choice.numpy_dtype)


def _fair(calls: Sequence[Call], rng: np.random.Generator) -> bool:
    """Whether no slope hangs on rounding, and no result on the last digits of what goes in; see `cases.make`."""
    states = None
    with mock.patch.dict(reference.ACTIVATIONS, OTHER_ACTIVATIONS):
        for call in calls:
            begun = call if states is None else call.starting_from(states)
            recurrences = _with_gradients(begun, np.float64)
            for case in recurrences:
                if cases._near_kink(case, 1e-5) or cases._ill_conditioned(case, rng):
                    return False
            results = [cases.by_reference(case, np.float64) for case in recurrences]
            states = [[result[name] for name in "hc"[: call.choice.states]] for result in results]
    return True


# --- the truth -----------------------------------------------------------------------------------------------------


def truth(call: Call, dtype: type) -> dict[str, Any]:
    """Everything a call results in, computed in `dtype`.

    Returns:
        By name `y` (`y1` too where a Bidirectional returns two outputs), `dx`, and with the direction before it where
        there are two `h`, `dkernel`, `drecurrent_kernel`, `dbias`, `dinitial_state`, `dlearned_state`, of an LSTM `c`,
        `dinitial_carry` and `dlearned_carry`, and a direction's own `y` and `dx`.
    """
    choice = call.choice
    with mock.patch.dict(reference.ACTIVATIONS, OTHER_ACTIVATIONS):
        results = [cases.by_reference(case, dtype) for case in _with_gradients(call, dtype)]
    named = dict(zip(("y", "y1"), _merge(choice, [r["y"] for r in results]), strict=False))
    named["dx"] = sum(r["dx"] for r in results)
    for direction, own, result in zip(choice.directions, call.directions, results, strict=True):
        before = f"{direction} " if choice.bidirectional else ""
        named |= {before + name: result[name] for name in (*"hc"[: choice.states], "dkernel", "drecurrent_kernel")}
        if own.bias is not None:
            named[before + "dbias"] = result["dbias"]
        for name in cases.STATES[: len(own.learned)]:
            named[before + learned_name(name)] = result["d" + name].sum(axis=0)
        for name in cases.STATES[: len(own.learned) or len(own.initial_states)]:
            named[f"{before}d{name}"] = result["d" + name]
        if choice.bidirectional:
            named |= {before + name: result[name] for name in ("y", "dx")}
    return named


def roundings(call: Call, name: str, truth: dict[str, Any]) -> list[Array]:
    """The tensors that Keras rounds to a half type on the way to a result, which is the last of them."""
    choice, result = call.choice, truth[name]
    if choice.bidirectional and name == "dx":
        return [*(truth[f"{d} dx"] for d in choice.directions), result]
    if choice.bidirectional and name == "y" and choice.merge_mode in {"sum", "ave"}:
        weight = 1 if choice.merge_mode == "sum" else 0.5
        return [*(weight * truth[f"{d} y"] for d in choice.directions), result]
    return [result]


def learned_name(state: str) -> str:
    """The name of the gradient of a learned initial state, by that state's."""
    return "d" + state.replace("initial", "learned")


def _with_gradients(call: Call, dtype: type) -> list[cases.Case]:
    """The recurrence of each direction, with the gradient that its output gets through the merge."""
    plain = [call.recurrence(i, None) for i in range(len(call.directions))]
    if call.choice.cotangents == "h":
        return plain
    outputs = [cases.by_reference(case, dtype)["y"] for case in plain]
    return [case.replace(dy=dy) for case, dy in zip(plain, _unmerge(call, outputs, dtype), strict=True)]


def _turned(choice: Choice, y: Array) -> Array:
    return y[:, ::-1] if choice.return_sequences else y


def _merge(choice: Choice, outputs: Sequence[Array]) -> list[Array]:
    """As Bidirectional does it; the backward output is turned around first."""
    if not choice.bidirectional:
        return list(outputs)
    y, back = outputs[0], _turned(choice, outputs[1])
    if choice.merge_mode is None:
        return [y, back]
    if choice.merge_mode == "concat":
        return [np.concatenate([y, back], axis=-1)]
    return [{"sum": y + back, "ave": (y + back) / 2, "mul": y * back}[choice.merge_mode]]


def _unmerge(call: Call, outputs: Sequence[Array], dtype: type) -> list[Array]:
    """The gradient of each direction's own output."""
    choice, given = call.choice, [d.astype(dtype) for d in call.dy]
    if not choice.bidirectional:
        return given
    y, back = outputs[0], _turned(choice, outputs[1])
    one = given[0]
    if choice.merge_mode is None:
        dy, dback = given
    elif choice.merge_mode == "concat":
        dy, dback = np.split(one, 2, axis=-1)
    else:
        dy, dback = {"sum": (one, one), "ave": (one / 2, one / 2), "mul": (one * back, one * y)}[choice.merge_mode]
    return [dy, _turned(choice, dback)]
