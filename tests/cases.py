# SPDX-License-Identifier: Apache-2.0
"""Random problems for a recurrence, and what two of its implementations make of them.

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
from elman.options import Options

Array = np.ndarray
Choice = Mapping[str, Any]
OPERANDS = {  # of each gradient
    "dx": "x",
    "dkernel": "kernel",
    "drecurrent_kernel": "recurrent_kernel",
    "dbias": "bias",
    "dinitial_state": "initial_state",
}


class Shape(NamedTuple):
    """Sizes of a problem."""

    batch: int
    time: int
    features: int
    units: int


# Everything a recurrence can be told, and the values that tests combine. The first of each is the plainest.
FACTORS: dict[str, tuple[Any, ...]] = {
    "activation": ("tanh", "relu", "sigmoid", "linear"),
    "mask": ("none", "holes", "left padding", "right padding", "empty rows", "int32 lengths", "int64 lengths"),
    "go_backwards": (False, True),
    "zero_output_for_mask": (False, True),
    "return_sequences": (True, False),
    "truncate_gradient": (None, 1, 2, 3, 1000),
    "clip_state_gradient": (None, "small", "middle", "large"),
    "bias": (True, False),
    "initial_state": (False, True),
    "input_dropout": (False, True),
    "recurrent_dropout": (False, True),
    "cotangents": ("both", "dy", "dfinal"),
    "want_dx": (True, False),
}
# The masks on which stock Keras's backends agree: the first step read is valid in every row. Not among the factors.
STOCK_MASK = "holes after a valid first step"
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
    """One problem: the operands of a recurrence, and the loss's gradients that come back into it.

    Attributes:
        shape: Its sizes.
        choice: What it was made from, with `seed`.
        options: What the choice means to elman.
        mask: `None`, a boolean `(batch, time)` mask, or int32 or int64 lengths `(batch,)`.
        dy: Gradient of the loss with respect to y; `None`: zeros. Likewise `dfinal`, for the final state.
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
    mask: Array | None
    input_dropout: Array | None
    recurrent_dropout: Array | None
    dy: Array | None
    dfinal: Array | None

    def __str__(self) -> str:
        """What `make` needs to build it again; options left at their plainest are not told."""
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

    def loss(self, y: Array, h: Array) -> Any:
        """The loss whose gradients with respect to y and the final state are the case's."""
        return sum((a * da).sum() for a, da in ((y, self.dy), (h, self.dfinal)) if da is not None)

    @property
    def initial_states(self) -> tuple[Array, ...]:
        return () if self.initial_state is None else (self.initial_state,)

    @property
    def operands(self) -> _numpy.Operands:
        """In the order of `elman._numpy`."""
        return (
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
        return self.mask if self.mask.ndim == 2 else np.arange(self.shape.time) < self.mask[:, None]

    def replace(self, **changes: Any) -> Case:
        """The same problem with other operands or options."""
        return dataclasses.replace(self, **changes)


def make(shape: tuple[int, int, int, int], choice: Choice = PLAIN, seed: int = 0, kink: float = 1e-5) -> Case:
    """A random problem that is fair to ask in float32: the first one so, of those that the seed gives.

    The recurrent kernel is 0.7 of an orthogonal matrix: neither states nor gradients grow over time, even under
    dropout masks. With relu no pre-activation is nearer to zero than `kink`: there the slope jumps, and rounding would
    decide it. And no result moves much when the inputs move by their own rounding, as a sum does whose terms cancel.

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
        if not (choice["activation"] == "relu" and _near_kink(case, kink)) and not _ill_conditioned(case, rng):
            return case
    raise AssertionError(f"no fair problem among 100 of shape {shape} and {choice}")


def _draw(shape: Shape, choice: Choice, seed: int, rng: np.random.Generator) -> Case:
    batch, time, features, units = shape

    def normal(*size: int, scale: float = 1.0, wanted: bool = True) -> Array | None:
        return (rng.normal(size=size) * scale).astype(np.float32) if wanted else None

    def dropout(size: int, wanted: bool) -> Array | None:
        return ((rng.random((1, batch, size)) < 0.8) / 0.8).astype(np.float32) if wanted else None

    sequences, cotangents = choice["return_sequences"], choice["cotangents"]
    return Case(
        shape=shape,
        choice=choice,
        seed=seed,
        options=_options(choice, units),
        x=normal(batch, time, features),
        kernel=normal(features, units, scale=features**-0.5 if features else 1.0),
        recurrent_kernel=(0.7 * np.linalg.qr(rng.normal(size=(units, units)))[0]).astype(np.float32),
        bias=normal(units, scale=0.3, wanted=choice["bias"]),
        initial_state=normal(batch, units, scale=0.5, wanted=choice["initial_state"]),
        mask=_draw_mask(choice, batch, time, rng),
        input_dropout=dropout(features, choice["input_dropout"]),
        recurrent_dropout=dropout(units, choice["recurrent_dropout"]),
        dy=normal(*((batch, time, units) if sequences else (batch, units)), wanted=cotangents != "dfinal"),
        dfinal=normal(batch, units, wanted=cotangents != "dy"),
    )


def _options(choice: Choice, units: int) -> Options:
    clip = {None: None, "small": 0.1, "middle": units**0.5, "large": 1e6}[choice["clip_state_gradient"]]
    named = {name: choice[name] for name in Options._fields if name in choice}
    return Options(**{**named, "clip_state_gradient": clip})


def _draw_mask(choice: Choice, batch: int, time: int, rng: np.random.Generator) -> Array | None:
    lengths = rng.integers(0, time, size=batch, endpoint=True)
    before = np.arange(time) < lengths[:, None]
    holes = rng.random((batch, time)) < 0.6
    first = np.arange(time) == (time - 1 if choice["go_backwards"] else 0)
    return {
        "none": None,
        "holes": holes,
        "left padding": ~before,
        "right padding": before,
        "empty rows": holes & (rng.random((batch, 1)) < 0.5),
        "int32 lengths": lengths.astype(np.int32),
        "int64 lengths": lengths.astype(np.int64),
        STOCK_MASK: holes | first,
    }[choice["mask"]]


def pre_activations(case: Case) -> Array:
    """What the activation is given at every valid step, in float64, flat."""
    case = case.astype(np.float64)
    _, _, tape = reference.forward(*_reference_operands(case), options=case.options)
    valid = case.valid[:, ::-1] if case.options.go_backwards else case.valid
    bias = 0.0 if case.bias is None else case.bias
    z = [x @ case.kernel + h @ case.recurrent_kernel + bias for x, h, _ in tape]
    return np.concatenate([z_t[valid[:, t]].ravel() for t, z_t in enumerate(z)]) if z else np.zeros(0)


def _near_kink(case: Case, kink: float) -> bool:
    z = pre_activations(case)
    return bool(np.any((np.abs(z) < kink) & (z != 0)))  # a sum without a term is zero in any order


def _ill_conditioned(case: Case, rng: np.random.Generator, ulps: float = 2) -> bool:
    """Whether some result moves by more than `ulps` of its largest value (root mean square) as every input and every
    state on the tape moves by half an ulp, all of float32."""
    half = float(np.finfo(np.float32).eps) / 2

    def nudge(array: Array) -> Array:
        return array * (1 + rng.choice((-half, half), array.shape))

    case = case.astype(np.float64)
    truth = by_reference(case, np.float64)
    for _ in range(2):
        nudged = by_reference(case.map(nudge), np.float64, nudge)
        for name, array in truth.items():
            moved = np.sqrt(np.mean((nudged[name] - array) ** 2)) if array.size else 0
            if moved > 2 * ulps * half * np.max(np.abs(array), initial=0):
                return True
    return False


def _reference_operands(case: Case) -> tuple[Any, ...]:
    mask = None if case.mask is None else case.valid
    return (*case.operands[:4], case.initial_states or None, mask, case.input_dropout, case.recurrent_dropout)


def named(y: Array, h: Array, gradients: reference.Gradients) -> dict[str, Array]:
    """Results by the names that every test knows them by."""
    results = {
        "y": y,
        "h": h,
        "dx": gradients.dx,
        "dkernel": gradients.dkernel,
        "drecurrent_kernel": gradients.drecurrent_kernel,
        "dbias": gradients.dbias,
        "dinitial_state": gradients.dinitial_states[0],
        "norms": gradients.norms,
    }
    return {name: array for name, array in results.items() if array is not None}


def by_reference(case: Case, dtype: type, retouch: Callable[[Array], Array] = lambda a: a) -> dict[str, Array]:
    """Every result of the case by `elman.reference`, computed in `dtype`; `retouch` may alter what is on the tape."""
    case = case.astype(dtype)
    operands = _reference_operands(case)
    y, (h,), tape = reference.forward(*operands, options=case.options)
    dy = np.zeros_like(y) if case.dy is None else case.dy
    dfinal = np.zeros_like(h) if case.dfinal is None else case.dfinal
    tape = [tuple(retouch(array) for array in step) for step in tape]
    gradients = reference.backward(*operands, tape, dy, (dfinal,), options=case.options)
    return named(y, h, gradients)


def by_native(case: Case, dtype: type) -> dict[str, Array]:
    """Every result of the case by the native library, computed in `dtype`; no dx where it is not wanted."""
    case = case.astype(dtype)
    y, (h,), tape = _numpy.forward(case.options, case.operands, keep_tape=True)
    want_dx = case.choice["want_dx"]
    gradients = _numpy.backward(case.options, case.operands, y, tape, case.dy, (case.dfinal,), want_dx)
    return named(y, h, gradients)


def difference_quotients(loss: Callable[[Case], Any], case: Case, operand: str, step: float) -> Array:
    """d loss(case) / d operand, element by element, by central differences of fourth order: the error is that of
    `step**4` and of the loss's rounding over `step`."""
    at = getattr(case, operand)
    step = at.dtype.type(step)
    gradient = np.zeros_like(at)
    for index in np.ndindex(at.shape):

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
        yield make(shape, COVERING[(seed + seed // rows) % rows], seed)  # the shift breaks step with the shapes


_rows = pairwise(FACTORS)
COVERING = [_rows[i] for i in np.random.default_rng(0).permutation(len(_rows))]  # neighbours differ in much
