# SPDX-License-Identifier: Apache-2.0
"""The JAX adapter's numbers against the reference over all options, and what is compiled to get them.

Truth is the reference in long double. The yardstick of float32 is the reference in float32, as on the instruction sets.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cases
import elman
import size
import tolerance
from elman import _jax, route

SHAPES = ((3, 4, 2, 5), (1, 1, 1, 1), (5, 7, 3, 16), (2, 2, 0, 3), (4, 3, 9, 17))
WEIGHTS = tuple(cases.OPERANDS.values())


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        assert _jax.facts(jnp.ones(1)) == route.Facts()
        yield


# --- numbers -------------------------------------------------------------------------------------------------------


def by_jax(recur: Callable[..., Any], case: cases.Case, dtype: type) -> dict[str, np.ndarray]:
    """y, the states, and the gradients of everything that has one, in one compiled function."""
    case = case.astype(dtype)
    wanted = [n for n in WEIGHTS if getattr(case, n) is not None and (n != "x" or case.choice["want_dx"])]
    given = [c for c in (case.dy, *case.dfinals) if c is not None]

    def outputs(arrays: dict[str, Any], case: cases.Case) -> Any:
        y, states = recur(case.options, *case.replace(**arrays).operands)
        return [output for output, _ in case.cotangents(y, states)], (y, states)

    @jax.jit
    def run(operands: dict[str, Any]) -> Any:
        traced = case.replace(**operands)
        _, pull_back, (y, states) = jax.vjp(
            lambda a: outputs(a, traced), {n: operands[n] for n in wanted}, has_aux=True
        )
        (gradients,) = pull_back(given)
        named = {"y": y, **dict(zip("hc", states, strict=False))}
        return named | {f"d{name}": gradient for name, gradient in gradients.items()}

    names = (*WEIGHTS, "mask", "input_dropout", "recurrent_dropout")
    return jax.tree.map(np.asarray, run({n: jnp.asarray(a) for n in names if (a := getattr(case, n)) is not None}))


@functools.cache
def problem(number: int) -> tuple[cases.Case, dict[str, np.ndarray]]:
    """A case of the covering set, with its truth."""
    (case,) = cases.grid([SHAPES[number % len(SHAPES)]], first=number)
    return case, cases.by_reference(case, np.longdouble)


def covering(step: int = 1) -> Iterator[tuple[cases.Case, dict[str, np.ndarray]]]:
    """Each case of the covering set, or one of so many."""
    return map(problem, range(0, len(cases.COVERING), step))


@pytest.mark.slow
def test_every_gradient_in_float64_over_all_options() -> None:
    for case, truth in covering(size.by_size(4, 1, 1)):
        for name, got in by_jax(_jax.recurrence, case, np.float64).items():
            tolerance.assert_float64(got, truth[name], f"{case}: {name}")


@pytest.mark.medium
def test_every_gradient_in_float32_over_all_options() -> None:
    grid = tolerance.Grid()
    for case, truth in covering():
        stock = cases.by_reference(case, np.float32)
        for name, got in by_jax(_jax.recurrence, case, np.float32).items():
            grid.check(name, got, truth[name], stock[name], case)
    grid.assert_root_mean_square()


@pytest.mark.medium
def test_plain_is_the_same_recurrence_over_all_options() -> None:
    for case, truth in covering(size.by_size(4, 4, 1)):
        for name, got in by_jax(_jax.plain, case, np.float64).items():
            tolerance.assert_float64(got, truth[name], f"{case}: {name}")


def test_norms_of_the_state_gradient() -> None:
    case = cases.make((3, 5, 2, 4), {"mask": "holes", "cotangents": "both"}).astype(np.float64)
    names, operands = ("x", "kernel", "recurrent_kernel", "bias", "mask"), (*case.operands[:4], case.mask)
    forward = _jax.Call(_jax.FORWARD, case.options, names, ("y", "final_h"))
    y, _ = _jax._forward(forward, *operands)
    backward = _jax.Call(_jax.BACKWARD, case.options, (*names, "y", "dy", "dfinal_h"), ("dx", "norms"))
    _, norms = jax.jit(functools.partial(_jax._backward, backward))(*operands, y, case.dy, case.dfinal)
    tolerance.assert_float64(np.asarray(norms), cases.by_reference(case, np.longdouble)["norms"], case)


def empty() -> Iterator[tuple[tuple[int, int, int, int], str, bool, str]]:
    """Problems with nothing along an axis. Every cell meets each shape, and in the large size each mask as well."""
    cells = cases.FACTORS["cell"]
    for shape in ((0, 3, 2, 4), (2, 0, 2, 4), (2, 3, 0, 4), (0, 0, 0, 1)):
        for i, (mask, sequences) in enumerate(itertools.product(("none", "holes", "int32 lengths"), (True, False))):
            one = cells[i % len(cells)]
            yield from ((shape, mask, sequences, cell) for cell in size.by_size((one,), (one,), cells))


@pytest.mark.medium
@pytest.mark.parametrize(("shape", "mask", "sequences", "cell"), list(empty()))
def test_nothing_of_something(shape: tuple[int, int, int, int], mask: str, sequences: bool, cell: str) -> None:
    case = cases.make(shape, {"cell": cell, "mask": mask, "initial_state": True, "return_sequences": sequences})
    truth = cases.by_reference(case, np.longdouble)
    for recur in (_jax.recurrence, _jax.plain):
        for name, got in by_jax(recur, case, np.float64).items():
            tolerance.assert_float64(got, truth[name], f"{case}: {name}")


def test_the_function_without_jit_takes_lists_and_numpy_arrays_along() -> None:
    case = cases.make((3, 5, 2, 4), {"mask": "int64 lengths", "initial_state": True}).astype(np.float64)
    y, h = elman.simple_rnn(
        case.x,
        case.kernel.tolist(),
        jnp.asarray(case.recurrent_kernel),
        case.bias,
        case.initial_state,
        lengths=case.mask,
        native="require",
    )
    assert isinstance(y, jax.Array)
    truth = cases.by_reference(case, np.longdouble)
    tolerance.assert_float64(np.asarray(y), truth["y"], case)
    tolerance.assert_float64(np.asarray(h), truth["h"], case)


def test_a_transposed_operand_is_laid_out_anew() -> None:
    case = cases.make((3, 5, 2, 4)).astype(np.float64)
    run = jax.jit(lambda x, u: elman.simple_rnn(x.swapaxes(0, 1), case.kernel, u.T, native="require")[0])
    truth = cases.by_reference(case.replace(bias=None), np.longdouble)["y"]
    tolerance.assert_float64(np.asarray(run(case.x.swapaxes(0, 1), case.recurrent_kernel.T)), truth, case)


def test_float64_becomes_float32_as_everywhere_in_jax_where_x64_is_off() -> None:
    case = cases.make((3, 5, 2, 4), {"mask": "int64 lengths"}).astype(np.float64)
    with jax.enable_x64(False):
        x = jnp.asarray(case.x)
        y, _ = elman.simple_rnn(x, case.kernel, case.recurrent_kernel, lengths=case.mask, native="require")
    assert y.dtype == jnp.float32


def test_a_callable_activation_is_asked_again_at_every_call() -> None:
    case = cases.make((3, 5, 2, 4))
    slopes = [1.0]
    run = functools.partial(elman.simple_rnn, jnp.asarray(case.x), case.kernel, case.recurrent_kernel)
    before, _ = run(activation=lambda z: z * slopes[0])
    activation = functools.partial(lambda z, slopes: z * slopes[0], slopes=slopes)
    same, _ = run(activation=activation)
    slopes[0] = 0.0
    after, _ = run(activation=activation)
    assert (before == same).all()
    assert not after.any()


# --- what is compiled ----------------------------------------------------------------------------------------------


def instructions(function: Callable[..., Any], *arguments: Any) -> list[str]:
    """What the compiled function does, an opcode each, and for a custom call its target, operands and results."""
    text = jax.jit(function).lower(*arguments).compile().as_text()
    entry = text[text.index("\nENTRY") :].partition("\n}")[0]
    found = []
    for line in entry.splitlines()[2:]:
        opcode = re.search(r"= (?:\(.*?\)|\S+) ([\w-]+)\(", line).group(1)
        named = re.search(r'custom_call_target="(\w+)".*operands = "([^"]*)".*results = "([^"]*)"', line)
        found.append(" / ".join(named.groups()) if named else opcode)
    return found


PLUMBING = {"parameter", "get-tuple-element", "tuple"}


def arrays(case: cases.Case) -> tuple[Any, ...]:
    present = [a for a in (*case.operands[:4], *case.initial_states, case.mask) if a is not None]
    return tuple(jnp.asarray(a) for a in present)


@pytest.mark.parametrize("lengths", [np.int32, np.int64])
def test_nothing_but_the_native_call_is_compiled(lengths: type) -> None:
    case = cases.make((3, 5, 2, 4), {"initial_state": True, "mask": "int32 lengths"})
    names = "x kernel recurrent_kernel bias initial_h lengths"
    given = (*arrays(case)[:-1], jnp.asarray(case.mask.astype(lengths)))

    def forward(*a: Any) -> Any:
        return elman.simple_rnn(*a[:5], lengths=a[5], go_backwards=True, native="require")

    def backward(dy: Any, *a: Any) -> Any:
        return jax.vjp(lambda *w: forward(*w, a[5])[0], *a[:5])[1](dy)

    found = instructions(forward, *given)
    assert set(found) - PLUMBING == {f"elman_jax_forward / {names} / y final_h"}
    found = instructions(backward, jnp.asarray(case.dy), *given)
    calls = [i for i in found if i not in PLUMBING]
    assert calls == [
        f"elman_jax_forward / {names} / y final_h",
        f"elman_jax_backward / {names} y dy / dx dkernel drecurrent_kernel dbias dinitial_h",
    ]


@pytest.mark.parametrize("wanted", [("x",), ("kernel",), ("recurrent_kernel", "bias"), ("initial_h",)])
def test_a_gradient_that_nobody_asks_for_is_not_computed(wanted: tuple[str, ...]) -> None:
    case = cases.make((3, 5, 2, 4), {"initial_state": True})
    names = ("x", "kernel", "recurrent_kernel", "bias", "initial_h")

    def loss(moving: dict[str, Any], still: dict[str, Any]) -> Any:
        return elman.simple_rnn(*({**moving, **still}[n] for n in names), native="require")[1].sum()

    given = dict(zip(names, arrays(case), strict=True))
    still = {n: a for n, a in given.items() if n not in wanted}
    found = instructions(jax.grad(loss), {n: given[n] for n in wanted}, still)
    results = " ".join(f"d{n}" for n in wanted)
    assert f"elman_jax_backward / {' '.join(names)} y dfinal_h / {results}" in found


def test_the_tape_is_kept_only_for_a_backward() -> None:
    case = cases.make((3, 5, 2, 4), {"return_sequences": False})

    def forward(*a: Any) -> Any:
        return _jax.recurrence(case.options, *a, (), None, None, None)[0]

    assert "elman_jax_forward / x kernel recurrent_kernel bias / y final_h" in instructions(forward, *arrays(case))
    found = instructions(jax.grad(lambda *a: forward(*a).sum()), *arrays(case))
    assert "elman_jax_forward / x kernel recurrent_kernel bias / y final_h tape" in found
    assert "elman_jax_backward / x kernel recurrent_kernel bias y tape dy / dx" in found


def test_options_reach_the_call_exactly() -> None:
    case = cases.make((3, 5, 2, 4))

    def run(*a: Any) -> Any:
        return elman.simple_rnn(*a, clip_state_gradient=1 / 3, truncate_gradient=3, native="require")[0]

    text = jax.jit(run).lower(*arrays(case.astype(np.float32))).as_text()
    assert float(re.search(r"clip_state_gradient = (\S+) : f64", text).group(1)) == 1 / 3
    assert "truncate_gradient = 3 : i64" in text


@pytest.mark.medium
@pytest.mark.parametrize("native", ["auto", False])
def test_what_a_masked_step_holds_reaches_no_gradient(native: Any) -> None:
    x = jnp.ones((2, 3, 4), "float32").at[0, 2].set(jnp.nan)
    weights = (jnp.full((4, 5), 0.1, "float32"), jnp.eye(5, dtype="float32"), jnp.zeros(5, "float32"))

    def loss(x: Any, *weights: Any) -> Any:
        y, h = elman.simple_rnn(x, *weights, lengths=jnp.array([2, 3]), native=native)
        return y.sum() + h.sum()

    assert all(jnp.isfinite(g).all() for g in jax.grad(loss, argnums=(0, 1, 2, 3))(x, *weights))


@pytest.mark.parametrize("native", ["auto", False])
@pytest.mark.parametrize("arriving", [1e20, 2e38])
def test_a_huge_gradient_is_clipped(arriving: float, native: Any) -> None:
    x, identity = jnp.zeros((1, 3, 2), "float32"), jnp.eye(2, dtype="float32")

    def state(h: Any) -> Any:
        options = {"activation": "linear", "clip_state_gradient": 1.0, "native": native}
        return elman.simple_rnn(x, identity, identity, None, h, **options)[1]

    (gradient,) = jax.vjp(state, jnp.zeros((1, 2), "float32"))[1](jnp.full((1, 2), arriving, "float32"))
    np.testing.assert_allclose(gradient, np.sqrt(0.5), rtol=1e-6)


@pytest.mark.parametrize("native", ["auto", False])
def test_vmap_over_nothing(native: Any) -> None:
    kernel, recurrent_kernel = jnp.ones((4, 5), "float32"), jnp.ones((5, 5), "float32")
    call = jax.vmap(lambda v: elman.simple_rnn(v, kernel, recurrent_kernel, native=native)[0])
    assert call(jnp.ones((0, 2, 3, 4), "float32")).shape == (0, 2, 3, 5)


def test_lengths_out_of_range_are_told_in_plain_operations() -> None:
    x, kernel, recurrent_kernel = (jnp.ones(s, "float32") for s in ((2, 3, 4), (4, 5), (5, 5)))
    with pytest.raises(ValueError, match=r"lengths\[1\] is 9; expected 0 to 3"):
        elman.simple_rnn(x, kernel, recurrent_kernel, lengths=jnp.array([3, 9]), native=False)


@pytest.mark.parametrize("native", ["auto", False])
def test_a_length_that_32_bits_cannot_hold(native: Any) -> None:
    x, kernel, recurrent_kernel = (jnp.ones(s, "float32") for s in ((2, 3, 4), (4, 5), (5, 5)))
    with (
        jax.enable_x64(False),
        pytest.raises(ValueError, match="from 3 to 4294967297; expected integers that fit int32"),
    ):
        elman.simple_rnn(x, kernel, recurrent_kernel, lengths=np.array([3, 2**32 + 1]), native=native)


def test_a_wrong_length_in_a_jit_of_plain_operations_makes_its_row_nan() -> None:
    case = cases.make((4, 3, 2, 5), {"cell": "lstm"}).astype(np.float64)
    arrays = [jnp.asarray(a) for a in (case.x, case.kernel, case.recurrent_kernel)]
    run = jax.jit(lambda lengths: elman.lstm(*arrays, lengths=lengths, native=False))
    y, states = run(jnp.array([3, 4, 0, -1]))
    expected, _ = elman.lstm(*arrays, lengths=jnp.array([3, 0, 0, 0]))
    np.testing.assert_array_equal(jnp.isnan(y).all((1, 2)), [False, True, False, True])
    np.testing.assert_allclose(y[::2], expected[::2], rtol=1e-12)
    for state in states:
        np.testing.assert_array_equal(jnp.isnan(state).all(1), [False, True, False, True])


# --- eager calls off the native path -------------------------------------------------------------------------------


EAGER: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "call": lambda f: f,
    "grad": lambda f: jax.grad(lambda *arrays: f(*arrays).sum(), (0, 1, 2)),
    "vmap": lambda f: lambda x, *weights: jax.vmap(lambda one: f(one, *weights))(x[None])[0],
}


@pytest.mark.parametrize("options", [{"native": False}, {"activation": "new"}, {"activation": "new", "mask": True}])
@pytest.mark.parametrize("way", EAGER)
def test_eager_calls_compile_once(way: str, options: dict[str, Any], compiled: list[str]) -> None:
    case = cases.make((2, 4, 3, 5), {"cell": "gru", "mask": "holes"}).astype(np.float64)
    arrays = [jnp.asarray(a) for a in (case.x, case.kernel, case.recurrent_kernel)]

    def run(x: Any, *weights: Any) -> Any:
        chosen = dict(options)
        if "activation" in chosen:
            chosen["activation"] = functools.partial(jnp.sin)  # another function in each call
        if "mask" in chosen:
            chosen["mask"] = case.mask
        return elman.gru(x, *weights, reset_after=False, **chosen)[0]

    results = [EAGER[way](run)(*arrays)]
    expected = jax.jit(EAGER[way](run))(*arrays)
    compiled.clear()
    results.append(EAGER[way](run)(*arrays))
    assert not compiled
    for result in results:
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12), result, expected)


@pytest.fixture
def compiled() -> Iterator[list[str]]:
    """Grows with each program that XLA compiles."""
    programs: list[str] = []

    def listen(event: str, seconds: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            programs.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield programs
    jax.monitoring.unregister_event_duration_listener(listen)
