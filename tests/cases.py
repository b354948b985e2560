# SPDX-License-Identifier: Apache-2.0
"""Random problems for a recurrence, and the results of two of its implementations.

In: a shape, a choice of options, a seed. Out: a `Case`, whose numbers fit float32 exactly, so that every
dtype works on the same problem; and its results by name, from the reference or the native library. No
framework, no pytest, no tolerance: tests bring those.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from elman import _numpy, reference
from elman.cells import CELLS, Cell
from elman.operands import Operands
from elman.options import Options

Array = np.ndarray
Choice = Mapping[str, Any]
OPERANDS = {  # of each gradient
    "dx": "x",
    "dkernel": "kernel",
    "drecurrent_kernel": "recurrent_kernel",
    "dbias": "bias",
    "dinitial_state": "initial_state",
    "dinitial_carry": "initial_carry",
}
STATES = ("initial_state", "initial_carry")  # of a recurrence, in the order of its states


class Shape(NamedTuple):
    """Sizes of a problem."""

    batch: int
    time: int
    features: int
    units: int


# Every option and operand of a recurrence, and the values that tests combine. The first of each is the plainest.
FACTORS: dict[str, tuple[Any, ...]] = {
    "cell": tuple(name for c in CELLS.values() for name in (c.name, f"{c.name}, reset before")[: 2 if c.reset else 1]),
    "activation": ("tanh", "relu", "sigmoid", "linear", "hard_sigmoid"),
    "recurrent_activation": ("sigmoid", "tanh", "relu", "linear", "hard_sigmoid"),
    "mask": (
        "none",
        "holes",
        "left padding",
        "right padding",
        "empty rows",
        "int32 lengths",
        "int64 lengths",
        "resets",
        "resets and holes",
    ),
    "go_backwards": (False, True),
    "zero_output_for_mask": (False, True),
    "return_sequences": (True, False),
    "truncate_gradient": (None, 1, 2, 3, 1000),
    "clip_state_gradient": (None, "small", "middle", "large"),
    "bias": (True, False),
    "initial_state": (False, True),
    "input_dropout": (False, True, "each gate"),
    "recurrent_dropout": (False, True, "each gate"),
    "cotangents": ("both", "dy", "dfinal"),
    "want_dx": (True, False),
}
# The masks on which stock Keras's backends agree: the first step read is valid in every row. Not among the factors.
STOCK_MASK = "holes after a valid first step"
KINKS = {"relu": 0.0, "hard_sigmoid": 3.0}  # by activation: the distance from zero at which its slope jumps
PLAIN: Choice = {name: values[0] for name, values in FACTORS.items()}


def pairwise(factors: Mapping[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Choices such that any two values of any two factors meet in at least one of them; greedy, always the same."""
    items = [(name, value) for name, values in factors.items() for value in values]
    missing = {frozenset((a, b)) for a, b in itertools.combinations(items, 2) if a[0] != b[0]}
    order = {item: i for i, item in enumerate(items)}
    rows = []
    while missing:
        row = dict(min(missing, key=lambda pair: sorted(order[item] for item in pair)))
        for name, values in factors.items():
            if name not in row:
                row[name] = max(values, key=lambda v: sum(frozenset(((name, v), i)) in missing for i in row.items()))
        missing -= {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}
        rows.append({name: row[name] for name in factors})
    return rows


@dataclasses.dataclass(frozen=True)
class Case:
    """One problem: the operands of a recurrence, and the gradients of the loss that its backward starts from.

    Attributes:
        shape: Its sizes.
        choice: What it was made from, with `seed`.
        options: What the choice means to elman.
        mask: `None`, a boolean `(batch, time)` mask, uint8 codes of its steps, or int32 or int64 lengths `(batch,)`.
        initial_state: The first state, h, or `None`. Likewise `initial_carry`, for an LSTM's second, c.
        dy: Gradient of the loss with respect to y; `None`: zeros. Likewise `dfinal` and `dfinal_carry`, for the states.
    """

    shape: Shape
    choice: Choice
    seed: int
    options: Options
    x: Array
    kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    initial_state: Array | None
    initial_carry: Array | None
    mask: Array | None
    input_dropout: Array | None
    recurrent_dropout: Array | None
    dy: Array | None
    dfinal: Array | None
    dfinal_carry: Array | None

    def __str__(self) -> str:
        """The call of `make` that builds it again, without the options that have their plainest value."""
        told = {name: value for name, value in self.choice.items() if value != PLAIN[name]}
        return f"make({self.shape}, {told}, seed={self.seed})"

    def map(self, function: Callable[[Array], Array]) -> Case:
        """The same problem with `function` applied to every array but the mask."""
        arrays = {
            field.name: function(value)
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), np.ndarray) and field.name != "mask"
        }
        return dataclasses.replace(self, **arrays)

    def astype(self, dtype: type) -> Case:
        """The same problem in another floating dtype."""
        return self.map(lambda array: array.astype(dtype, copy=False))

    def loss(self, y: Array, states: tuple[Array, ...]) -> Any:
        """The loss whose gradients with respect to y and the final states are the case's."""
        return sum((a * da).sum() for a, da in self.cotangents(y, states))

    def cotangents(self, y: Any, states: tuple[Any, ...]) -> list[tuple[Any, Array]]:
        """y and the final states, each with the loss's gradient with respect to it, where that is not zero."""
        pairs = zip((y, *states), (self.dy, *self.dfinals), strict=True)
        return [(array, gradient) for array, gradient in pairs if gradient is not None]

    @property
    def cell(self) -> Cell:
        return CELLS[self.options.cell]

    @property
    def initial_states(self) -> tuple[Array, ...]:
        return tuple(state for name in STATES if (state := getattr(self, name)) is not None)

    @property
    def dfinals(self) -> tuple[Array | None, ...]:
        return (self.dfinal, self.dfinal_carry)[: len(self.cell.states)]

    @property
    def operands(self) -> Operands:
        return Operands(
            self.x,
            self.kernel,
            self.recurrent_kernel,
            self.bias,
            self.initial_states,
            self.mask,
            self.input_dropout,
            self.recurrent_dropout,
        )

    @property
    def valid(self) -> Array:
        """The mask as booleans `(batch, time)` in the time order of x, whatever form it has."""
        if self.mask is None:
            return np.ones(self.shape[:2], bool)
        return self.mask != 0 if self.mask.ndim == 2 else np.arange(self.shape.time) < self.mask[:, None]

    @property
    def steps(self) -> Array:
        """The mask with two axes, booleans or codes."""
        return self.valid if self.mask is None or self.mask.ndim == 1 else self.mask

    @property
    def resets(self) -> Array:
        """The steps before which the state returns to the initial one, as `valid`."""
        return np.zeros_like(self.valid) if self.mask is None or self.mask.dtype != np.uint8 else self.mask == 3

    def replace(self, **changes: Any) -> Case:
        """The same problem with other operands or options."""
        return dataclasses.replace(self, **changes)


def make(shape: tuple[int, int, int, int], choice: Choice = PLAIN, seed: int = 0, kink: float = 1e-5) -> Case:
    """A random problem that float32 can solve: the first such problem that the seed gives.

    The recurrent kernel is 0.7 of an orthogonal matrix, one for each gate: neither states nor gradients grow over time,
    even under dropout masks; gates that could leave 0 to 1 are held near 0. No pre-activation is nearer than `kink`
    to where the slope jumps, since rounding would decide it. And no result moves much when the inputs move by their own
    rounding, as a sum does whose terms cancel.

    Args:
        shape: Batch, time, features, units.
        choice: Values of some `FACTORS`; the others take their plainest.
        seed: Any integer from 0.
        kink: See above.
    """
    choice = {**PLAIN, **choice}
    rng = np.random.default_rng(seed)
    for _ in range(100):
        case = _draw(Shape(*shape), choice, seed, rng)
        if not _near_kink(case, kink) and not _ill_conditioned(case, rng):
            return case
    raise AssertionError(f"no fair problem among 100 of shape {shape} and {choice}")


def _draw(shape: Shape, choice: Choice, seed: int, rng: np.random.Generator) -> Case:
    batch, time, features, units = shape
    options = _options(choice, units)
    cell = CELLS[options.cell]
    gates, states = len(cell.gates), len(cell.states)
    small = scale(gates, choice["recurrent_activation"])

    def normal(*size: int, scale: float = 1.0, wanted: bool = True) -> Array | None:
        return (rng.normal(size=size) * scale).astype(np.float32) if wanted else None

    def dropout(size: int, wanted: bool | str) -> Array | None:
        masks = gates if wanted == "each gate" else 1
        return ((rng.random((masks, batch, size)) < 0.8) / 0.8).astype(np.float32) if wanted else None

    sequences, cotangents = choice["return_sequences"], choice["cotangents"]
    two_biases = cell.two_biases(options.reset_after)
    return Case(
        shape=shape,
        choice=choice,
        seed=seed,
        options=options,
        x=normal(batch, time, features),
        kernel=normal(features, gates * units, scale=small * (features**-0.5 if features else 1.0)),
        recurrent_kernel=(small * orthogonal(units, gates, rng)).astype(np.float32),
        bias=normal(*(2,) * two_biases, gates * units, scale=0.3 * small, wanted=choice["bias"]),
        initial_state=normal(batch, units, scale=0.5, wanted=choice["initial_state"]),
        initial_carry=normal(batch, units, scale=0.5, wanted=choice["initial_state"] and states > 1),
        mask=_draw_mask(choice, batch, time, rng),
        input_dropout=dropout(features, choice["input_dropout"]),
        recurrent_dropout=dropout(units, choice["recurrent_dropout"]),
        dy=normal(*((batch, time, units) if sequences else (batch, units)), wanted=cotangents != "dfinal"),
        dfinal=normal(batch, units, wanted=cotangents != "dy"),
        dfinal_carry=normal(batch, units, wanted=cotangents != "dy" and states > 1),
    )


def scale(gates: int, recurrent_activation: str) -> float:
    """The scale of weights; a small one where gates could leave the range 0 to 1."""
    return 0.4 if gates > 1 and recurrent_activation not in ("sigmoid", "hard_sigmoid") else 1.0


def orthogonal(units: int, gates: int, rng: np.random.Generator) -> Array:
    """0.7 of an orthogonal matrix for each gate, side by side."""
    return np.hstack([0.7 * np.linalg.qr(rng.normal(size=(units, units)))[0] for _ in range(gates)])


def _options(choice: Choice, units: int) -> Options:
    clip = {None: None, "small": 0.1, "middle": units**0.5, "large": 1e6}[choice["clip_state_gradient"]]
    named = {name: choice[name] for name in Options._fields if name in choice}
    cell, _, before = choice["cell"].partition(", ")
    return Options(**{**named, "cell": cell, "reset_after": not before, "clip_state_gradient": clip})


def _draw_mask(choice: Choice, batch: int, time: int, rng: np.random.Generator) -> Array | None:
    lengths = rng.integers(0, time, size=batch, endpoint=True)
    before = np.arange(time) < lengths[:, None]
    holes = rng.random((batch, time)) < 0.6
    resets = (1 + 2 * (rng.random((batch, time)) < 0.3)).astype(np.uint8)
    first = np.arange(time) == (time - 1 if choice["go_backwards"] else 0)
    return {
        "none": None,
        "holes": holes,
        "left padding": ~before,
        "right padding": before,
        "empty rows": holes & (rng.random((batch, 1)) < 0.5),
        "int32 lengths": lengths.astype(np.int32),
        "int64 lengths": lengths.astype(np.int64),
        "resets": resets,
        "resets and holes": holes * resets,
        STOCK_MASK: holes | first,
    }[choice["mask"]]


def pre_activations(case: Case) -> list[tuple[str, list[Array]]]:
    """The inputs of the activations at every step, in float64: a name and the valid rows of each call, for the
    activation, for that of the gates and, of an LSTM, for the activation of its carry."""
    case = case.astype(np.float64)
    names = (case.options.activation, case.options.recurrent_activation)
    given: tuple[list[Array], list[Array]] = ([], [])

    def recorded(name: str, calls: list[Array]) -> Callable[[Array], Array]:
        return lambda z: calls.append(z) or reference.ACTIVATIONS[name].value(z)  # type: ignore[func-returns-value]

    functions = map(recorded, names, given)
    callables = dict(zip(("activation", "recurrent_activation"), functions, strict=True))
    reference.forward(*case.operands, options=case.options._replace(**callables))
    valid = case.valid[:, ::-1] if case.options.go_backwards else case.valid
    activation, gates = given
    carry = [activation[1::2]] if case.options.cell == "lstm" else []
    activation = activation[::2] if carry else activation

    def valid_rows(calls: list[Array]) -> list[Array]:
        each = len(calls) // case.shape.time if calls else 1  # a step
        return [z[valid[:, i // each]] for i, z in enumerate(calls)]

    return list(zip((*names, names[0]), map(valid_rows, (activation, gates, *carry)), strict=False))


def near_a_kink(case: Case, distance: float) -> bool:
    """True if some sum is nearer than `distance` to a point where the slope jumps. It is on the kink of relu itself if
    it has no term or if the state has faded away."""
    functions = pre_activations(case)
    return any(
        np.any(np.abs(np.abs(z) - KINKS[name]) < distance) for name, calls in functions if name in KINKS for z in calls
    )


def _near_kink(case: Case, kink: float) -> bool:
    """Where states fade away, so do sums and their rounding: below 1, `kink` is in units of a row's largest sum."""
    if KINKS.keys().isdisjoint({case.options.activation, case.options.recurrent_activation}):
        return False
    functions = pre_activations(case)
    if case.options.activation == "relu":
        functions = functions[
            :2
        ]  # the two terms of a carry hardly ever cancel, so its sign is certain even if it is small
    for name, calls in functions:
        for z in calls if name in KINKS else ():
            allowed = kink * np.minimum(1, np.max(np.abs(z), axis=1, keepdims=True, initial=0))
            if np.any((np.abs(np.abs(z) - KINKS[name]) < allowed) & (z != 0)):
                return True
    return False


def _ill_conditioned(case: Case, rng: np.random.Generator) -> bool:
    """True if some result changes by more than a few ulp of its largest value (root mean square) when every input and
    every array on the tape changes by half an ulp, all of float32."""
    ulps = 4 if case.cell.gated else 2  # a gate is one more factor
    half = float(np.finfo(np.float32).eps) / 2

    def nudge(array: Array) -> Array:
        moved = array * (1 + rng.choice((-half, half), array.shape))
        return np.where(array == 1, array, moved)  # at 1 a hard sigmoid is level

    case = case.astype(np.float64)
    truth = by_reference(case, np.float64)
    for _ in range(2):
        nudged = by_reference(case.map(nudge), np.float64, nudge)
        for name, array in truth.items():
            moved = np.sqrt(np.mean((nudged[name] - array) ** 2)) if array.size else 0
            if moved > 2 * ulps * half * np.max(np.abs(array), initial=0):
                return True
    return False


def named(y: Array, states: tuple[Array, ...], gradients: reference.Gradients) -> dict[str, Array]:
    """Results by the names that all tests use."""
    results = {
        "y": y,
        **dict(zip("hc", states, strict=False)),
        "dx": gradients.dx,
        "dkernel": gradients.dkernel,
        "drecurrent_kernel": gradients.drecurrent_kernel,
        "dbias": gradients.dbias,
        **{f"d{name}": state for name, state in zip(STATES, gradients.dinitial_states, strict=False)},
        "norms": gradients.norms,
    }
    return {name: array for name, array in results.items() if array is not None}


# OpenBLAS's sgemv also computes on the memory next to a column of 5. If that looks like a signalling NaN, NumPy warns,
# though the result has none. A NaN in a result is found when it is compared.
@np.errstate(invalid="ignore")
def by_reference(case: Case, dtype: type, retouch: Callable[[Array], Array] = lambda a: a) -> dict[str, Array]:
    """Every result of the case by `elman.reference`, computed in `dtype`; `retouch` may change the tape."""
    case = case.astype(dtype)
    y, states, tape = reference.forward(*case.operands, options=case.options)
    dy = np.zeros_like(y) if case.dy is None else case.dy
    dfinals = tuple(np.zeros_like(s) if d is None else d for s, d in zip(states, case.dfinals, strict=True))
    tape = [tuple(retouch(array) for array in step) for step in tape]
    gradients = reference.backward(*case.operands, tape, dy, dfinals, options=case.options)
    return named(y, states, gradients)


def by_native(case: Case, dtype: type) -> dict[str, Array]:
    """Every result of the case by the native library, computed in `dtype`; no dx where it is not wanted."""
    case = case.astype(dtype)
    y, states, tape = _numpy.forward(case.options, case.operands, keep_tape=True)
    want_dx = case.choice["want_dx"]
    gradients = _numpy.backward(case.options, case.operands, y, tape, case.dy, case.dfinals, want_dx)
    return named(y, states, gradients)


def difference_quotients(
    loss: Callable[[Case], Any],
    case: Case,
    operand: str,
    step: float,
    elements: Iterable[tuple[int, ...]] | None = None,
) -> Array:
    """d loss(case) / d operand, element by element, by central differences of fourth order: the error is that of
    `step**4` and of the loss's rounding over `step`. Elements that are not asked for are 0."""
    at = getattr(case, operand)
    step = at.dtype.type(step)
    gradient = np.zeros_like(at)
    for index in np.ndindex(at.shape) if elements is None else elements:

        def moved(steps: int, index: tuple[int, ...] = index) -> Any:
            there = at.copy()
            there[index] += steps * step
            return loss(case.replace(**{operand: there}))

        gradient[index] = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * step)
    return gradient


def grid(shapes: Iterable[tuple[int, int, int, int]], first: int = 0) -> Iterator[Case]:
    """One case per shape, the rows of the covering set taken in turn; `first` numbers the first case."""
    rows = len(COVERING)
    for seed, shape in enumerate(shapes, start=first):
        yield make(
            shape, COVERING[(seed + seed // rows) % rows], seed
        )  # the shift keeps rows and shapes from pairing up


_rows = pairwise(FACTORS)
COVERING = [_rows[i] for i in np.random.default_rng(0).permutation(len(_rows))]  # neighbours differ in many values
