# SPDX-License-Identifier: Apache-2.0
"""The JAX adapter: one XLA custom call forward, one backward, and the rules by which JAX transforms them.

In: `jax.Array`s or tracers, checked. Out: the same, differentiable once in reverse natively, any number of
times with `plain`. No maths: products, activations and sums are the library's. From the outside in, a native
call is a jit, a rule for differentiation, one for vmap, one for sharding, and `jax.ffi.ffi_call`.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero, zero_from_primal
from jax.sharding import NamedSharding, PartitionSpec

from elman import _native, _plain, route
from elman.cells import CELLS
from elman.operands import FLAT, Operands, flat
from elman.options import Options

TRACES = True
Arrays = tuple[Array, ...]

FORWARD, BACKWARD = (
    "elman_jax_forward",
    "elman_jax_backward",
)  # symbols of the library, and the names under which XLA knows them
ONCE = (
    "elman's native recurrence has one reverse-mode derivative on JAX (jax.grad, jax.vjp, jax.jacrev); pass "
    "native=False for forward mode (jax.jvp, jax.jacfwd) and for second derivatives (jax.hessian)."
)


# --- what the route and the checks ask -----------------------------------------------------------------------------


def values(array: Array) -> np.ndarray | None:
    """The values of the array, in NumPy; `None` while JAX traces and there are none yet."""
    return None if is_traced(array) else np.asarray(array)


def is_traced(array: Array) -> bool:
    """True if JAX traces the function that made the array, so that nothing made here outlives the trace."""
    return isinstance(array, jax.core.Tracer)


def traced_environment() -> None:
    """`None`: no compiler of this framework traces the checks, as torch.compile does."""


def facts(x: Array) -> route.Facts:
    """What the route asks about a call on `x`."""
    platform = _platform(x)
    if platform != "cpu":
        return route.Facts(device=f"JAX's {platform!r} backend")
    return route.Facts(missing=_register())


def _platform(x: Array) -> str:
    """The platform of a computation on `x`. A tracer, or an array without a device of its own, runs on the default."""
    if isinstance(x, jax.core.Tracer | np.ndarray) or not x.committed:
        return jax.default_backend()
    return next(iter(x.devices())).platform


# What the native path takes from JAX beyond what everybody does; imported where it is used.
_MODULES = ("custom_batching", "experimental.custom_partitioning", "extend.core", "interpreters.mlir")


@functools.cache
def _register() -> str | None:
    """Registers the handlers with XLA, once. Returns `None`, or the reason why they cannot be registered.

    XLA's CPU backend has started by now, since `_platform` asked for it. So a handler that XLA rejects for its version
    raises here. One that is registered earlier would keep the backend from starting at all.
    """
    try:
        for module in _MODULES:
            importlib.import_module(f"jax.{module}")
        for name in (FORWARD, BACKWARD):
            _register_handler(name, jax.ffi.pycapsule(getattr(_native.library(), name)))
    except (AttributeError, ImportError, jax.errors.JaxRuntimeError) as error:
        return route.reason("symbol", framework="jax", version=jax.__version__, missing=error)
    return None


def _register_handler(name: str, handler: object) -> None:
    """Registers a handler. XLA takes a name once: after another copy of elman, whose handler serves this one too."""
    try:
        jax.ffi.register_ffi_target(name, handler, platform="cpu")
    except jax.errors.JaxRuntimeError as error:
        if "Duplicate FFI handler registration" not in str(error):
            raise


def asarray(value: object, like: Array) -> Array:
    """`value` as an array of this framework, of its own dtype as far as `jax_enable_x64` allows.

    Raises:
        ValueError: If it holds integers that the allowed dtype cannot hold.
    """
    if isinstance(value, jax.Array):
        return value
    array = np.asarray(value)
    converted = jnp.asarray(array)
    if array.dtype.kind in "iu" and array.size and converted.dtype != array.dtype:
        allowed = jnp.iinfo(converted.dtype)
        if array.min() < allowed.min or array.max() > allowed.max:
            raise ValueError(
                f"got integers from {array.min()} to {array.max()}; expected integers that fit {allowed.dtype}, as "
                "jax_enable_x64 is off. Correct them, or call jax.config.update('jax_enable_x64', True)."
            )
    return converted


def codes(mask: Array | None, resets: Array) -> Array:
    """The codes of steps of `Operands.mask`, for a mask or lengths (`None`: every step counts) and resets."""
    found = 1 + 2 * resets.astype(jnp.uint8)
    if mask is None:
        return found
    return found * (mask if mask.ndim == 2 else jnp.arange(resets.shape[1]) < mask[:, None])


def shape(array: Array) -> tuple[int, ...]:
    """The shape; always known."""
    return array.shape


def dtype(array: Array) -> str:
    """The name of the dtype, as NumPy spells it."""
    return _dtype_name(array.dtype)


@functools.cache
def _dtype_name(dtype: np.dtype) -> str:
    return dtype.name  # NumPy builds it on every call, which takes microseconds


# --- the native call -----------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=0)
def recurrence(options: Options, *operands: Any) -> tuple[Array, Arrays]:
    """The recurrence, natively: `(y, final_states)`. The route has decided for it, and so registered the handlers.

    The operands are the fields of `Operands`. The gradients of the dropout masks are zero.
    """
    given = Operands(*operands)
    named = {name: array for name, array in zip(FLAT, flat(given), strict=True) if array is not None}
    of_lengths = given.mask is not None and given.mask.ndim == 1
    names = tuple("lengths" if name == "mask" and of_lengths else name for name in named)
    call = Call(FORWARD, options, names, ("y", *_finals(options)))
    y, *final_states = _forward(call, *_vary_alike(named.values()))
    return y, tuple(final_states)


def _finals(options: Options) -> tuple[str, ...]:
    """Names of the final states."""
    return tuple(f"final_{state}" for state in CELLS[options.cell].states)


# The axes of every array: b batch, t time, f features, h units, z gates * units, g biases, c the tape's columns, d and
# e dropout masks. A gradient is called "d" and its primal's name, and has its primal's axes.
_AXES = {
    "x": "btf",
    "kernel": "fz",
    "recurrent_kernel": "hz",
    "bias": "z",
    "initial_h": "bh",
    "initial_c": "bh",
    "mask": "bt",
    "lengths": "b",
    "input_dropout": "dbf",
    "recurrent_dropout": "ebh",
    "y": "bth",
    "final_h": "bh",
    "final_c": "bh",
    "tape": "btc",
    "norms": "bt",
}
_DIFFERENTIABLE = ("x", "kernel", "recurrent_kernel", "bias", "initial_h", "initial_c")


def _primal(name: str) -> str:
    return name if name in _AXES else name.removeprefix("d")


class Call(NamedTuple):
    """Everything about a native call but its arrays: hashable, so that the rules below can be cached by it.

    Attributes:
        target: `FORWARD` or `BACKWARD`.
        options: The recurrence's options.
        operands: Names of the operands that are given, in the library's order: x, kernel and recurrent_kernel first.
        results: Names of the results that are wanted, likewise.
    """

    target: str
    options: Options
    operands: tuple[str, ...]
    results: tuple[str, ...]

    def axes(self, name: str) -> str:
        """The axes of an operand or a result, a letter each."""
        primal = _primal(name)
        if primal == "y" and not self.options.return_sequences:
            return "bh"
        if primal == "bias" and CELLS[self.options.cell].two_biases(self.options.reset_after):
            return "gz"
        return _AXES[primal]


def _ffi_call(call: Call, *arrays: Array) -> Arrays:
    options = call.options
    results = jax.ffi.ffi_call(call.target, _result_types(call, arrays))(
        *arrays,
        cell=options.cell,
        activation=options.activation,
        recurrent_activation=options.recurrent_activation,
        go_backwards=options.go_backwards,
        zero_output_for_mask=options.zero_output_for_mask,
        reset_after=options.reset_after,
        return_sequences=options.return_sequences,
        truncate_gradient=np.int64(options.truncate_gradient or 0),
        clip_state_gradient=np.float64(options.clip_state_gradient or 0),
        operands=" ".join(call.operands),
        results=" ".join(call.results),
    )
    return tuple(results)


def _result_types(call: Call, arrays: Sequence[Array]) -> list[Any]:
    """The types of the results: each made of an operand's, so that everything else that JAX keeps in a type stays."""
    named = {name: jax.typeof(array) for name, array in zip(call.operands, arrays, strict=True)}
    x, recurrent_kernel = named["x"], named["recurrent_kernel"]
    sizes = dict(zip("btf", x.shape, strict=True)) | dict(zip("hz", recurrent_kernel.shape, strict=True))
    sizes["c"] = _tape_columns(call.options, x, recurrent_kernel)

    def like_x(axes: str) -> Any:
        """A new type, with its batch spread over the mesh like the batch of x."""
        spec = PartitionSpec(x.sharding.spec[0], *[None] * (len(axes) - 1))
        return x.update(shape=tuple(sizes[a] for a in axes), sharding=NamedSharding(x.sharding.mesh, spec))

    return [named.get(_primal(name)) or like_x(call.axes(name)) for name in call.results]


def _tape_columns(options: Options, x: Any, recurrent_kernel: Any) -> int:
    return _native.spec(options, 0, 0, 0, recurrent_kernel.shape[0], dtype(x)).tape_columns


# --- differentiation: once, in reverse -----------------------------------------------------------------------------
#
# JAX's custom_vjp would do, except for its error in forward mode. Instead one linear primitive returns the tangents. It
# has a transpose, the native backward, and no evaluation: that raises the error `ONCE`.


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _forward(call: Call, *arrays: Array) -> Arrays:
    return _batchable(call)(*arrays)


@functools.partial(_forward.defjvp, symbolic_zeros=True)
def _forward_jvp(call: Call, primals: Arrays, tangents: tuple[Any, ...]) -> tuple[Arrays, tuple[Any, ...]]:
    """Runs with a tape, and passes the operands and the tape to the backward that follows."""
    made = ("y", *_finals(call.options))
    columns = _tape_columns(call.options, primals[0], primals[2])
    taped = call._replace(results=(*made, "tape") if columns else made)
    outputs = dict(zip(taped.results, _forward(taped, *primals), strict=True))
    results = tuple(outputs[name] for name in call.results)
    moving = {n: t for n, t in zip(call.operands, tangents, strict=True) if type(t) is not SymbolicZero}
    wanted = {name: tangent for name, tangent in moving.items() if name in _DIFFERENTIABLE}
    if not wanted:
        return results, tuple(zero_from_primal(result, symbolic_zeros=True) for result in results)
    kept = {name: outputs[name] for name in ("y", "tape") if name in outputs}
    backward = Call(BACKWARD, call.options, (*call.operands, *kept), tuple("d" + name for name in wanted))
    made_arrays = tuple(outputs[name] for name in made)
    dots = _bind_derivative(backward, made_arrays, *primals, *kept.values(), *wanted.values())
    if "tape" in call.results:
        dots += _bind_derivative(None, (outputs["tape"],), *wanted.values())
    return results, tuple(dots)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _backward(call: Call, *arrays: Array) -> Arrays:
    return _batchable(call)(*arrays)


@functools.partial(_backward.defjvp, symbolic_zeros=True)
def _backward_jvp(call: Call, primals: Arrays, tangents: tuple[Any, ...]) -> tuple[Arrays, tuple[Any, ...]]:
    results = _backward(call, *primals)
    return results, tuple(_bind_derivative(None, results, *(t for t in tangents if type(t) is not SymbolicZero)))


def _bind_derivative(call: Call | None, results: Arrays, *operands: Array) -> list[Array]:
    types = tuple(jax.typeof(result) for result in results)
    return _derivative().bind(*operands, call=call, levels=(), types=types)


@functools.cache
def _derivative() -> Any:
    """The linear primitive.

    In: the operands of the backward `call` up to the tape, then a tangent for each of its results. Out: tangents of y
    and the final states, of `types`. `levels` are the vmaps around it, the innermost first, and tell for each operand
    whether it has the axis. With `call=None` there is no transpose either.
    """
    from jax.extend.core import Primitive
    from jax.interpreters import ad, batching, mlir

    derivative = Primitive("elman_derivative")
    derivative.multiple_results = True
    derivative.def_abstract_eval(lambda *_, call, levels, types: types)
    derivative.def_impl(_refuse)
    mlir.register_lowering(derivative, _refuse)
    ad.primitive_jvps[derivative] = _refuse
    ad.primitive_transposes[derivative] = _transpose
    batching.primitive_batchers[derivative] = _batch_derivative
    return derivative


def _refuse(*_: object, **__: object) -> NoReturn:
    raise NotImplementedError(ONCE)


def _transpose(
    cotangents: Sequence[Any], *operands: Any, call: Call | None, levels: Sequence[Sequence[bool]], types: object
) -> list[Any]:
    """One native backward; a cotangent that is known to be zero is left out."""
    from jax.interpreters import ad

    if call is None:
        _refuse()
    kept = operands[: len(call.operands)]
    names = ("dy", *(f"d{name}" for name in _finals(call.options)))
    given = {n: c for n, c in zip(names, cotangents, strict=True) if type(c) is not ad.Zero}
    run = functools.partial(_backward, call._replace(operands=(*call.operands, *given)))
    for level in levels:
        run = _each(run, [*level[: len(kept)], *(True for _ in given)], level[len(kept) :])
    return [None] * len(kept) + list(run(*kept, *given.values()))


def _each(run: Callable[..., Sequence[Array]], operands: Sequence[bool], results: Sequence[bool]) -> Any:
    """`run` once for each element of the axis that some operands have; results that must not have it are summed."""
    mapped = jax.vmap(run, in_axes=tuple(0 if has else None for has in operands))
    return lambda *arrays: [r if has else r.sum(axis=0) for r, has in zip(mapped(*arrays), results, strict=True)]


# --- vmap: folded into the batch where one native call is enough, else one call per element ------------------------


@functools.cache
def _batchable(call: Call) -> Callable[..., Arrays]:
    from jax.custom_batching import custom_vmap

    run = custom_vmap(functools.partial(_placed, call))
    operands, results = ([call.axes(name) for name in names] for names in (call.operands, call.results))

    @run.def_vmap
    def rule(size: int, batched: Sequence[bool], *arrays: Array) -> tuple[Arrays, tuple[bool, ...]]:
        if all("b" in axes for axes in results) and _foldable(operands, batched, arrays):
            return _folded(run, operands, size, batched, arrays), (True,) * len(results)

        def one(mapped: Sequence[Array]) -> Arrays:
            rest = iter(mapped)
            return run(*(next(rest) if has else array for array, has in zip(arrays, batched, strict=True)))

        mapped = [array for array, has in zip(arrays, batched, strict=True) if has]
        return jax.lax.map(one, mapped), (True,) * len(results)

    return run


def _batch_derivative(
    operands: Arrays,
    dims: Sequence[int | None],
    *,
    call: Call | None,
    levels: tuple[tuple[bool, ...], ...],
    types: Sequence[Any],
) -> tuple[Sequence[Array], tuple[int, ...]]:
    batched = tuple(dim is not None for dim in dims)
    size = next(o.shape[dim] for o, dim in zip(operands, dims, strict=True) if dim is not None)
    arrays = [o if dim is None else jnp.moveaxis(o, dim, 0) for o, dim in zip(operands, dims, strict=True)]
    axes = [call.axes(name) for name in (*call.operands, *call.results)] if call else []

    def folded(*arrays: Array) -> list[Array]:
        wide = tuple(t.update(shape=(arrays[0].shape[0], *t.shape[1:])) for t in types)
        return _derivative().bind(*arrays, call=call, levels=(), types=wide)

    if call and not levels and _foldable(axes, batched, arrays):
        return _folded(folded, axes, size, batched, arrays), (0,) * len(types)
    stacked = tuple(_stacked(t, size) for t in types)
    outputs = _derivative().bind(*arrays, call=call, levels=(*levels, batched), types=stacked)
    return outputs, (0,) * len(types)


def _stacked(kind: Any, size: int) -> Any:
    spec = PartitionSpec(None, *kind.sharding.spec)
    return kind.update(shape=(size, *kind.shape), sharding=NamedSharding(kind.sharding.mesh, spec))


def _foldable(operands: Sequence[str], batched: Sequence[bool], arrays: Sequence[Array]) -> bool:
    """True if the mapped axis can be folded into the batch: every mapped operand has a batch axis (weights have none),
    and JAX's explicit sharding spreads no batch over devices."""
    given = list(zip(operands, batched, arrays, strict=True))
    spread = any(jax.typeof(array).sharding.spec[axes.index("b") + has] for axes, has, array in given if "b" in axes)
    return not spread and all("b" in axes for axes, has, _ in given if has)


def _folded(
    run: Callable[..., Sequence[Array]],
    operands: Sequence[str],
    size: int,
    batched: Sequence[bool],
    arrays: Sequence[Array],
) -> Arrays:
    """`run` once, over a batch that is `size` times as large. All its results have a batch, and have it first."""
    folded, batch = [], 0
    for axes, array, has in zip(operands, arrays, batched, strict=True):
        if "b" not in axes:
            folded.append(array)
            continue
        at = axes.index("b")
        wide = jnp.moveaxis(array if has else jnp.broadcast_to(array, (size, *array.shape)), 0, at)
        batch = wide.shape[at + 1]
        folded.append(wide.reshape(*wide.shape[:at], math.prod(wide.shape[at : at + 2]), *wide.shape[at + 2 :]))
    return tuple(r.reshape(size, batch, *r.shape[1:]) for r in run(*folded))


# --- devices: the batch stays where it is --------------------------------------------------------------------------


def _placed(call: Call, *arrays: Array) -> Arrays:
    """The call, with a rule for several devices if there are any. Inside `jax.shard_map` it needs none."""
    if jax.device_count() == 1 or jax.sharding.get_abstract_mesh().manual_axes:
        return _ffi_call(call, *arrays)
    return _partitioned(call)(*arrays)


@functools.cache
def _partitioned(call: Call) -> Callable[..., Arrays]:
    from jax.experimental.custom_partitioning import custom_partitioning

    operands, results = ([call.axes(name) for name in names] for names in (call.operands, call.results))

    def batch_of(types: Sequence[Any]) -> Any:
        """The mesh axes that the batch is spread over: those of the first operand that is spread."""
        specs = [t.sharding.spec[axes.index("b")] for axes, t in zip(operands, types, strict=True) if "b" in axes]
        return next((spec for spec in specs if spec is not None), None)

    def place(mesh: Any, batch: Any, arrays: Sequence[str]) -> tuple[NamedSharding, ...]:
        return tuple(
            NamedSharding(mesh, PartitionSpec(*(batch if a == "b" else None for a in axes))) for axes in arrays
        )

    def infer(mesh: Any, operand_types: Sequence[Any], result_types: object) -> tuple[NamedSharding, ...]:
        return place(mesh, batch_of(operand_types), results)

    def partition(mesh: Any, operand_types: Sequence[Any], result_types: object) -> tuple[Any, ...]:
        batch = batch_of(operand_types)

        def share(*arrays: Array) -> Arrays:
            outputs = zip(results, _ffi_call(call, *arrays), strict=True)
            return tuple(o if batch is None or "b" in axes else jax.lax.psum(o, batch) for axes, o in outputs)

        return mesh, share, place(mesh, batch, results), place(mesh, batch, operands)

    run = custom_partitioning(functools.partial(_ffi_call, call))
    run.def_partition(
        partition,
        infer_sharding_from_operands=infer,
        sharding_rule=" -> ".join(", ".join(" ".join(axes) for axes in arrays) for arrays in (operands, results)),
        need_replication_factors=tuple(a for a in dict.fromkeys("".join((*operands, *results))) if a != "b"),
    )
    return run


def _vary_alike(arrays: Iterable[Array]) -> Arrays:
    """Inside `jax.shard_map`, marks arrays that are equal on all devices (weights) as varying like the others (x), so
    that JAX sums their gradients over devices. Elsewhere it does nothing."""
    arrays = tuple(arrays)
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return arrays
    types = [jax.typeof(array) for array in arrays]
    varying = [t.vma if hasattr(t, "vma") else t.manual_axis_type.varying for t in types]  # renamed in JAX 0.10.2
    every = frozenset[str]().union(*varying)
    return tuple(jax.lax.pcast(a, tuple(every - own), to="varying") for a, own in zip(arrays, varying, strict=True))


# --- the same in JAX's own operations ------------------------------------------------------------------------------


def plain(options: Options, *operands: Any) -> tuple[Array, Arrays]:
    """The recurrence as a `jax.lax.scan`. Arguments as `recurrence`.

    The outputs and states of a row are NaN if its length is not between 0 and time: a traced call cannot raise.
    """
    if callable(options.activation) or callable(options.recurrent_activation):
        # A jit would keep the values that the callable read in its first call. Without a jit JAX compiles each scan and
        # keeps the result, so an eager call runs step by step.
        concrete = all(map(_is_concrete, jax.tree.leaves(operands)))
        return _recurrence(_EagerOperations() if concrete else _Operations(), options, *operands)
    return _jitted_scan(options, *operands)


def _is_concrete(array: Any) -> bool:
    """True if an array has values, also while `jax.grad` or `jax.vmap` transforms it, which trace no graph."""
    while isinstance(array, jax.core.Tracer):
        array = array.val if hasattr(array, "batch_dim") else getattr(array, "primal", None)
    return array is not None


def _scan(options: Options, *operands: Any) -> tuple[Array, Arrays]:
    return _recurrence(_Operations(), options, *operands)


def _recurrence(operations: _Operations, options: Options, *operands: Any) -> tuple[Array, Arrays]:
    arrays, tree = jax.tree.flatten(Operands(*operands))
    given = jax.tree.unflatten(tree, _vary_alike(arrays))
    y, states = _plain.recurrence(operations, options, given)
    if given.mask is None or given.mask.ndim == 2:
        return y, states
    right = ((given.mask >= 0) & (given.mask <= given.x.shape[1]))[:, None]
    y = jnp.where(right[..., None] if options.return_sequences else right, y, jnp.nan)
    return y, tuple(jnp.where(right, state, jnp.nan) for state in states)


_jitted_scan = jax.jit(_scan, static_argnums=0)


_ACTIVATIONS = {
    "linear": lambda z: z,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "hard_sigmoid": jax.nn.hard_sigmoid,
}


class _Operations:
    """The operations of `_plain.Ops`."""

    scan = staticmethod(jax.lax.scan)
    stop_gradient = staticmethod(jax.lax.stop_gradient)
    maximum = staticmethod(jnp.maximum)
    minimum = staticmethod(jnp.minimum)
    sqrt = staticmethod(jnp.sqrt)

    @staticmethod
    def row_maximum(x: Array) -> Array:
        return x.max(axis=1, keepdims=True)

    @staticmethod
    def row_sum(x: Array) -> Array:
        return x.sum(axis=1, keepdims=True)

    @staticmethod
    def largest_number(x: Array) -> float:
        return float(jnp.finfo(x.dtype).max)

    @staticmethod
    def where(condition: Array, x: Array, y: Array) -> Array:
        return jnp.where(condition, x, y)

    @staticmethod
    def activation(name: str) -> Callable[[Array], Array]:
        return _ACTIVATIONS[name]

    @staticmethod
    def is_codes(mask: Array) -> bool:
        return mask.dtype == jnp.uint8

    @staticmethod
    def split(x: Array, parts: int) -> list[Array]:
        return jnp.split(x, parts, axis=-1)

    @staticmethod
    def clip_gradient(states: Arrays, limit: float) -> Arrays:
        return _clip_gradient(limit, states)

    @staticmethod
    def sum_of_time(x: Array) -> Array:
        return x.sum(axis=1, keepdims=True)

    @staticmethod
    def swap_batch_and_time(x: Array) -> Array:
        return jnp.swapaxes(x, 0, 1)

    @staticmethod
    def flip_time(x: Array) -> Array:
        return jnp.flip(x, 0)

    @staticmethod
    def steps(x: Array) -> Array:
        return jnp.arange(x.shape[0])

    @staticmethod
    def zeros(x: Array, units: int) -> Array:
        row = jnp.zeros_like(x.sum(axis=(0, 2)))  # computed from x, so that they are spread over devices like x
        return jnp.broadcast_to(row[:, None], (x.shape[1], units))


class _EagerOperations(_Operations):
    """The same operations for an eager call: the loop is in Python, so that nothing is compiled for one call."""

    @staticmethod
    def scan(
        step: Callable[[Arrays, Arrays], tuple[Arrays, Array]], carry: Arrays, inputs: Arrays
    ) -> tuple[Arrays, Array]:
        outputs = [jnp.empty((0, *carry[-1].shape), carry[-1].dtype)]
        for now in zip(*map(jnp.unstack, inputs), strict=True):
            carry, output = step(carry, now)
            outputs.append(output[None])
        return carry, jnp.concatenate(outputs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _clip_gradient(limit: float, states: Arrays) -> Arrays:
    return states


def _clip_gradient_forward(limit: float, states: Arrays) -> tuple[Arrays, None]:
    return states, None


def _clip_gradient_backward(limit: float, _: None, dstates: Arrays) -> tuple[Arrays]:
    return (_plain.clipped(_Operations(), dstates, limit),)


_clip_gradient.defvjp(_clip_gradient_forward, _clip_gradient_backward)
