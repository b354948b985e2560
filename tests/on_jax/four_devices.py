# SPDX-License-Identifier: Apache-2.0
"""The recurrence over four devices: the batch stays where it is, and gradients of weights are summed once.

No test module by its name: it needs a process whose JAX sees four CPU devices, which `test_jax_devices.py` starts.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import cases
import elman
from elman import _jax, route

jax.config.update("jax_enable_x64", True)
CASE = cases.make((8, 5, 4, 4), {"mask": "holes", "initial_state": True}).astype(np.float64)
NAMES = ("x", "kernel", "recurrent_kernel", "bias", "initial_state")
SPREAD = {"x": P("batch"), "initial_state": P("batch"), "mask": P("batch")}
MOVES = ("all-gather", "all-to-all", "collective-permute", "dynamic-slice")


@pytest.fixture(params=[AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def mesh(request: pytest.FixtureRequest) -> Any:
    return jax.make_mesh((4,), ("batch",), axis_types=(request.param,))


def placed(mesh: Any, specs: dict[str, P] = SPREAD) -> dict[str, Any]:
    names = (*NAMES, "mask")
    return {n: jax.device_put(getattr(CASE, n), NamedSharding(mesh, specs.get(n, P()))) for n in names}


def run(native: str | bool, a: dict[str, Any], **options: Any) -> Any:
    return elman.simple_rnn(*(a[n] for n in NAMES), mask=a["mask"], native=native, **options)


def loss(native: str | bool, a: dict[str, Any], **options: Any) -> Any:
    y, h = run(native, a, **options)
    return jnp.sin(y).sum() + (h * h).sum()


def gradient(native: str | bool, a: dict[str, Any], **options: Any) -> Any:
    return jax.grad(lambda floats: loss(native, a | floats, **options))({n: a[n] for n in NAMES})


@functools.cache
def truth(function: Callable[..., Any]) -> Any:
    """On one device, in JAX's own operations."""
    return jax.jit(functools.partial(function, False))({n: jnp.asarray(getattr(CASE, n)) for n in (*NAMES, "mask")})


def assert_close(got: Any, want: Any) -> None:
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-12), got, want)


def ran(function: Callable[..., Any], a: dict[str, Any]) -> tuple[Any, str]:
    """The results and the text of the compiled function, which moves no batch between devices."""
    program = jax.jit(function).lower(a).compile()
    text = program.as_text()
    assert not [move for move in MOVES if f" {move}" in text]
    return program(a), text


def large(*values: Any, **options: Any) -> Any:
    """A case of the large size."""
    return pytest.param(*values, marks=pytest.mark.large, **options)


def test_there_are_four_devices() -> None:
    assert jax.device_count() == 4


def test_the_forward_keeps_the_batch_where_it_is(mesh: Any) -> None:
    function, a = functools.partial(run, "require"), placed(mesh)
    (y, h), text = ran(function, a)
    assert_close((y, h), truth(run))
    assert [o.sharding.spec[0] for o in (y, h)] == ["batch", "batch"]
    assert re.findall(r'custom_call_target="(\w+)"', text) == [_jax.FORWARD]
    assert "all-reduce" not in text


def test_the_backward_sums_gradients_of_weights_over_devices(mesh: Any) -> None:
    function, a = functools.partial(gradient, "require"), placed(mesh)
    gradients, text = ran(function, a)
    assert_close(gradients, truth(gradient))
    spread = {n: "batch" in g.sharding.spec for n, g in gradients.items()}
    assert spread == {n: n in SPREAD for n in NAMES}
    assert sorted(re.findall(r'custom_call_target="(elman\w+)"', text)) == [_jax.BACKWARD, _jax.FORWARD]
    assert len(re.findall(r" all-reduce\(", text)) == 1


def test_the_last_output_alone(mesh: Any) -> None:
    a, options = placed(mesh), CASE.options._replace(return_sequences=False)

    def function(recur: Callable[..., Any], a: dict[str, Any]) -> Any:
        def total(kernel: Any) -> Any:
            y, _ = recur(options, a["x"], kernel, a["recurrent_kernel"], None, (), a["mask"], None, None)
            return jnp.sin(y).sum()

        return jax.grad(total)(a["kernel"])

    assert _jax.facts(a["x"]) == route.Facts()
    native, plain = (functools.partial(function, recur) for recur in (_jax.recurrence, _jax.plain))
    assert_close(ran(native, a)[0], jax.jit(plain)(a))


def test_without_jit() -> None:
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
    assert_close(run("require", placed(mesh)), truth(run))
    assert_close(gradient("require", placed(mesh)), truth(gradient))


def test_in_the_context_of_the_mesh(mesh: Any) -> None:
    with jax.set_mesh(mesh):
        for native in ("require", False):
            assert_close(gradient(native, placed(mesh)), truth(gradient))
            assert_close(jax.jit(functools.partial(gradient, native))(placed(mesh)), truth(gradient))


@pytest.mark.parametrize(
    "specs",
    [
        large({}, id="nothing"),
        pytest.param({"x": P(None, None, "batch")}, id="features"),
        large({"initial_state": P("batch")}, id="state"),
        pytest.param({"kernel": P(None, "batch"), "recurrent_kernel": P("batch")}, id="weights"),
        pytest.param({**SPREAD, "recurrent_kernel": P("batch"), "bias": P("batch")}, id="all"),
    ],
)
def test_anything_else_that_is_spread_is_gathered(specs: dict[str, P]) -> None:
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
    assert_close(jax.jit(functools.partial(gradient, "require"))(placed(mesh, specs)), truth(gradient))


def test_a_batch_over_two_axes_of_a_mesh_and_weights_over_one() -> None:
    mesh = jax.make_mesh((2, 2), ("batch", "model"), axis_types=(AxisType.Auto,) * 2)
    both = {n: P(("batch", "model")) for n in SPREAD}
    function = functools.partial(gradient, "require")
    for specs in (both, SPREAD):
        assert_close(ran(function, placed(mesh, specs))[0], truth(gradient))
    weights = {**SPREAD, "kernel": P(None, "model"), "recurrent_kernel": P("model")}
    assert_close(jax.jit(function)(placed(mesh, weights)), truth(gradient))


def test_an_array_on_another_device_than_the_first() -> None:
    x = jax.device_put(CASE.x, jax.devices()[2])
    y, _ = elman.simple_rnn(x, CASE.kernel, CASE.recurrent_kernel, native="require")
    assert y.devices() == {jax.devices()[2]}


@pytest.mark.parametrize("wrap", [large(lambda f: f, id="bare"), pytest.param(jax.checkpoint, id="checkpoint")])
def test_inside_a_scan(mesh: Any, wrap: Callable[..., Any]) -> None:
    def total(native: str | bool, a: Any) -> Any:
        def step(total: Any, scale: Any) -> Any:
            return total + wrap(functools.partial(loss, native))(a | {"bias": a["bias"] * scale}), None

        return jax.lax.scan(step, jnp.zeros(()), jnp.array([1.0, 2.0]))[0]

    def function(native: str | bool, a: Any) -> Any:
        return jax.grad(lambda floats: total(native, a | floats))({n: a[n] for n in NAMES})

    one = {n: jnp.asarray(getattr(CASE, n)) for n in (*NAMES, "mask")}
    with jax.set_mesh(mesh):
        got = jax.jit(functools.partial(function, "require"))(placed(mesh))
    assert_close(got, jax.jit(functools.partial(function, False))(one))


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("native", ["require", large(False)])
def test_shard_map(mesh: Any, check_vma: bool, native: str | bool) -> None:
    specs = {n: SPREAD.get(n, P()) for n in (*NAMES, "mask")}
    shard_map = functools.partial(jax.shard_map, mesh=mesh, check_vma=check_vma)

    def total(floats: Any, mask: Any) -> Any:
        part = shard_map(lambda a: loss(native, a)[None], in_specs=(specs,), out_specs=P("batch"))
        return part(floats | {"mask": mask}).sum()

    def inside(a: Any) -> Any:
        gradients = gradient(native, a)
        return (
            gradients
            if check_vma
            else {n: g if n in SPREAD else jax.lax.psum(g, "batch") for n, g in gradients.items()}
        )

    a = placed(mesh)
    outside = jax.jit(jax.grad(total))({n: a[n] for n in NAMES}, a["mask"])
    assert_close(outside, truth(gradient))
    assert_close(
        jax.jit(shard_map(inside, in_specs=(specs,), out_specs={n: specs[n] for n in NAMES}))(a), truth(gradient)
    )


def test_shard_map_over_one_axis_of_two() -> None:
    mesh = jax.make_mesh((2, 2), ("batch", "model"), axis_types=(AxisType.Auto,) * 2)
    specs = {n: SPREAD.get(n, P()) for n in (*NAMES, "mask")}

    def total(floats: Any, mask: Any) -> Any:
        part = jax.shard_map(
            lambda a: loss("require", a)[None], mesh=mesh, in_specs=(specs,), out_specs=P("batch"), axis_names={"batch"}
        )
        return part(floats | {"mask": mask}).sum()

    a = placed(mesh)
    assert_close(jax.jit(jax.grad(total))({n: a[n] for n in NAMES}, a["mask"]), truth(gradient))


def several(native: str | bool, a: Any) -> Any:
    """Over an axis of its own before the batch: x and mask, then the weights too."""
    axes = {n: 0 if n in ("x", "mask") else None for n in a}
    weights = {n: 0 if n in ("x", "mask", "kernel") else None for n in a}
    many = a | {n: jnp.stack([a[n]] * 4) for n in ("x", "mask")}
    return (
        jax.vmap(functools.partial(gradient, native), in_axes=(axes,))(many),
        jax.vmap(functools.partial(loss, native), in_axes=(weights,))(many | {"kernel": jnp.stack([a["kernel"]] * 4)}),
        jax.grad(lambda k: jax.vmap(functools.partial(loss, native), in_axes=(axes,))(many | {"kernel": k}).sum())(
            a["kernel"]
        ),
    )


def test_vmap(mesh: Any) -> None:
    with jax.set_mesh(mesh):
        assert_close(jax.jit(functools.partial(several, "require"))(placed(mesh)), truth(several))


def test_vmap_over_the_axis_that_is_spread(mesh: Any) -> None:
    rows = {n: P("batch") for n in ("x", "mask", "initial_state")}

    def each(native: str | bool, a: Any) -> Any:
        parts = {n: a[n][:, None] for n in rows}
        axes = {n: 0 if n in rows else None for n in a}
        return jax.vmap(functools.partial(loss, native), in_axes=(axes,))(a | parts)

    with jax.set_mesh(mesh):
        assert_close(jax.jit(functools.partial(each, "require"))(placed(mesh, rows)), truth(each))


def test_with_the_older_partitioner() -> None:
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
    shardy = jax.config.jax_use_shardy_partitioner
    jax.config.update("jax_use_shardy_partitioner", False)
    try:
        assert_close(ran(functools.partial(gradient, "require"), placed(mesh))[0], truth(gradient))
    finally:
        jax.config.update("jax_use_shardy_partitioner", shardy)
