# SPDX-License-Identifier: Apache-2.0
"""The reference against definitions that share no code with it, in long double.

Finite differences of its own forward, for every operand and cell; and, for what is not a derivative of the forward
(truncated and clipped gradients) and for the norms, definitions written from the sentences that state them: of a
simple RNN one example at a time, of every cell one step at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

import cases
import size
import tolerance
from elman import reference
from elman.operands import Operands
from elman.options import Options

Array = np.ndarray
EVERY = size.by_size(5, 2, 1)  # rows of the covering set whose steps are differentiated one by one
ELEMENTS = size.by_size(1, 3, None)  # of each operand that differences are taken of in each case; None: all
STEP = 2**-14  # of the difference quotients
MOVED = 16 * STEP  # more than two steps of an operand change any sum
EXACT = 1e-15  # relative to the largest value: a few hundred roundings of long double, and far below float64's
SHAPES = ((3, 4, 2, 3), (2, 5, 1, 1), (1, 1, 3, 4), (4, 7, 3, 2), (2, 3, 0, 3), (1, 6, 2, 5))
FACTORS = {name: values for name, values in cases.FACTORS.items() if name != "want_dx"}
SMOOTH = {**FACTORS, "truncate_gradient": (None,), "clip_state_gradient": (None,)}
SIMPLE = {**FACTORS, "cell": ("simple_rnn",), "recurrent_activation": ("sigmoid",)}


def small_cases(factors: dict, shapes: int = len(SHAPES), every: int = 1) -> Iterator[cases.Case]:
    """Each `every`-th row of the covering set on some of the small shapes in turn, well away from every kink."""
    turns = itertools.cycle(SHAPES)
    for i, choice in itertools.islice(enumerate(cases.pairwise(factors)), 0, None, every):
        for j, shape in enumerate(itertools.islice(turns, shapes)):
            yield cases.make(shape, choice, seed=100 * i + j, kink=0.0005).astype(np.longdouble)


def assert_close(got: Array, truth: Array, relative: float, what: object) -> None:
    allowed = relative * max(1.0, tolerance.largest(truth))
    distance = tolerance.error(got, truth)
    assert distance <= allowed, f"{what}: error {distance:.3g}, allowed {allowed:.3g}"


# --- finite differences of the reference's own forward -------------------------------------------------------


def loss(case: cases.Case) -> np.longdouble:
    y, states, _ = reference.forward(*case.operands, options=case.options)
    return case.loss(y, states)


@pytest.mark.parametrize("cell", cases.FACTORS["cell"])
def test_gradients_are_those_of_finite_differences(cell: str) -> None:
    elements = np.random.default_rng(0)
    factors, every = {**SMOOTH, "cell": (cell,), "initial_state": (True,)}, size.by_size(3, 1, 1)
    for case in small_cases(factors, size.by_size(1, 1, 2), every):
        if cases.near_a_kink(case, MOVED):
            continue
        gradients = cases.by_reference(case, np.longdouble)
        for result, operand in cases.OPERANDS.items():
            if getattr(case, operand) is not None:
                every = list(np.ndindex(gradients[result].shape))
                some = [every[i] for i in elements.permutation(len(every))[:ELEMENTS]]
                truth = cases.difference_quotients(loss, case, operand, STEP, some)
                at = tuple(np.transpose(some))
                assert_close(gradients[result][at], truth[at], 1e-12, f"{case}: {result}")


# --- one step at a time ----------------------------------------------------------------------------------------


def one_step(case: cases.Case, t: int) -> cases.Case:
    """Step t of a case, forwards and with nothing masked; the caller sets its initial states."""
    at = case.shape.time - 1 - t if case.options.go_backwards else t
    options = case.options._replace(go_backwards=False)
    return case.replace(x=case.x[:, at : at + 1], mask=None, options=options, dy=None)


def limited(arriving: list[Array], t: int, case: cases.Case) -> list[Array]:
    """The gradient of the states that step t passes to the step before it, cut and clipped."""
    k, time = case.options.truncate_gradient, case.shape.time
    return [0 * g for g in arriving] if k is not None and t in range(time - k, 0, -k) else clipped(arriving, case)


def clipped(arriving: list[Array], case: cases.Case) -> list[Array]:
    c = case.options.clip_state_gradient
    norms = np.sqrt(sum((g * g).sum(axis=1, keepdims=True) for g in arriving))
    return [g * np.minimum(1, c / np.maximum(norms, c)) for g in arriving] if c is not None else arriving


def outputs_gradient(case: cases.Case, t: int) -> Array:
    """The gradient of the loss with respect to the output of step t, which masked steps repeat."""
    valid = case.valid[:, ::-1] if case.options.go_backwards else case.valid
    found = np.zeros((case.shape.batch, case.shape.units), np.longdouble)
    for later in range(t, case.shape.time if case.dy is not None else t):
        arrives = case.dy[:, later] if case.options.return_sequences else case.dy * (later == case.shape.time - 1)
        repeats = later == t or not case.options.zero_output_for_mask
        reached = valid[:, t] & ~valid[:, t + 1 : later + 1].any(axis=1) & repeats
        found += np.where(reached[:, None], arrives, 0)
    return found


def by_steps(case: cases.Case) -> dict[str, Array]:
    """Norms, and the gradients of x and of the initial states, each step differentiated by itself."""
    valid, resets = (a[:, ::-1] if case.options.go_backwards else a for a in (case.valid, case.resets))
    states = [list(case.initial_states)]
    for t in range(case.shape.time):
        pairs = zip(states[0], states[-1], strict=True)
        states[-1] = [np.where(resets[:, t, None], first, state) for first, state in pairs]
        step = one_step(case, t).replace(**dict(zip(cases.STATES, states[-1], strict=False)))
        _, after, _ = reference.forward(*step.operands._replace(mask=None), options=step.options)
        states.append([np.where(valid[:, t, None], new, old) for new, old in zip(after, states[-1], strict=True)])
    gradient = [np.zeros_like(s) if d is None else d for s, d in zip(states[-1], case.dfinals, strict=True)]
    initial = [np.zeros_like(g) for g in gradient]
    norms, dx = np.zeros(case.shape[:2], np.longdouble), np.zeros_like(case.x)
    for t in reversed(range(case.shape.time)):
        gradient[0] = gradient[0] + outputs_gradient(case, t)
        norms[:, t] = np.sqrt(sum((g * g).sum(axis=1) for g in gradient))
        taken = [np.where(valid[:, t, None], g, 0) for g in gradient]
        step = one_step(case, t).replace(
            **dict(zip(cases.STATES, states[t], strict=False)),
            **dict(zip(("dfinal", "dfinal_carry"), taken, strict=False)),
        )
        back = [cases.difference_quotients(loss, step, name, STEP) for name in cases.STATES[: len(taken)]]
        at = case.shape.time - 1 - t if case.options.go_backwards else t
        dx[:, at] = cases.difference_quotients(loss, step, "x", STEP)[:, 0]
        gradient = [np.where(valid[:, t, None], b, g) for b, g in zip(back, gradient, strict=True)]
        again = resets[:, t, None]
        initial = [i + np.where(again, g, 0) for i, g in zip(initial, clipped(gradient, case), strict=True)]
        gradient = [np.where(again, 0, g) for g in limited(gradient, t, case)]
    initial = [i + g for i, g in zip(initial, gradient, strict=True)]
    return {"norms": norms, "dx": dx} | {f"d{n}": g for n, g in zip(cases.STATES, initial, strict=False)}


@pytest.mark.parametrize("cell", cases.FACTORS["cell"])
def test_limited_gradients_and_norms_are_those_of_single_steps(cell: str) -> None:
    for case in small_cases({**FACTORS, "cell": (cell,), "initial_state": (True,)}, 1, EVERY):
        if cases.near_a_kink(case, MOVED):
            continue
        got = cases.by_reference(case, np.longdouble)
        for name, truth in by_steps(case).items():
            assert_close(got[name], truth, 1e-12, f"{case}: {name}")


# --- one example at a time -----------------------------------------------------------------------------------

ACTIVATIONS = {  # the value and the slope, both of the pre-activation z
    "linear": (lambda z: z, lambda z: 1),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "relu": (lambda z: max(z, np.longdouble(0)), lambda z: int(z > 0)),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
    "hard_sigmoid": (lambda z: min(max(z / 6 + np.longdouble(0.5), 0), 1), lambda z: np.longdouble(abs(z) < 3) / 6),
}


class Example:
    """Row b of a case, every step in processing order, written with loops."""

    def __init__(self, case: cases.Case, b: int) -> None:
        self.case, self.b, self.options = case, b, case.options
        _, self.time, self.features, self.units = case.shape
        self.value, self.slope = ACTIVATIONS[case.options.activation]
        order = range(self.time)
        self.times = list(reversed(order)) if case.options.go_backwards else list(order)  # of x, by step
        self.valid = [bool(case.valid[b, t]) for t in self.times]
        self.resets = [bool(case.resets[b, t]) for t in self.times]
        self._forward()

    def _factor(self, mask: Array | None, i: int) -> np.longdouble:
        return np.longdouble(1) if mask is None else mask[0, self.b, i]

    def _forward(self) -> None:
        case, zero = self.case, np.longdouble(0)
        state = [zero] * self.units if case.initial_state is None else list(case.initial_state[self.b])
        output = [zero] * self.units
        self.states, self.outputs, self.z = [state], [], []
        for t, valid, resets in zip(self.times, self.valid, self.resets, strict=True):
            if resets:
                self.states[-1] = state = self.states[0]
            z = [zero] * self.units
            for j in range(self.units if valid else 0):
                z[j] = zero if case.bias is None else case.bias[j]
                for i in range(self.features):
                    z[j] += case.x[self.b, t, i] * self._factor(case.input_dropout, i) * case.kernel[i, j]
                for i in range(self.units):
                    z[j] += state[i] * self._factor(case.recurrent_dropout, i) * case.recurrent_kernel[i, j]
            if valid:
                state = output = [self.value(z_j) for z_j in z]
            self.z.append(z)
            self.states.append(state)
            self.outputs.append([zero] * self.units if self.options.zero_output_for_mask and not valid else output)

    def output_gradients(self) -> list[list[np.longdouble]]:
        """The gradients of the loss with respect to the output of each valid step, which masked steps repeat."""
        given = [[np.longdouble(0)] * self.units for _ in range(self.time)]
        dy = self.case.dy
        for t in range(self.time if dy is not None else 0):
            maker = t
            while maker >= 0 and not self.valid[maker] and not self.options.zero_output_for_mask:
                maker -= 1
            if maker >= 0 and self.valid[maker]:
                at_t = dy[self.b, t] if self.options.return_sequences else dy[self.b] * int(t == self.time - 1)
                given[maker] = [g + d for g, d in zip(given[maker], at_t, strict=True)]
        return given

    def handed_back(self, t: int, gradient: list[np.longdouble]) -> list[np.longdouble]:
        """The gradient of the state that step t passes to t-1, cut and clipped."""
        k, c = self.options.truncate_gradient, self.options.clip_state_gradient
        if self.valid[t]:
            dz = [g * self.slope(z) for g, z in zip(gradient, self.z[t], strict=True)]
            gradient = [
                sum(self.case.recurrent_kernel[i, j] * dz[j] for j in range(self.units))
                * self._factor(self.case.recurrent_dropout, i)
                for i in range(self.units)
            ]
        if k is not None and t in range(self.time - k, 0, -k) and not self.resets[t]:
            return [np.longdouble(0)] * self.units
        norm = np.sqrt(sum(g * g for g in gradient))
        return [g * c / norm for g in gradient] if c is not None and norm > c else gradient

    def state_gradients(self) -> list[list[np.longdouble]]:
        """The gradients of the loss with respect to the initial state and to the state after every step."""
        dfinal = self.case.dfinal
        gradient = [np.longdouble(0)] * self.units if dfinal is None else list(dfinal[self.b])
        gradients, initial = [], [np.longdouble(0)] * self.units
        for t in reversed(range(self.time)):
            gradient = [g + d for g, d in zip(gradient, self.output_gradients()[t], strict=True)]
            gradients.append(gradient)
            gradient = self.handed_back(t, gradient)
            if self.resets[t]:
                initial = [i + g for i, g in zip(initial, gradient, strict=True)]
                gradient = [np.longdouble(0)] * self.units
        initial = [i + g for i, g in zip(initial, gradient, strict=True)]
        return [initial, *reversed(gradients)]


def by_definition(case: cases.Case) -> dict[str, Array]:
    """Every result of the case, example by example."""
    batch, time, _, units = case.shape
    y = np.zeros((batch, time, units), np.longdouble)
    sums = {name: np.zeros_like(getattr(case, cases.OPERANDS[name])) for name in ("dx", "dkernel", "drecurrent_kernel")}
    results = {"y": y, "h": np.zeros((batch, units), np.longdouble), **sums, "dbias": np.zeros(units, np.longdouble)}
    results |= {"dinitial_state": np.zeros_like(results["h"]), "norms": np.zeros((batch, time), np.longdouble)}
    for b in range(batch):
        example = Example(case, b)
        results["h"][b] = example.states[-1]
        initial, *gradients = example.state_gradients()
        results["dinitial_state"][b] = initial
        for t in range(time):
            y[b, t] = example.outputs[t]
            results["norms"][b, t] = np.sqrt(sum(g * g for g in gradients[t]))
            if example.valid[t]:
                _add_step(example, t, gradients[t], results)
    if not case.options.return_sequences:
        results["y"] = y[:, -1] if time else np.zeros((batch, units), np.longdouble)
    if case.bias is None:
        del results["dbias"]
    return results


def _add_step(example: Example, t: int, gradient: list[np.longdouble], results: dict[str, Array]) -> None:
    case, b = example.case, example.b
    for j, (g, z) in enumerate(zip(gradient, example.z[t], strict=True)):
        dz = g * example.slope(z)
        results["dbias"][j] += dz
        for i in range(example.features):
            factor = example._factor(case.input_dropout, i)
            results["dx"][b, example.times[t], i] += dz * case.kernel[i, j] * factor
            results["dkernel"][i, j] += dz * case.x[b, example.times[t], i] * factor
        for i in range(example.units):
            factor = example._factor(case.recurrent_dropout, i)
            results["drecurrent_kernel"][i, j] += dz * example.states[t][i] * factor


def test_every_result_is_that_of_the_definition() -> None:
    for case in small_cases(SIMPLE, every=size.by_size(5, 1, 1)):
        truth = by_definition(case)
        got = cases.by_reference(case, np.longdouble)
        assert got.keys() == truth.keys()
        for name, array in got.items():
            assert_close(array, truth[name], EXACT, f"{case}: {name}")


@pytest.mark.parametrize("shape", [(0, 3, 2, 4), (2, 0, 3, 4), (0, 0, 2, 1), (2, 0, 0, 3)])
def test_empty_shapes_are_those_of_the_definition(shape: tuple[int, int, int, int]) -> None:
    for choice in cases.pairwise(SIMPLE):
        case = cases.make(shape, choice).astype(np.longdouble)
        for name, array in cases.by_reference(case, np.longdouble).items():
            assert_close(array, by_definition(case)[name], EXACT, f"{case}: {name}")


# --- the same rules, each on an example that can be followed by hand -----------------------------------------


def ones(time: int, **options) -> dict[str, Array]:
    """The results of h_t = x_t + h_{t-1} over one row of ones, with a gradient of 1 from the final state alone."""
    one = np.ones((1, 1))
    x = np.ones((1, time, 1))
    chosen = Options(activation="linear", **options)
    operands = Operands(x, one, one)
    y, _, tape = reference.forward(*operands, options=chosen)
    back = reference.backward(*operands, tape, 0 * y, (one,), options=chosen)
    return {"dx": back.dx[0, :, 0], "dinitial_state": back.dinitial_states[0][0, 0], "norms": back.norms[0]}


@pytest.mark.parametrize(("k", "reached"), [(1, 1), (2, 2), (3, 3), (6, 6), (7, 7), (8, 7)])
def test_the_gradient_is_cut_k_steps_before_the_end(k: int, reached: int) -> None:
    got = ones(7, truncate_gradient=k)
    assert got["norms"].tolist() == [0] * (7 - reached) + [1] * reached
    assert got["dinitial_state"] == (1 if k >= 7 else 0)


def test_what_a_step_hands_back_is_clipped_before_the_gradient_of_its_output_is_added() -> None:
    got = ones(3, clip_state_gradient=0.25)
    assert got["norms"].tolist() == [0.25, 0.25, 1]
    assert got["dinitial_state"] == 0.25
