# SPDX-License-Identifier: Apache-2.0
"""What the native library promises besides its numbers: gradients of its own forward, the same bits whatever the
threads, masked steps that no number crosses, and callers' memory and modes left alone.

Every comparison but that with finite differences is of bytes.
"""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cases
import elman
import size
import tolerance
from cases import by_native
from elman import _native, _numpy
from elman.operands import Operands, flat
from elman.options import Options

pytestmark = pytest.mark.usefixtures("isa")
Array = np.ndarray
Results = dict[str, Array]
DTYPES = (np.float32, np.float64)
DIFFERENTIATED = ((3, 4, 2, 5), (1, 5, 3, 9), (2, 3, 0, 5), (7, 2, 5, 2), (2, 1, 1, 33))
SMALL = ((3, 4, 2, 5), (1, 5, 3, 9), (2, 3, 0, 17), (7, 2, 5, 2), (2, 1, 1, 33))
LARGE = ((33, 20, 16, 128), (64, 12, 8, 65), (5, 6, 40, 300), (1, 50, 7, 64), (13, 40, 3, 31), (200, 3, 5, 48))
OF_A_ROW = {"y", "h", "c", "dx", "dinitial_state", "dinitial_carry", "norms"}
STEP = 2**-13  # of the difference quotients
MOVED = 16 * STEP  # further than two steps of an operand move any sum
PADDED = {name: values for name, values in cases.FACTORS.items() if name not in {"mask", "zero_output_for_mask"}}


def assert_same_bits(got: Results, expected: Results, what: object) -> None:
    assert got.keys() == expected.keys(), what
    for name, array in got.items():
        assert array.shape == expected[name].shape, f"{what}: {name}"
        assert array.tobytes() == expected[name].tobytes(), f"{what}: {name} differs in its bits"


@functools.cache
def covering(shapes: tuple[tuple[int, int, int, int], ...]) -> tuple[cases.Case, ...]:
    """Every row of the covering set, the shapes taking turns."""
    return tuple(cases.grid(itertools.islice(itertools.cycle(shapes), 2 * len(cases.COVERING))))


# --- gradients -------------------------------------------------------------------------------------------------


def loss(case: cases.Case) -> float:
    y, states, _ = _numpy.forward(case.options, case.operands)
    return float(case.loss(y, states))


@pytest.mark.slow
@pytest.mark.parametrize("cell", cases.FACTORS["cell"])
def test_gradients_are_those_of_finite_differences(cell: str) -> None:
    smooth = {"cell": (cell,), "truncate_gradient": (None,), "clip_state_gradient": (None,)}
    rows = cases.pairwise({**cases.FACTORS, **smooth})
    chosen = itertools.islice(zip(rows, itertools.cycle(DIFFERENTIATED), strict=False), 0, None, size.by_size(3, 3, 1))
    for seed, (choice, shape) in enumerate(chosen):
        bias = choice["bias"] or not shape[2]  # else states fade away, and every sum is near the kink of relu
        case = cases.make(shape, {**choice, "bias": bias, "want_dx": True}, seed, kink=0.001).astype(np.float64)
        if cases.near_a_kink(case, MOVED):
            continue
        results = by_native(case, np.float64)
        for result, operand in cases.OPERANDS.items():
            if getattr(case, operand) is None:
                continue
            truth = cases.difference_quotients(loss, case, operand, STEP)
            distance, largest = tolerance.error(results[result], truth), max(1.0, tolerance.largest(truth))
            assert distance <= 1e-9 * largest, f"{case}: {result} is off by {distance:.3g} of {largest:.3g}"


# --- the same bits ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", [SMALL, LARGE], ids=["small", "large"])
def test_the_number_of_threads_changes_no_bit(shapes: tuple, dtype: type) -> None:
    for case in covering(shapes):
        elman.set_num_threads(1)
        expected = by_native(case, dtype)
        for threads in (2, 3):
            elman.set_num_threads(threads)
            assert_same_bits(by_native(case, dtype), expected, f"{case} on {threads} threads")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_run_leaves_nothing_behind_that_changes_the_next(dtype: type) -> None:
    elman.set_num_threads(3)
    poison = [cases.make(shape) for shape in SMALL + LARGE]
    poison = [case.replace(x=np.full_like(case.x, np.nan)) for case in poison]
    for case in covering(LARGE):
        expected = by_native(case, dtype)
        for other in poison:
            by_native(other, dtype)
        assert_same_bits(by_native(case, dtype), expected, case)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_element_of_every_result_is_written(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    for case in covering(SMALL):
        filled = {}
        for value in (0.0, np.nan):
            with monkeypatch.context() as patch:
                patch.setattr(np, "empty", lambda shape, dtype, value=value: np.full(shape, value, dtype))
                filled[value] = by_native(case, dtype)
                *_, filled[value]["tape"] = _numpy.forward(case.options, case.astype(dtype).operands, keep_tape=True)
        assert_same_bits(*filled.values(), case)


def test_misaligned_memory_changes_no_bit() -> None:
    def shifted(array: Array) -> Array:
        moved = np.empty(array.size + 1, array.dtype)[1:].reshape(array.shape)
        moved[...] = array
        return moved

    for case, dtype in itertools.product(covering(SMALL), DTYPES):
        assert_same_bits(by_native(case.astype(dtype).map(shifted), dtype), by_native(case, dtype), case)


# --- masks -----------------------------------------------------------------------------------------------------


def test_lengths_are_the_mask_of_the_leading_steps() -> None:
    for seed, choice in enumerate(cases.pairwise(PADDED)):
        case = cases.make((5, 6, 3, 20), {**choice, "mask": "int64 lengths"}, seed)
        expected = by_native(case, np.float32)
        for mask in (case.mask.astype(np.int32), case.valid, (7 * case.valid.astype(np.uint8)).view(bool)):
            assert_same_bits(by_native(case.replace(mask=mask), np.float32), expected, case)


def test_a_mask_of_valid_steps_alone_is_no_mask() -> None:
    for seed, choice in enumerate(cases.pairwise(PADDED)):
        case = cases.make((5, 6, 3, 20), choice, seed)
        for mask in (case.valid, np.full(5, 6, np.int32)):
            assert_same_bits(by_native(case.replace(mask=mask), np.float32), by_native(case, np.float32), case)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_of_a_masked_step_reaches_a_result(dtype: type) -> None:
    """x of masked steps; and dy of those whose output depends on nothing."""
    for case in covering(((5, 6, 3, 20), (2, 7, 1, 3), (33, 4, 9, 65))):
        spoiled = case.replace(x=np.where(case.valid[..., None], case.x, np.nan).astype(case.x.dtype))
        if case.dy is not None and case.options.return_sequences:
            valid = case.valid[:, ::-1] if case.options.go_backwards else case.valid
            counts = valid if case.options.zero_output_for_mask else np.logical_or.accumulate(valid, axis=1)
            spoiled = spoiled.replace(dy=np.where(counts[..., None], case.dy, np.nan).astype(case.dy.dtype))
        assert_same_bits(by_native(spoiled, dtype), by_native(case, dtype), case)


# --- numbers that are none -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_infinite_gradient_is_clipped_to_zero_beside_nan(dtype: type) -> None:
    case = cases.make((2, 3, 2, 4), {"activation": "linear", "initial_state": True, "clip_state_gradient": "small"})
    case = case.replace(
        mask=np.zeros((2, 3), bool), dfinal=np.array([[1, np.inf, 2, 3], [1, np.nan, 2, 3]], np.float32)
    )
    got = by_native(case, dtype)["dinitial_state"]
    assert np.array_equal(got, np.array([[0, np.nan, 0, 0], [1, np.nan, 2, 3]], dtype), equal_nan=True)


@pytest.mark.slow
def test_nan_stays_in_its_row() -> None:
    for case in covering(((5, 6, 3, 20), (17, 3, 2, 33))):
        spoiled = case.map(np.copy)
        spoiled.x[0] = np.nan
        got, expected = by_native(spoiled, np.float32), by_native(case, np.float32)
        for name in got.keys() & OF_A_ROW:
            assert got[name][1:].tobytes() == expected[name][1:].tobytes(), f"{case}: {name}"


@pytest.mark.parametrize("cell", cases.FACTORS["cell"])
@pytest.mark.parametrize("activation", cases.FACTORS["activation"])
def test_nan_in_a_gradient_reaches_every_weight(activation: str, cell: str) -> None:
    case = cases.make((3, 4, 2, 19), {"cell": cell, "activation": activation, "initial_state": True})
    case.dy[1, -1] = np.nan
    results = by_native(case, np.float32)
    for name in ("dkernel", "drecurrent_kernel", "dbias"):
        assert np.isnan(results[name]).all(), name
    assert np.isnan(results["dx"][1]).all()
    assert np.isfinite(results["dx"][[0, 2]]).all()


def linear_gradients(scale: float, **choice: object) -> Results:
    """float32 gradients of a linear recurrence whose loss has gradients of about `scale`."""
    case = cases.make((4, 3, 2, 16), {"activation": "linear", "initial_state": True, **choice})
    return by_native(case.replace(dy=case.dy * np.float32(scale), dfinal=case.dfinal * np.float32(scale)), np.float32)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_norms_of_what_has_no_square_in_float32(scale: float) -> None:
    got, expected = linear_gradients(scale)["norms"] / np.float32(scale), linear_gradients(1)["norms"]
    assert np.max(np.abs(got - expected)) <= tolerance.ULPS * tolerance.ulp(expected, np.float32)


def test_a_gradient_without_a_square_in_float32_is_clipped_to_the_limit() -> None:
    norms = np.linalg.norm(linear_gradients(1e30, clip_state_gradient="small")["dinitial_state"], axis=1)
    assert np.max(np.abs(norms - 0.1)) <= tolerance.ULPS * np.spacing(np.float32(0.1))


# --- sums of many terms ----------------------------------------------------------------------------------------


def assert_within_ulps(got: Array, truth: Array) -> None:
    assert tolerance.error(got, truth) <= tolerance.ULPS * tolerance.ulp(truth, np.float32)


def positive(*shape: int) -> Array:
    """Terms of one sign: their sum is larger than each, and so is its rounding."""
    return np.random.default_rng(0).random(shape).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 5, 40])
@pytest.mark.parametrize(("features", "units"), [(30_000, 3), (3, 1500), (1500, 1500)])
def test_a_sum_over_many_features_or_units_is_as_exact_as_a_short_one(batch: int, features: int, units: int) -> None:
    x, h, kernel, recurrent_kernel = (
        positive(*shape) for shape in ((batch, 1, features), (batch, units), (features, units), (units, units))
    )
    options = Options(activation="linear")
    operands = (x, kernel, recurrent_kernel, None, (h,), None, None, None)
    y, _, tape = _numpy.forward(options, operands, keep_tape=True)
    wide = [array.astype(np.float64) for array in (x[:, 0], h, kernel, recurrent_kernel)]
    assert_within_ulps(y[:, 0], wide[0] @ wide[2] + wide[1] @ wide[3])
    dy = positive(batch, 1, units)
    back = _numpy.backward(options, operands, y, tape, dy, (None,))
    assert_within_ulps(back.dx[:, 0], dy[:, 0].astype(np.float64) @ wide[2].T)
    assert_within_ulps(back.dinitial_states[0], dy[:, 0].astype(np.float64) @ wide[3].T)


@pytest.mark.parametrize("shape", [(8, 20_000), (1, 150_000), (150_000, 1)])
def test_a_sum_over_many_steps_is_as_exact_as_a_short_one(shape: tuple[int, int]) -> None:
    x, dy = positive(*shape, 1), positive(*shape, 1)
    options = Options(activation="linear")
    operands = (
        x,
        np.ones((1, 1), np.float32),
        np.zeros((1, 1), np.float32),
        np.zeros(1, np.float32),
        (),
        None,
        None,
        None,
    )
    y, _, tape = _numpy.forward(options, operands, keep_tape=True)
    back = _numpy.backward(options, operands, y, tape, dy, (None,))
    truth = np.array([[np.sum(x.astype(np.float64) * dy)]]), np.array([np.sum(dy.astype(np.float64))])
    assert_within_ulps(back.dkernel, truth[0])
    assert_within_ulps(back.dbias, truth[1])


# --- identities ------------------------------------------------------------------------------------------------


def test_going_backwards_is_turning_time_around() -> None:
    for case in covering(SMALL):
        flipped = case.replace(
            x=case.x[:, ::-1].copy(),
            mask=None if case.mask is None else case.steps[:, ::-1].copy(),
            options=case.options._replace(go_backwards=not case.options.go_backwards),
        )
        got = by_native(flipped, np.float32)
        if "dx" in got:
            got["dx"] = got["dx"][:, ::-1]
        assert_same_bits(got, by_native(case, np.float32), case)


@pytest.mark.parametrize("batch", [1, 2, 9, 64])
def test_two_calls_that_hand_on_the_state_are_one(batch: int) -> None:
    masks = [mask for mask in cases.FACTORS["mask"] if "resets" not in mask]  # of which each call has its own states
    for seed, choice in enumerate(cases.pairwise({**cases.FACTORS, "go_backwards": (False,), "mask": masks})):
        case = cases.make((batch, 7, 3, 37), {**choice, "return_sequences": True, "zero_output_for_mask": True}, seed)
        y, states, _ = _numpy.forward(case.options, case.operands)
        first = case.replace(x=case.x[:, :3], mask=case.steps[:, :3])
        y_first, between, _ = _numpy.forward(case.options, first.operands)
        handed_on = dict(zip(cases.STATES, between, strict=False))
        second = case.replace(x=case.x[:, 3:], mask=case.steps[:, 3:], **handed_on)
        y_second, last, _ = _numpy.forward(case.options, second.operands)
        assert np.concatenate([y_first, y_second], axis=1).tobytes() == y.tobytes(), case
        assert [s.tobytes() for s in last] == [s.tobytes() for s in states], case


@pytest.mark.slow
def test_the_order_of_rows_changes_no_bit_of_a_row() -> None:
    for case in covering(((6, 5, 3, 20), (35, 3, 2, 33))):
        order = np.random.default_rng(case.seed).permutation(case.shape.batch)

        def mixed(array: Array, axis: int = 0, order: Array = order) -> Array:
            return None if array is None else np.take(array, order, axis)

        shuffled = case.replace(
            x=mixed(case.x),
            mask=mixed(case.mask),
            initial_state=mixed(case.initial_state),
            initial_carry=mixed(case.initial_carry),
            input_dropout=mixed(case.input_dropout, 1),
            recurrent_dropout=mixed(case.recurrent_dropout, 1),
            dy=mixed(case.dy),
            dfinal=mixed(case.dfinal),
            dfinal_carry=mixed(case.dfinal_carry),
        )
        got, expected = by_native(shuffled, np.float32), by_native(case, np.float32)
        for name in got.keys() & OF_A_ROW:
            assert got[name].tobytes() == mixed(expected[name]).tobytes(), f"{case}: {name}"


# --- what is not asked for -------------------------------------------------------------------------------------

GRADIENTS = (*cases.OPERANDS, "norms")


def back(case: cases.Case, y: Array, tape: Array, wanted: tuple[str, ...]) -> Results:
    """The gradients of these names alone, the others left out of the call."""
    batch, time, _, units = case.shape
    shapes = {name: getattr(case, operand).shape for name, operand in list(cases.OPERANDS.items())[:3]}
    shapes |= {"dbias": np.shape(case.bias), "norms": (batch, time)}
    results = {name: np.empty(shapes.get(name, (batch, units)), np.float32) for name in wanted}
    in_order = [results.get(name) for name in GRADIENTS]
    spec = _native.spec(
        case.options,
        *case.shape,
        case.x.dtype.name,
        "none" if case.mask is None else _native.MASK_OF_DTYPE[case.mask.dtype.name],
        0 if case.input_dropout is None else len(case.input_dropout),
        0 if case.recurrent_dropout is None else len(case.recurrent_dropout),
    )
    addresses = [
        _numpy.address(a) for a in (*flat(case.operands), y, tape, case.dy, case.dfinal, case.dfinal_carry, *in_order)
    ]
    _native.backward(spec, *addresses)
    return results


@pytest.mark.slow
def test_a_gradient_does_not_depend_on_which_others_are_wanted() -> None:
    for case in cases.grid([(3, 4, 2, 5), (33, 3, 8, 64)] * len(cases.COVERING)):
        y, _, tape = _numpy.forward(case.options, case.operands, keep_tape=True)
        absent = {"dbias"} if case.bias is None else set()
        absent |= {"dinitial_carry"} if len(case.cell.states) == 1 else set()
        names = [name for name in GRADIENTS if name not in absent]
        every = back(case, y, tape, tuple(names))
        assert back(case, y, tape, ()) == {}
        for name in names:
            assert_same_bits(back(case, y, tape, (name,)), {name: every[name]}, f"{case}, {name} alone")
            others = tuple(other for other in names if other != name)
            expected = {other: every[other] for other in others}
            assert_same_bits(back(case, y, tape, others), expected, f"{case} without {name}")


def test_states_and_tape_need_not_be_wanted() -> None:
    for case in covering(SMALL):
        y, _, _ = _numpy.forward(case.options, case.operands, keep_tape=True)
        without, _, tape = _numpy.forward(case.options, case.operands)
        assert tape is None
        assert without.tobytes() == y.tobytes(), case


@pytest.mark.parametrize(("cell", "most"), [("simple_rnn", 1), ("lstm", 5), ("gru", 4), ("gru, reset before", 4)])
@pytest.mark.parametrize("sequences", [True, False])
def test_the_tape_is_no_larger_than_promised(cell: str, most: int, sequences: bool) -> None:
    """In units' worth a step, beyond y."""
    case = cases.make((2, 3, 2, 7), {"cell": cell, "return_sequences": sequences})
    *_, tape = _numpy.forward(case.options, case.operands, keep_tape=True)
    assert tape.shape[2] <= most * 7


# --- the caller's own ------------------------------------------------------------------------------------------


def test_denormals_are_the_callers_own_again_after_a_call() -> None:
    """A call flushes them inside; on the thread that made it they are what they were."""
    smallest = np.float32(np.finfo(np.float32).smallest_subnormal)
    for threads, shape in itertools.product((1, 2), (SMALL[0], LARGE[0])):
        elman.set_num_threads(threads)
        by_native(cases.make(shape), np.float32)
        assert smallest * np.float32(3) > 0


def test_no_operand_is_written() -> None:
    for case in covering(SMALL):
        before = case.map(np.copy)
        by_native(case, np.float32)
        for one, other in zip(case.operands, before.operands, strict=True):
            assert np.array_equal(one, other) if isinstance(one, np.ndarray) else True


@pytest.mark.parametrize("shape", [(0, 3, 2, 4), (3, 0, 2, 4), (0, 0, 0, 1), (2, 3, 0, 5), (2, 0, 0, 3), (0, 4, 0, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_empty_shapes(shape: tuple[int, int, int, int], dtype: type) -> None:
    for seed, choice in enumerate(cases.COVERING):
        case = cases.make(shape, choice, seed)
        truth = cases.by_reference(case, np.longdouble)
        for name, got in cases.by_native(case, dtype).items():
            allowed = tolerance.ULPS * tolerance.ulp(truth[name], dtype)
            assert tolerance.error(got, truth[name]) <= allowed, f"{case}: {name}"


@pytest.mark.parametrize(("dtype", "arriving"), [("float32", 2e38), ("float64", 1e160), ("float64", 1e-170)])
def test_a_gradient_of_any_size_is_clipped(dtype: str, arriving: float) -> None:
    """Neither its squares nor the factor that brings it to the limit may leave the range of the dtype."""
    identity = np.eye(2, dtype=dtype)
    limit = 1e-3 if arriving > 1 else 1e-175
    options = Options(activation="linear", clip_state_gradient=limit)
    operands = Operands(np.zeros((1, 3, 2), dtype), identity, identity)
    y, _, tape = _numpy.forward(options, operands, keep_tape=True)
    gradients = _numpy.backward(options, operands, y, tape, None, (np.full((1, 2), arriving, dtype),))
    np.testing.assert_allclose(gradients.dinitial_states[0], limit / np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(gradients.norms[0, -1], np.sqrt(2) * arriving, rtol=1e-6)


def test_the_instruction_set_is_chosen_for_one_thread(isa: str) -> None:
    library = _native.library()
    assert library.elman_isa().decode() == isa
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(library.elman_isa).result() == library.elman_isas().split(b",")[-1]
    assert library.elman_set_isa(b"abacus") == 3
    assert b'elman_set_isa got "abacus"; expected one of' in library.elman_last_error()
    assert library.elman_isa().decode() == isa


def test_the_environment_chooses_the_instruction_set(isa: str) -> None:
    asked = "from elman import _native; print(_native.library().elman_isa().decode())"
    environment = {**os.environ, "ELMAN_ISA": isa}
    said = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [isa]
