# SPDX-License-Identifier: Apache-2.0
"""The functions on NumPy arrays of every kind: the right answer, or an error that says what was given,
what was expected and what to do."""

from __future__ import annotations

import doctest
import gc
import inspect
import itertools
import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cases
import elman
import tolerance
from elman import _numpy, functional

Array = np.ndarray
B, T, F, H = 4, 6, 3, 5


@pytest.fixture
def arrays() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    shapes = {"x": (B, T, F), "kernel": (F, H), "recurrent_kernel": (H, H), "bias": (H,), "initial_state": (B, H)}
    return {name: (0.5 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}


def assert_same(got: tuple[Array, Array], expected: tuple[Array, Array], what: object = "") -> None:
    for one, other in zip(got, expected, strict=True):
        assert one.tobytes() == other.tobytes(), what
        assert (one.shape, one.dtype) == (other.shape, other.dtype), what


# --- the answer ------------------------------------------------------------------------------------------------


def test_every_option_reaches_the_recurrence() -> None:
    of_simple_rnn = ("activation", "go_backwards", "zero_output_for_mask")
    of_cell = {"simple_rnn": (), "lstm": ("recurrent_activation",), "gru": ("recurrent_activation", "reset_after")}
    factors = {name: cases.FACTORS[name] for name in ("cell", "recurrent_activation", "mask", *of_simple_rnn)}
    factors |= {"bias": (True, False), "initial_state": (True, False)}
    for seed, choice in enumerate(cases.pairwise(factors)):
        case = cases.make((B, T, F, H), choice, seed)
        truth = cases.by_reference(case, np.longdouble)
        masked = {} if case.mask is None else {"lengths": case.mask} if case.mask.ndim == 1 else {"mask": case.valid}
        masked |= {"resets": case.resets} if case.resets.any() else {}
        function = getattr(elman, case.options.cell)
        settings = {name: getattr(case.options, name) for name in (*of_simple_rnn, *of_cell[case.options.cell])}
        double = case.astype(np.float64)
        given = (double.initial_states or None) if len(case.cell.states) > 1 else double.initial_state
        for native in ("auto", "require", False):
            y, states = function(*double.operands[:4], given, **masked, **settings, native=native)
            tolerance.assert_float64(y, truth["y"], f"{case}, native={native}: y")
            for name, state in zip(case.cell.states, states if len(case.cell.states) > 1 else (states,), strict=True):
                tolerance.assert_float64(state, truth[name], f"{case}, native={native}: {name}")


@pytest.mark.parametrize("cell", ["simple_rnn", "lstm", "gru"])
def test_initial_states_are_those_of_the_call(cell: str, arrays: dict[str, Array]) -> None:
    choice = {"cell": cell, "initial_state": True}
    case = cases.make((B, T, F, H), choice)
    function = getattr(elman, cell)
    given = case.initial_states if len(case.cell.states) > 1 else case.initial_state
    y, _ = function(*case.operands[:4], given)
    first, states = function(case.x[:, :2], *case.operands[1:4], given)
    second, _ = function(case.x[:, 2:], *case.operands[1:4], states)
    assert y.tobytes() == np.concatenate([first, second], axis=1).tobytes()


def test_arrays_of_numpy_run_natively_inside_portable_too(arrays: dict[str, Array], monkeypatch: Any) -> None:
    monkeypatch.setattr(_numpy, "plain", None)  # fails when called
    expected = elman.simple_rnn(**arrays), elman.simple_rnn(**arrays, lengths=np.full(B, T))
    with elman.portable():
        assert_same(elman.simple_rnn(**arrays, native="require"), expected[0])
        assert_same(elman.simple_rnn(**arrays, native="require", lengths=np.full(B, T)), expected[1])


@pytest.mark.parametrize("value", [1, 0, None])
def test_a_switch_that_equals_a_boolean_is_refused_after_a_call_with_the_boolean(value: Any) -> None:
    case = cases.make((B, T, F, H), {"cell": "gru"})
    elman.gru(*case.operands[:4], reset_after=True)
    with pytest.raises(TypeError, match=f"reset_after is {value}; expected True or False"):
        elman.gru(*case.operands[:4], reset_after=value)


def test_options_of_the_backward_alone_change_nothing_forward(arrays: dict[str, Array]) -> None:
    expected = elman.simple_rnn(**arrays)
    assert_same(elman.simple_rnn(**arrays, truncate_gradient=2, clip_state_gradient=0.5), expected)
    assert_same(elman.simple_rnn(**arrays, truncate_gradient=2**70), expected)


def test_a_callable_runs_in_plain_operations(arrays: dict[str, Array]) -> None:
    expected = elman.simple_rnn(**arrays, native=False)
    assert_same(elman.simple_rnn(**arrays, activation=np.tanh), expected)


@pytest.mark.parametrize("shape", [(0, T, F), (B, 0, F), (B, T, 0), (0, 0, 0)])
@pytest.mark.parametrize("native", ["auto", False])
def test_empty_inputs(shape: tuple[int, int, int], native: Any, arrays: dict[str, Array]) -> None:
    batch, time, features = shape
    state = arrays["initial_state"][:batch]
    arrays |= {"x": np.ones(shape, np.float32), "kernel": arrays["kernel"][:features], "initial_state": state}
    y, h = elman.simple_rnn(**arrays, native=native)
    assert y.shape == (batch, time, H)
    assert h.shape == (batch, H)
    assert y.dtype == h.dtype == np.float32
    if time == 0:
        assert_same((h,), (state,))


def test_results_are_new_arrays(arrays: dict[str, Array]) -> None:
    arrays["x"] = arrays["x"][:, :0]
    _, h = elman.simple_rnn(**arrays)
    assert not np.shares_memory(h, arrays["initial_state"])
    one, other = elman.simple_rnn(**arrays), elman.simple_rnn(**arrays)
    assert not np.shares_memory(one[1], other[1])


@pytest.mark.parametrize("function", [elman.simple_rnn, elman.lstm, elman.gru])
def test_the_example_of_the_docstring(function: Any) -> None:
    example = doctest.DocTestParser().get_doctest(
        inspect.getdoc(function), {"elman": elman, "np": np}, function.__name__, None, 0
    )
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


# --- arrays of every kind --------------------------------------------------------------------------------------


def strided(a: Array) -> Array:
    wide = np.full([2 * n for n in a.shape], np.nan, a.dtype)
    view = wide[tuple(slice(0, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def misaligned(a: Array) -> Array:
    view = np.frombuffer(bytearray(a.nbytes + 1), np.uint8)[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def read_only(a: Array) -> Array:
    a = a.copy()
    a.flags.writeable = False
    return a


def broadcast(a: Array) -> Array:
    """Memory of stride 0 where the first axis repeats."""
    return np.broadcast_to(a[:1], a.shape)


MEMORY = {
    "fortran": np.asfortranarray,
    "strided": strided,
    "backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "misaligned": misaligned,
    "read-only": read_only,
    "broadcast": broadcast,
    "subclass": lambda a: a.view(type("Subclass", (np.ndarray,), {})),
}


@pytest.mark.parametrize("native", ["auto", False])
@pytest.mark.parametrize("kind", MEMORY)
def test_any_memory_gives_the_answer(kind: str, native: Any, arrays: dict[str, Array]) -> None:
    for name, array in arrays.items():
        given = {**arrays, name: MEMORY[kind](array)}
        dense = {**arrays, name: np.array(given[name], order="C", subok=False)}
        assert_same(elman.simple_rnn(**given, native=native), elman.simple_rnn(**dense, native=native), name)
    every = {name: MEMORY[kind](array) for name, array in arrays.items()}
    dense = {name: np.array(array, order="C", subok=False) for name, array in every.items()}
    assert_same(elman.simple_rnn(**every, native=native), elman.simple_rnn(**dense, native=native))


@pytest.mark.parametrize("kind", ["fortran", "strided", "backwards", "read-only", "broadcast"])
def test_any_memory_of_a_mask_gives_the_answer(kind: str, arrays: dict[str, Array]) -> None:
    mask, lengths = np.arange(T) % 3 != np.arange(B)[:, None] % 3, np.array([6, 2, 0, 3])
    for name, array in (("mask", mask), ("lengths", lengths)):
        given = np.zeros_like(array) if kind == "strided" else array
        given = MEMORY[kind](array) if kind != "strided" else np.repeat(array, 2, axis=0)[::2]
        expected = elman.simple_rnn(**arrays, **{name: np.array(given, order="C")})
        assert_same(elman.simple_rnn(**arrays, **{name: given}), expected, name)


def test_a_memory_map_gives_the_answer(tmp_path: Path, arrays: dict[str, Array]) -> None:
    np.save(tmp_path / "x.npy", arrays["x"])
    expected = elman.simple_rnn(**arrays)
    for mode in ("r", "r+", "c"):
        assert_same(elman.simple_rnn(**{**arrays, "x": np.load(tmp_path / "x.npy", mmap_mode=mode)}), expected, mode)


def test_a_matrix_gives_the_answer(arrays: dict[str, Array]) -> None:
    given = {**arrays, **{name: arrays[name].view(np.matrix) for name in ("kernel", "recurrent_kernel")}}
    for native in ("auto", False):
        y, h = elman.simple_rnn(**given, native=native)
        assert_same((y, h), elman.simple_rnn(**arrays, native=native))
        assert type(y) is type(h) is np.ndarray


@pytest.mark.parametrize("native", ["auto", False])
@pytest.mark.parametrize("leave_out", [(), ("initial_state",), ("initial_state", "bias")], ids=len)
def test_numbers_in_the_other_byte_order_give_the_answer(
    leave_out: tuple[str, ...], native: Any, arrays: dict[str, Array]
) -> None:
    arrays = {name: array for name, array in arrays.items() if name not in leave_out}
    dtype = np.dtype(np.float32).newbyteorder()  # one object, as arrays of one file share it
    swapped = {name: array.astype(dtype) for name, array in arrays.items()}
    assert {id(array.dtype) for array in swapped.values()} == {id(dtype)}
    lengths = np.array([6, 2, 0, 3])
    for given in ({}, {"lengths": lengths}, {"lengths": lengths.astype(lengths.dtype.newbyteorder())}):
        truths = elman.simple_rnn(**arrays, **({"lengths": lengths} if given else {}))
        for got, truth in zip(elman.simple_rnn(**swapped, **given, native=native), truths, strict=True):
            assert tolerance.error(got, truth) <= tolerance.ULPS * tolerance.ulp(truth, np.float32)


@pytest.mark.parametrize("leave_out", ["", "initial_state"])
def test_byte_orders_may_meet_or_are_refused(leave_out: str, arrays: dict[str, Array]) -> None:
    arrays.pop(leave_out, None)
    truth, _ = elman.simple_rnn(**arrays)
    for name, array in arrays.items():
        try:
            y, _ = elman.simple_rnn(**{**arrays, name: array.astype(array.dtype.newbyteorder())})
        except TypeError as error:
            assert "expected the same dtype" in str(error)  # noqa: PT017
        else:
            assert tolerance.error(y, truth) <= tolerance.ULPS * tolerance.ulp(truth, np.float32)


def test_masked_values_are_refused(arrays: dict[str, Array]) -> None:
    """Their mask is not a mask over time, and the numbers under it are arbitrary."""
    arrays["x"] = np.ma.masked_greater(arrays["x"], 0)
    with pytest.raises(TypeError, match="masked array"):
        elman.simple_rnn(**arrays)


def test_lists_go_along_with_an_array(arrays: dict[str, Array]) -> None:
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    expected = elman.simple_rnn(**arrays, lengths=np.array([1, 2, 3, 0]))
    given = {**arrays, "kernel": arrays["kernel"].tolist(), "bias": arrays["bias"].tolist()}
    assert_same(elman.simple_rnn(**given, lengths=[1, 2, 3, 0]), expected)


@pytest.mark.parametrize("dtype", ["float16", "longdouble"])
def test_other_floats_run_in_plain_operations(dtype: str, arrays: dict[str, Array]) -> None:
    y, h = elman.simple_rnn(**{name: array.astype(dtype) for name, array in arrays.items()})
    assert y.dtype == h.dtype == np.dtype(dtype)
    expected, _ = elman.simple_rnn(**arrays)
    assert np.max(np.abs(y - expected)) <= 16 * max(np.finfo(dtype).eps, np.finfo(np.float32).eps)


# --- errors ----------------------------------------------------------------------------------------------------


def zeros(*shape: int, dtype: Any = np.float32) -> Array:
    return np.zeros(shape, dtype)


WRONG: list[tuple[dict[str, Any], Any, str]] = [  # arguments, the class of the error, its text
    ({"x": zeros(T, F)}, ValueError, r"x has shape \(6, 3\); expected 3 dimensions.*x\[None\]"),
    ({"x": zeros(B, T, F, 1)}, ValueError, r"x has shape \(4, 6, 3, 1\); expected 3 dimensions"),
    ({"x": zeros()}, ValueError, r"x has shape \(\); expected 3 dimensions"),
    ({"kernel": zeros(F + 1, H)}, ValueError, r"kernel has shape \(4, 5\); expected \(features, units\) = \(3, 5\)"),
    ({"kernel": zeros(F)}, ValueError, r"kernel has shape \(3,\); expected \(features, units\) = \(3, 5\)"),
    ({"kernel": zeros(H, F)}, ValueError, r"kernel has shape \(5, 3\); expected \(features, units\) = \(3, 5\)"),
    (
        {"recurrent_kernel": zeros(H, H + 1)},
        ValueError,
        r"recurrent_kernel has shape \(5, 6\); expected \(units, units\)",
    ),
    ({"recurrent_kernel": zeros(H)}, ValueError, r"recurrent_kernel has shape \(5,\); expected \(units, units\)"),
    ({"recurrent_kernel": zeros()}, ValueError, r"recurrent_kernel has shape \(\); expected \(units, units\)"),
    ({"kernel": zeros(F, 0), "recurrent_kernel": zeros(0, 0), "bias": None}, ValueError, "at least one unit"),
    ({"bias": zeros(H + 1)}, ValueError, r"bias has shape \(6,\); expected \(units,\) = \(5,\)"),
    ({"bias": zeros(2, H)}, ValueError, r"bias has shape \(2, 5\); expected \(units,\) = \(5,\)"),
    ({"bias": zeros()}, ValueError, r"bias has shape \(\); expected \(units,\) = \(5,\)"),
    ({"initial_state": zeros(B, H + 1)}, ValueError, r"initial_state has shape \(4, 6\); expected \(batch, units\)"),
    ({"initial_state": zeros(H)}, ValueError, r"initial_state has shape \(5,\); expected \(batch, units\) = \(4, 5\)"),
    ({"kernel": zeros(F, H, dtype="f8")}, TypeError, "kernel has dtype float64 and x has float32.*Cast"),
    ({"recurrent_kernel": zeros(H, H, dtype="f2")}, TypeError, "recurrent_kernel has dtype float16 and x has float32"),
    ({"bias": zeros(H, dtype="i4")}, TypeError, "bias has dtype int32 and x has float32"),
    ({"initial_state": zeros(B, H, dtype="f8")}, TypeError, "initial_state has dtype float64 and x has float32"),
    ({"mask": zeros(B, T)}, TypeError, "mask has dtype float32; expected bool.*Pass mask != 0"),
    ({"mask": zeros(B, T, dtype="i8")}, TypeError, "mask has dtype int64; expected bool"),
    ({"mask": zeros(B, dtype=bool)}, ValueError, r"mask has shape \(4,\); expected \(batch, time\) = \(4, 6\)"),
    ({"mask": zeros(T, B, dtype=bool)}, ValueError, r"mask has shape \(6, 4\); expected \(batch, time\) = \(4, 6\)"),
    ({"mask": zeros(B, T, 1, dtype=bool)}, ValueError, r"mask has shape \(4, 6, 1\); expected \(batch, time\)"),
    ({"lengths": zeros(B)}, TypeError, "lengths has dtype float32; expected int32 or int64"),
    ({"lengths": zeros(B, dtype="u8")}, TypeError, "lengths has dtype uint64; expected int32 or int64"),
    ({"lengths": zeros(B, dtype=bool)}, TypeError, "lengths has dtype bool; expected int32 or int64"),
    ({"lengths": zeros(B + 1, dtype="i4")}, ValueError, r"lengths has shape \(5,\); expected \(batch,\) = \(4,\)"),
    ({"lengths": zeros(B, 1, dtype="i4")}, ValueError, r"lengths has shape \(4, 1\); expected \(batch,\)"),
    ({"lengths": np.array([1, -1, 0, 0])}, ValueError, r"lengths\[1\] is -1; expected 0 to 6"),
    ({"lengths": np.array([1, 0, 0, 7])}, ValueError, r"lengths\[3\] is 7; expected 0 to 6"),
    ({"lengths": np.array([1, 0, 7, 0], np.int32)}, ValueError, r"lengths\[2\] is 7; expected 0 to 6"),
    ({"lengths": np.array([1, 0, 2**40, 0])}, ValueError, rf"lengths\[2\] is {2**40}; expected 0 to 6"),
    ({"mask": zeros(B, T, dtype=bool), "lengths": zeros(B, dtype="i4")}, ValueError, "mask and lengths are both given"),
    ({"activation": "tan"}, ValueError, "activation is 'tan'; expected one of .*Did you mean 'tanh'"),
    ({"activation": None}, ValueError, "activation is None; expected one of linear, tanh, relu, sigmoid"),
    ({"activation": 3}, ValueError, "activation is 3; expected one of linear, tanh, relu, sigmoid"),
    ({"activation": ["tanh"]}, ValueError, r"activation is \['tanh'\]; expected one of"),
    ({"native": "yes"}, ValueError, 'native is \'yes\'; expected "auto", "require" or False'),
    ({"native": None}, ValueError, 'native is None; expected "auto", "require" or False'),
    ({"native": True}, ValueError, 'native is True; expected "auto", "require" or False'),
    *(
        ({"truncate_gradient": k}, ValueError, rf"truncate_gradient is {k}; expected a positive integer .*None")
        for k in (0, -1, 1.0, True, float("nan"))
    ),
    ({"truncate_gradient": "2"}, ValueError, "truncate_gradient is '2'; expected a positive integer"),
    *(
        ({"clip_state_gradient": c}, ValueError, rf"clip_state_gradient is {c}; expected a positive number .*None")
        for c in (0, -1.0, True, float("nan"), float("inf"))
    ),
    ({"clip_state_gradient": "1"}, ValueError, "clip_state_gradient is '1'; expected a positive number"),
    ({"x": None}, TypeError, "x is NoneType; expected an array"),
    ({"kernel": None}, TypeError, "kernel is NoneType; expected an array"),
    ({"recurrent_kernel": None}, TypeError, "recurrent_kernel is NoneType; expected an array"),
    ({"x": "sequence"}, (TypeError, ValueError), "x has .*; expected"),
]


@pytest.mark.parametrize("native", ["auto", False])
@pytest.mark.parametrize(("given", "error", "sentence"), WRONG, ids=[" and ".join(w[0]) for w in WRONG])
def test_what_is_wrong_gets_a_sentence(
    given: dict[str, Any], error: Any, sentence: str, native: Any, arrays: dict[str, Array]
) -> None:
    for _ in range(2):  # the first call may leave nothing behind that changes the second
        with pytest.raises(error, match=sentence) as caught:
            elman.simple_rnn(**{**arrays, "native": native, **given})
        assert str(caught.value).endswith((".", "?"))


STATE = zeros(B, H)
WRONG_WITH_GATES: list[tuple[str, dict[str, Any], Any, str]] = [
    (
        "lstm",
        {"kernel": zeros(F, H)},
        ValueError,
        r"kernel has shape \(3, 5\); expected \(features, 4 \* units\) = \(3, 20\)",
    ),
    ("lstm", {"recurrent_kernel": zeros(H, H)}, ValueError, r"expected \(units, 4 \* units\) = \(5, 20\)"),
    ("lstm", {"bias": zeros(H)}, ValueError, r"bias has shape \(5,\); expected \(4 \* units,\) = \(20,\)"),
    ("lstm", {"initial_state": STATE}, TypeError, r"initial_state is ndarray; expected a pair \(h, c\) of arrays"),
    ("lstm", {"initial_state": (STATE,)}, TypeError, r"initial_state is tuple; expected a pair \(h, c\) of arrays"),
    ("lstm", {"initial_state": (None, STATE)}, TypeError, r"initial_state is a pair with None in it; expected a pair"),
    (
        "lstm",
        {"initial_state": (STATE, zeros(B, 1))},
        ValueError,
        r"initial_state has shape \(4, 1\); expected \(batch",
    ),
    ("lstm", {"initial_state": (STATE, zeros(B, H, dtype="f8"))}, TypeError, "initial_state has dtype float64"),
    (
        "lstm",
        {"recurrent_activation": "tan"},
        ValueError,
        "recurrent_activation is 'tan'; expected one of .*Did you mean",
    ),
    (
        "gru",
        {"kernel": zeros(F, H)},
        ValueError,
        r"kernel has shape \(3, 5\); expected \(features, 3 \* units\) = \(3, 15\)",
    ),
    ("gru", {"bias": zeros(3 * H)}, ValueError, r"bias has shape \(15,\); expected \(2, 3 \* units\) = \(2, 15\)"),
    ("gru", {"reset_after": False}, ValueError, r"bias has shape \(2, 15\); expected \(3 \* units,\) = \(15,\)"),
    ("gru", {"reset_after": None}, TypeError, "reset_after is None; expected True or False"),
    ("gru", {"recurrent_activation": None}, ValueError, "recurrent_activation is None; expected one of linear, tanh"),
]


@pytest.mark.parametrize(("cell", "given", "error", "sentence"), WRONG_WITH_GATES)
def test_what_is_wrong_with_gates_gets_a_sentence(cell: str, given: dict[str, Any], error: Any, sentence: str) -> None:
    case = cases.make((B, T, F, H), {"cell": cell})
    arrays = dict(zip(("x", "kernel", "recurrent_kernel", "bias"), case.operands, strict=False))
    for _ in range(2):
        with pytest.raises(error, match=sentence):
            getattr(elman, cell)(**{**arrays, **given})


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_callable_for_the_gates_runs_in_plain_operations(cell: str) -> None:
    function, case = getattr(elman, cell), cases.make((B, T, F, H), {"cell": cell, "recurrent_activation": "tanh"})
    expected, _ = function(*case.operands[:4], recurrent_activation="tanh", native=False)
    y, _ = function(*case.operands[:4], recurrent_activation=np.tanh)
    assert y.tobytes() == expected.tobytes()
    with pytest.raises(elman.NativeUnavailable, match="activation tanh has no native kernel"):
        function(*case.operands[:4], recurrent_activation=np.tanh, native="require")


@pytest.mark.parametrize("dtype", ["int64", "int32", "bool", "complex64", "object", "datetime64[s]"])
@pytest.mark.parametrize("native", ["auto", False])
def test_what_is_no_floating_dtype_is_refused(dtype: str, native: Any, arrays: dict[str, Array]) -> None:
    given = {name: np.zeros(array.shape, dtype) for name, array in arrays.items()}
    with pytest.raises(TypeError, match=f"x has dtype {dtype}".replace("[", r"\[")):
        elman.simple_rnn(**given, native=native)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ({"truncate_gradient": 1}, {"truncate_gradient": True}),
        ({"truncate_gradient": 1}, {"truncate_gradient": 1.0}),
        ({"clip_state_gradient": 1.0}, {"clip_state_gradient": True}),
        ({"native": False}, {"native": 0}),
    ],
)
def test_what_equals_a_right_value_is_no_better_for_it(
    right: dict[str, Any], wrong: dict[str, Any], arrays: dict[str, Array]
) -> None:
    elman.simple_rnn(**arrays, **right)
    with pytest.raises(ValueError, match="expected"):
        elman.simple_rnn(**arrays, **wrong)


def test_numbers_of_numpy_are_numbers(arrays: dict[str, Array]) -> None:
    expected = elman.simple_rnn(**arrays)
    given = {"truncate_gradient": np.int64(2), "clip_state_gradient": np.float32(0.5), "go_backwards": np.bool_(False)}
    assert_same(elman.simple_rnn(**arrays, **given), expected)
    assert_same(elman.simple_rnn(**arrays, native=np.bool_(False)), elman.simple_rnn(**arrays, native=False))


def test_lists_alone_are_of_no_framework(arrays: dict[str, Array]) -> None:
    with pytest.raises(TypeError, match=r"x is list; expected an array of .* Pass numpy.asarray\(x\)"):
        elman.simple_rnn(*(array.tolist() for array in arrays.values()))


def test_two_frameworks_are_one_too_many(arrays: dict[str, Array]) -> None:
    """The module of its type tells the framework of an array, without an import."""
    one, other = (type("Array", (), {"__module__": name})() for name in ("tensorflow.python", "jaxlib.xla_extension"))
    sentence = "x is an array of tensorflow and kernel of jax; expected arrays of one framework"
    with pytest.raises(TypeError, match=sentence):
        elman.simple_rnn(one, other, arrays["recurrent_kernel"])


@pytest.mark.parametrize("given", [{"activation": np.tanh}, {"dtype": "float16"}])
def test_require_says_why_it_cannot(given: dict[str, Any], arrays: dict[str, Array]) -> None:
    if "dtype" in given:
        arrays, given = {name: array.astype(given["dtype"]) for name, array in arrays.items()}, {}
    with pytest.raises(elman.NativeUnavailable, match=r"required and cannot run: .* has no native kernel; there are"):
        elman.simple_rnn(**arrays, **given, native="require")


@pytest.mark.parametrize("function", [functional.simple_rnn, functional.lstm, functional.gru])
def test_every_argument_is_documented(function: Any) -> None:
    signature = inspect.signature(function)
    text = inspect.getdoc(function)
    for name in signature.parameters:
        assert f"\n    {name}: " in text, name
    keywords = [n for n, p in signature.parameters.items() if p.kind is p.KEYWORD_ONLY]
    assert list(itertools.islice(signature.parameters, 5)) == [
        "x",
        "kernel",
        "recurrent_kernel",
        "bias",
        "initial_state",
    ]
    assert keywords == list(signature.parameters)[5:]


@pytest.mark.parametrize("name", ["go_backwards", "zero_output_for_mask"])
@pytest.mark.parametrize("value", ["False", 1.0, None, np.array([1, 2])])
def test_a_switch_is_true_or_false(name: str, value: Any, arrays: dict[str, Array]) -> None:
    with pytest.raises(TypeError, match=f"{name} is .*; expected True or False"):
        elman.simple_rnn(**arrays, **{name: value})


def test_an_array_is_no_activation(arrays: dict[str, Array]) -> None:
    with pytest.raises(ValueError, match="activation is array.*; expected one of"):
        elman.simple_rnn(**arrays, activation=np.zeros(2))


@pytest.mark.parametrize("native", ["auto", False])
def test_a_wrong_shape_and_a_wrong_dtype_are_both_named(native: Any) -> None:
    x = np.zeros((B, T, F), "float32")
    sentence = (
        f"kernel has shape ({F + 1}, {H}); expected (features, units) = ({F}, {H}). Also cast recurrent_kernel and "
        "kernel and bias to float32, the dtype of x."
    )
    with pytest.raises(ValueError, match=re.escape(sentence)):
        elman.simple_rnn(x, np.zeros((F + 1, H)), np.zeros((H, H)), np.zeros(H), native=native)


def test_a_clip_that_would_be_flushed_to_zero_is_refused(arrays: dict[str, Array]) -> None:
    with pytest.raises(ValueError, match="clip_state_gradient is 1e-320; expected a positive number"):
        elman.simple_rnn(**arrays, clip_state_gradient=1e-320)


def test_a_callable_is_not_kept(arrays: dict[str, Array]) -> None:
    def activation(z: Array) -> Array:
        return np.tanh(z)

    elman.simple_rnn(**arrays, activation=activation)
    kept = weakref.ref(activation)
    del activation
    gc.collect()
    assert kept() is None
