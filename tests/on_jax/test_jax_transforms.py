# SPDX-License-Identifier: Apache-2.0
"""What JAX may do to the recurrence: its transformations, alone and together, natively as in JAX's own operations,
and the one sentence where the native path has no answer. All in float64.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import cases
import elman
import size
from elman import _jax, route
from elman.options import Options


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        assert _jax.facts(jnp.ones(1)) == route.Facts()
        yield


CASE = cases.make((3, 5, 2, 4), {"mask": "holes", "initial_state": True}).astype(np.float64)
NAMES = ("x", "kernel", "recurrent_kernel", "bias", "initial_state", "mask")
FLOATS = NAMES[:-1]


def given(names: tuple[str, ...] = NAMES, **replaced: Any) -> dict[str, Any]:
    return {n: jnp.asarray(replaced.get(n, getattr(CASE, n))) for n in names}


def loss(native: str | bool, a: dict[str, Any], **options: Any) -> Any:
    mask = a.get("mask", CASE.mask)
    y, h = elman.simple_rnn(*(a[n] for n in FLOATS), mask=mask, native=native, **options)
    return jnp.sin(y).sum() + (h * h).sum()


def gradient(native: str | bool, a: dict[str, Any], **options: Any) -> Any:
    floats = {n: a[n] for n in FLOATS}
    return jax.grad(lambda f: loss(native, a | f, **options))(floats)


def several(name: str, n: int = 3) -> Any:
    """n different arrays in place of one, along a new leading axis."""
    array = getattr(CASE, name)
    rng = np.random.default_rng(1)
    return rng.random((n, *array.shape)) < 0.6 if name == "mask" else rng.normal(size=(n, *array.shape)) * 0.5


def assert_same(function: Callable[..., Any], *arguments: Any) -> None:
    """`function(native, *arguments)` natively, without jit and with, as in JAX's own operations."""
    plain = jax.tree.leaves(jax.jit(functools.partial(function, False))(*arguments))
    natively = functools.partial(function, "require")
    for run in (natively, jax.jit(natively)):
        native = jax.tree.leaves(run(*arguments))
        assert len(native) == len(plain) > 0
        for a, b in zip(native, plain, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


# --- vmap ----------------------------------------------------------------------------------------------------------

VMAPPED = [
    ("x",),
    ("initial_state",),
    ("mask",),
    ("x", "initial_state", "mask"),
    ("kernel",),
    ("recurrent_kernel", "bias"),
    ("x", "kernel"),
]
FEW = size.by_size(VMAPPED[3::3], VMAPPED[3::3], VMAPPED)  # each operand but the weights; and x with a weight


def large(*values: Any) -> Any:
    """A case of the large size."""
    return pytest.param(*values, marks=pytest.mark.large)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("function", "names"),
    [
        pytest.param(function, names, id=f"{function.__name__}-{'+'.join(names)}")
        for function, chosen in ((loss, FEW), (gradient, VMAPPED))
        for names in chosen
    ],
)
def test_vmap(names: tuple[str, ...], function: Callable[..., Any]) -> None:
    in_axes = {n: 0 if n in names else None for n in NAMES}

    def run(native: str | bool, batch: Any) -> Any:
        return jax.vmap(functools.partial(function, native), in_axes=(in_axes,))(batch)

    assert_same(run, given(**{n: several(n) for n in names}))


@pytest.mark.medium
@pytest.mark.parametrize("names", FEW, ids="+".join)
def test_gradient_of_vmap(names: tuple[str, ...]) -> None:
    in_axes = {n: 0 if n in names else None for n in NAMES}

    def run(native: str | bool, batch: Any) -> Any:
        def total(floats: Any) -> Any:
            return jnp.sin(jax.vmap(functools.partial(loss, native), in_axes=(in_axes,))(batch | floats)).sum()

        return jax.grad(total)({n: batch[n] for n in FLOATS})

    assert_same(run, given(**{n: several(n) for n in names}))


@pytest.mark.medium
@pytest.mark.parametrize("name", ["x", "kernel"])
@pytest.mark.parametrize("function", [large(loss), gradient])
def test_nested_vmap_over_other_axes(name: str, function: Callable[..., Any]) -> None:
    outer, inner = ({n: axis if n == name else None for n in NAMES} for axis in (-1, 0))
    array = np.moveaxis(several(name, 6).reshape(2, 3, *getattr(CASE, name).shape), 0, -1)

    def run(native: str | bool, batch: Any) -> Any:
        return jax.vmap(jax.vmap(functools.partial(function, native), in_axes=(inner,)), in_axes=(outer,))(batch)

    assert_same(run, given(**{name: array}))


@pytest.mark.medium
@pytest.mark.parametrize("names", [("x", "kernel"), ("kernel", "x"), large(("kernel", "bias"))], ids="+".join)
def test_gradient_of_nested_vmap(names: tuple[str, str]) -> None:
    outer, inner = ({n: 0 if n == name else None for n in NAMES} for name in names)

    def run(native: str | bool, batch: Any) -> Any:
        def total(floats: Any) -> Any:
            one = jax.vmap(functools.partial(loss, native), in_axes=(inner,))
            return jnp.sin(jax.vmap(one, in_axes=(outer,))(batch | floats)).sum()

        return jax.grad(total)({n: batch[n] for n in FLOATS})

    assert_same(run, given(**{n: several(n, i + 2) for i, n in enumerate(names)}))


@pytest.mark.medium
def test_vmap_over_lengths_and_dropout_masks() -> None:
    rng = np.random.default_rng(2)
    weights = tuple(jnp.asarray(a) for a in (CASE.kernel, CASE.recurrent_kernel, CASE.bias))
    lengths, dropouts = rng.integers(0, 6, (4, 3)), (rng.random((4, 1, 3, 2)), rng.random((1, 3, 4, 4)))

    def run(native: str | bool, *arguments: Any) -> Any:
        def total(weights: Any, lengths: Any, dropouts: Any) -> Any:
            recur = _jax.recurrence if native else _jax.plain
            return recur(Options(), jnp.asarray(CASE.x), *weights, (), lengths, *dropouts)[0].sum()

        return jax.vmap(jax.value_and_grad(total), in_axes=(None, 0, (0, -1)))(*arguments)

    assert_same(run, weights, jnp.asarray(lengths), tuple(map(jnp.asarray, dropouts)))


def test_vmap_without_weights_is_one_native_call_each_way() -> None:
    in_axes = {n: 0 if n in ("x", "mask") else None for n in NAMES}

    def total(a: Any) -> Any:
        return jax.vmap(functools.partial(loss, "require"), in_axes=(in_axes,))(a).sum()

    batch = given(x=several("x"), mask=several("mask"))
    text = jax.jit(jax.grad(total, allow_int=True)).lower(batch).compile().as_text()
    assert re.findall(r'custom_call_target="(elman\w+)"', text) == [_jax.FORWARD, _jax.BACKWARD]
    assert " while(" not in text


@pytest.mark.medium
@pytest.mark.parametrize("name", ["x", "recurrent_kernel"])
def test_jacobian(name: str) -> None:
    def run(native: str | bool, a: Any) -> Any:
        def outputs(value: Any) -> Any:
            b = a | {name: value}
            return elman.simple_rnn(*(b[n] for n in FLOATS), mask=b["mask"], native=native)

        return jax.jacrev(outputs)(a[name])

    assert_same(run, given())


# --- other transformations -----------------------------------------------------------------------------------------


def scanned(native: str | bool, a: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        y, h = elman.simple_rnn(x, a["kernel"], a["recurrent_kernel"], a["bias"], h, native=native)
        return h, y

    h, y = jax.lax.scan(step, a["initial_state"], jnp.stack([a["x"], 2 * a["x"]]))
    return jnp.sin(y).sum() + h.sum()


def conditional(native: str | bool, a: Any) -> Any:
    return jax.lax.cond(a["x"].sum() > 0, lambda: loss(native, a), lambda: 2 * loss(native, a))


def looped(native: str | bool, a: Any) -> Any:
    def again(_: Any, h: Any) -> Any:
        return elman.simple_rnn(a["x"], a["kernel"], a["recurrent_kernel"], a["bias"], h, native=native)[1]

    return jax.lax.fori_loop(0, 3, again, a["initial_state"]).sum()


def rematerialized(native: str | bool, a: Any) -> Any:
    return jax.checkpoint(functools.partial(loss, native))(a)


def twice_jitted(native: str | bool, a: Any) -> Any:
    return jax.jit(jax.jit(functools.partial(loss, native)))(a)


AROUND = [scanned, conditional, looped, rematerialized, twice_jitted]


@pytest.mark.medium
@pytest.mark.parametrize("around", AROUND)
def test_gradient_inside_other_transformations(around: Callable[..., Any]) -> None:
    assert_same(lambda native, a: jax.value_and_grad(functools.partial(around, native))(a), given(FLOATS))


@pytest.mark.medium
@pytest.mark.parametrize("around", [*AROUND[:3], *map(large, AROUND[3:])])
def test_vmap_of_gradient_inside_other_transformations(around: Callable[..., Any]) -> None:
    in_axes = {n: 0 if n == "x" else None for n in FLOATS}

    def run(native: str | bool, batch: Any) -> Any:
        return jax.vmap(jax.value_and_grad(functools.partial(around, native)), in_axes=(in_axes,))(batch)

    assert_same(run, given(FLOATS, x=several("x")))


def without_jit(function: Callable[..., Any], a: Any) -> Any:
    with jax.disable_jit():
        return function(a)


def compiled_ahead(function: Callable[..., Any], a: Any) -> Any:
    return jax.jit(function).lower(jax.eval_shape(lambda a: a, a)).compile()(a)


def mapped_over_devices(function: Callable[..., Any], a: Any) -> Any:
    return jax.tree.map(lambda r: r[0], jax.pmap(function)(jax.tree.map(lambda v: v[None], a)))


def checked(function: Callable[..., Any], a: Any) -> Any:
    with jax.checking_leaks():
        return jax.jit(function)(a)


@pytest.mark.medium
@pytest.mark.parametrize("way", [without_jit, compiled_ahead, mapped_over_devices, checked])
def test_other_ways_to_run(way: Callable[..., Any]) -> None:
    want = jax.jit(functools.partial(gradient, False))(given())
    got = way(functools.partial(gradient, "require"), given())
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-12), got, want)


def test_plain_is_exported_with_an_unknown_batch() -> None:
    (batch,) = jax.export.symbolic_shape("batch")
    weights = tuple(jnp.asarray(a) for a in (CASE.kernel, CASE.recurrent_kernel))
    run = jax.jit(lambda x: elman.simple_rnn(x, *weights, native=False))
    exported = jax.export.export(run)(jax.ShapeDtypeStruct((batch, *CASE.x.shape[1:]), CASE.x.dtype))
    y, h = jax.export.deserialize(exported.serialize()).call(CASE.x)
    np.testing.assert_allclose(y, run(CASE.x)[0], rtol=1e-12)
    np.testing.assert_allclose(h, run(CASE.x)[1], rtol=1e-12)


@pytest.mark.parametrize("native", ["require", False])
def test_donated_buffers(native: str | bool) -> None:
    names = ("x", "initial_state", "kernel", "recurrent_kernel", "bias")

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def run(x: Any, h: Any, *weights: Any) -> Any:
        return elman.simple_rnn(x, *weights, h, native=native)

    a = given(x=np.random.default_rng(3).normal(size=(3, 5, 4)), kernel=CASE.recurrent_kernel)  # x has the size of y
    want = elman.simple_rnn(*(a[n] for n in FLOATS), native=False)
    y, h = run(*(a[n] for n in names))
    assert a["x"].is_deleted()
    np.testing.assert_allclose(y, want[0], rtol=1e-12)
    np.testing.assert_allclose(h, want[1], rtol=1e-12)


@pytest.mark.parametrize("mask", [CASE.mask, np.array([5, 0, 2])], ids=["mask", "lengths"])
def test_masks_lengths_and_dropout_masks_have_no_gradient(mask: Any) -> None:
    weights = tuple(jnp.asarray(a) for a in (CASE.kernel, CASE.recurrent_kernel, CASE.bias))
    dropouts = [jnp.full((1, 3, 2), 0.5), jnp.full((1, 3, 4), 0.5)]

    def total(mask: Any, dropouts: Any, weights: Any) -> Any:
        return _jax.recurrence(Options(), jnp.asarray(CASE.x), *weights, (), mask, *dropouts)[0].sum()

    dmask, ddropouts = jax.grad(total, argnums=(0, 1), allow_int=True)(jnp.asarray(mask), dropouts, weights)
    assert dmask.dtype == jax.dtypes.float0
    assert not any(d.any() for d in ddropouts)
    run = jax.jit(jax.grad(total, argnums=(0, 1, 2), allow_int=True))
    _, ddropouts, dweights = run(jnp.asarray(mask), dropouts, weights)
    assert not any(d.any() for d in ddropouts)
    assert all(d.any() for d in dweights)


@pytest.mark.medium
def test_eight_threads_at_once() -> None:
    rng = np.random.default_rng(4)
    problems = [tuple(rng.normal(size=s) for s in ((b + 1, 6, 3), (3, 5), (5, 5))) for b in range(8)]

    def total(*a: Any) -> Any:
        return jnp.sin(elman.simple_rnn(*a, native="require")[0]).sum()

    def run(problem: Any) -> Any:
        with jax.enable_x64(True):
            both = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))
            return [jax.device_get(both(*map(jnp.asarray, problem))) for _ in range(5)]

    jax.clear_caches()  # so that the threads trace and compile at once, too
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(run, problems))
    jax.tree.map(np.testing.assert_array_equal, together, [run(problem) for problem in problems])


# --- what the native path lacks ------------------------------------------------------------------------------------

Function = Callable[[Any], Any]
FORWARD_MODE: dict[str, Callable[[Function, Any], Any]] = {
    "jvp": lambda f, u: jax.jvp(f, (u,), (u,)),
    "jvp of jit": lambda f, u: jax.jvp(jax.jit(f), (u,), (u,)),
    "jacfwd": lambda f, u: jax.jacfwd(f)(u),
    "vmap of jvp": lambda f, u: jax.vmap(lambda v: jax.jvp(f, (v,), (v,)))(jnp.stack([u, u])),
    "jvp of vmap": lambda f, u: jax.jvp(jax.vmap(f), (jnp.stack([u, u]),), (jnp.stack([u, u]),)),
    "linearize": lambda f, u: jax.linearize(f, u)[1](u),
    "jvp of checkpoint": lambda f, u: jax.jvp(jax.checkpoint(f), (u,), (u,)),
    "jvp of scan": lambda f, u: jax.jvp(
        lambda v: jax.lax.scan(lambda c, _: (c + f(v), c), 0.0, None, 2)[0], (u,), (u,)
    ),
}
SECOND: dict[str, Callable[[Function, Any], Any]] = {
    "hessian": lambda f, u: jax.hessian(f)(u),
    "jacrev of jacrev": lambda f, u: jax.jacrev(jax.jacrev(f))(u),
    "grad of grad": lambda f, u: jax.grad(lambda v: jax.grad(f)(v).sum())(u),
    "grad of jit of grad": lambda f, u: jax.grad(lambda v: jax.jit(jax.grad(f))(v).sum())(u),
    "grad of vmap of grad": lambda f, u: jax.grad(lambda v: jax.vmap(jax.grad(f))(jnp.stack([v, v])).sum())(u),
    "vmap of grad of grad": lambda f, u: jax.vmap(jax.grad(lambda v: jax.grad(f)(v).sum()))(jnp.stack([u, u])),
}


@pytest.mark.medium
@pytest.mark.parametrize("name", [*FORWARD_MODE, *SECOND])
def test_forward_mode_and_second_derivatives_say_what_to_do(name: str) -> None:
    def run(native: str | bool, u: Any) -> Any:
        a = given()
        return (FORWARD_MODE | SECOND)[name](lambda v: loss(native, a | {"recurrent_kernel": v}), u)

    u = jnp.asarray(CASE.recurrent_kernel)
    assert "native=False" in _jax.ONCE
    for natively in (functools.partial(run, "require"), jax.jit(functools.partial(run, "require"))):
        with pytest.raises(NotImplementedError) as caught:
            natively(u)
        assert str(caught.value) == _jax.ONCE
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.jit(functools.partial(run, False))(u)))


@pytest.mark.medium
def test_a_gradient_on_the_way_that_does_not_count_does_no_harm() -> None:
    def run(native: str | bool, a: Any) -> Any:
        function = functools.partial(loss, native)
        value = jax.grad(lambda b: jax.value_and_grad(function)(b)[0])(a)
        scaled = jax.grad(lambda b: jax.lax.stop_gradient(jax.grad(function)(b)["kernel"]).sum() * function(b))(a)
        return value, scaled

    assert_same(run, given(FLOATS))


@pytest.mark.medium
@pytest.mark.parametrize(
    "options",
    [
        {"zero_output_for_mask": True},
        {"activation": "sigmoid", "go_backwards": True},
        {"clip_state_gradient": 1.0},
        large({}),
        large({"clip_state_gradient": 0.05}),
        large({"clip_state_gradient": 1e6}),
    ],
    ids=str,
)
def test_plain_has_a_second_derivative(options: dict[str, Any]) -> None:
    """In reverse over reverse, along a direction, against differences of the first."""
    a = given(FLOATS)
    direction = {n: jnp.asarray(np.random.default_rng(5).normal(size=v.shape)) for n, v in a.items()}
    first = jax.jit(lambda b: gradient(False, b, **options))

    @jax.jit
    @jax.grad
    def second(b: Any) -> Any:
        return sum(jnp.vdot(g, direction[n]) for n, g in gradient(False, b, **options).items())

    step = 1e-5
    ahead, behind = (first({n: v + s * direction[n] for n, v in a.items()}) for s in (step, -step))
    along = sum(jnp.vdot(ahead[n] - behind[n], direction[n]) / (2 * step) for n in FLOATS)
    got = sum(jnp.vdot(g, direction[n]) for n, g in second(a).items())
    np.testing.assert_allclose(got, along, rtol=1e-6)


@pytest.mark.medium
@pytest.mark.parametrize("options", [{"clip_state_gradient": 1.0}, {"truncate_gradient": 2}], ids=str)
def test_plain_has_a_second_derivative_where_the_gradient_is_zero(options: dict[str, Any]) -> None:
    dead = {n: jnp.zeros_like(v) for n, v in given(FLOATS).items()}
    second = jax.jit(jax.jacrev(lambda a: gradient(False, a, **options)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(second(dead)))
