# SPDX-License-Identifier: Apache-2.0
"""The PyTorch adapter: checked CPU tensors in, native calls on their addresses, new tensors out.

Two ways lead to the same two native calls. Ordinary tensors go by `_Eager`, the shortest way that autograd
allows. Whatever traces or transforms operations (torch.compile, torch.export, torch.func, dispatch modes,
tensor subclasses, forward-mode AD) meets the operators `elman::forward` and `elman::backward`. No maths, and
none of torch's threads: the native library has its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from elman import _native, _plain, route
from elman.cells import CELLS
from elman.operands import Operands, flat, grouped, pair
from elman.options import Options

TRACES = True
Tensors = tuple[Tensor, ...]
Flat = tuple[Any, ...]  # the operands one by one, in the order of `operands.FLAT`


class Arriving(NamedTuple):
    """What a backward takes besides the operands: results of the forward, and the gradients of the loss with respect
    to them, `None` for zeros."""

    y: Any
    tape: Any
    dy: Any
    dfinal_states: Any


SECOND_DERIVATIVE = (
    "elman's native path has no second derivative of what is traced or transformed; pass native=False, which "
    "differentiates any number of times."
)
FORWARD_MODE = "elman's native path has no forward-mode derivative; pass native=False, which has one."

_DTYPES = {d: str(d).removeprefix("torch.") for d in vars(torch).values() if isinstance(d, torch.dtype)}
_HALVES = (torch.float16, torch.bfloat16)


def values(array: Tensor) -> np.ndarray | None:
    """The values of the tensor, in NumPy; `None` while it is traced or transformed and there are none yet."""
    return array.cpu().numpy() if not torch.compiler.is_compiling() and ordinary((array,)) else None


def is_traced(array: Tensor) -> bool:
    """True if torch traces a graph, so that nothing made here outlives it."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def traced_environment() -> _native.Environment | None:
    """The environment while torch.compile traces, which cannot read it; else `None`."""
    return _environment() if torch.compiler.is_compiling() else None


@torch.compiler.assume_constant_result
def _environment() -> _native.Environment:
    return _native.environment()


def facts(x: Tensor) -> route.Facts:
    """What the route asks about a call on `x`."""
    if torch.compiler.is_compiling() and _transforms_active():
        return route.Facts(transform=True)
    return route.NATIVE if x.is_cpu or x.is_meta else route.Facts(device=x.device)


def asarray(value: Any, like: Tensor) -> Tensor:
    """`value` as a tensor of its own dtype on the device of `like`.

    Under autocast a recurrence is one of the operations that run in float32, as norms and losses are: tensors of half
    precision are cast up, and nothing inside is cast down.

    Raises:
        TypeError: If it is a sparse or nested tensor.
    """
    if not isinstance(value, Tensor):
        array = np.array(value)  # a copy, since later changes of the array would be missed
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False)).to(like.device)
    if value.layout is not torch.strided or value.is_nested:
        raise TypeError(
            f"got a tensor of layout {value.layout}{', nested' * value.is_nested}; expected a dense one. Convert it "
            "with to_dense(), or with to_padded_tensor() and pass lengths."
        )
    if value.dtype in _HALVES and torch.is_autocast_enabled(value.device.type):
        return value.float()
    return value


def codes(mask: Tensor | None, resets: Tensor) -> Tensor:
    """The codes of steps of `Operands.mask`, for a mask or lengths (`None`: every step counts) and resets."""
    found = 1 + 2 * resets.to(torch.uint8)
    if mask is None:
        return found
    counts = mask if mask.dim() == 2 else torch.arange(resets.shape[1], device=resets.device) < mask[:, None]
    return found * counts


def shape(array: Tensor) -> tuple[int, ...]:
    """The shape; symbolic sizes stay symbolic."""
    return tuple(array.shape)


def dtype(array: Tensor) -> str:
    """The name of the dtype, as NumPy spells it."""
    return _DTYPES[array.dtype]


def recurrence(options: Options, *operands: Any) -> tuple[Tensor, Tensors]:
    """The recurrence, natively: `(y, final_states)`. The operands are all fields of `Operands`.

    The caller may change y in place (`ReLU(inplace=True)`, `y += skip`), and the backward reads the outputs: so where a
    backward can follow, y is a copy of what it reads. For ordinary tensors the copy is made when y is first written.
    """
    one_by_one = flat(operands)
    tensors = [t for t in one_by_one if t is not None]
    differentiate = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or operands[0].is_meta:
        y, final_states, _ = _forward_op(options, differentiate, operands)
        return y.clone() if differentiate else y, tuple(final_states)
    if not all(t.is_cpu for t in tensors):
        devices = ", ".join(sorted({str(t.device) for t in tensors}))
        raise ValueError(f"the arrays are on {devices}; expected all of them on the CPU, as x is. Move the others.")
    if not ordinary(tensors):
        # inside vmap it cannot be seen whether a gradient is wanted outside
        y, _, *final_states = _Transformed.apply(*options, torch.is_grad_enabled(), *one_by_one)
        y = y.clone() if torch.is_grad_enabled() else y
    elif differentiate:
        y, *final_states = _Eager.apply(options, *one_by_one)
    else:
        y, final_states, _ = _forward(options, False, one_by_one)
    return y, tuple(final_states)


# --- the native calls --------------------------------------------------------------------------------------


def _forward(
    options: Options, keep_tape: bool, operands: Flat, clean: bool = False
) -> tuple[Tensor, list[Tensor], Tensor | None]:
    """One native forward: y, the final states, and the tape where it is kept and needed. A masked step does not
    write its row of the tape; with `clean` such rows are zeros."""
    operands = dense(operands)
    spec = _spec(options, operands)
    x = operands[0]
    y = x.new_empty(*spec.y_shape)
    final_states = [x.new_empty(*spec.state_shape) for _ in range(spec.states)]
    tape = None
    if keep_tape and spec.tape_columns:
        tape = (x.new_zeros if clean else x.new_empty)((*x.shape[:2], spec.tape_columns))
    _native.forward(spec, *addresses((*operands, y, *pair(final_states), tape)))
    return y, final_states, tape


def _backward(
    options: Options, wanted: tuple[bool, ...], operands: Flat, arriving: Arriving, want_norms: bool = False
) -> list[Any]:
    """One native backward: the gradients of the first six operands where they are wanted, then the norms."""
    *of_y, dfinal_states = arriving
    given = dense((*operands, *of_y, *pair(dfinal_states)))
    x, differentiable = given[0], given[:6]
    results = [
        torch.empty_like(t) if want and t is not None else None
        for t, want in zip(differentiable, wanted[:6], strict=True)
    ]
    results.append(x.new_empty(*x.shape[:2]) if want_norms else None)
    _native.backward(_spec(options, given[:9]), *addresses((*given, *results)))
    return results


def _spec(options: Options, operands: Flat) -> _native.Spec:
    x, _, recurrent_kernel, _, _, _, mask, input_dropout, recurrent_dropout = operands
    return _native.spec(
        options,
        *x.shape,
        recurrent_kernel.shape[0],
        _DTYPES[x.dtype],
        "none" if mask is None else _native.MASK_OF_DTYPE[_DTYPES[mask.dtype]],
        0 if input_dropout is None else len(input_dropout),
        0 if recurrent_dropout is None else len(recurrent_dropout),
    )


def dense(tensors: tuple[Any, ...]) -> tuple[Any, ...]:
    """Row-major tensors, and a negation that torch only noted (of an imaginary part, say) carried out.

    Raises:
        RuntimeError: If a tensor lies outside its storage, which its owner has freed or shrunk.
        NotImplementedError: If a tensor has no storage.
    """
    try:
        return tuple([t if t is None or _is_row_major(t) else _row_major(t) for t in tensors])
    except NotImplementedError as error:  # gradients under is_grads_batched or vectorize, torch's first vmap
        raise NotImplementedError(
            f"elman's native path got a tensor without an address ({error}). For batched gradients use torch.func "
            "(vmap, jacrev), or pass native=False."
        ) from error


def _is_row_major(t: Tensor) -> bool:
    """Whether a tensor can be read as it is: row-major, and inside its storage."""
    return (
        t.is_contiguous()
        and not t.is_neg()
        and t.untyped_storage().nbytes() >= t.nbytes + t.storage_offset() * t.itemsize
    )


def _row_major(t: Tensor) -> Tensor:
    last = sum((n - 1) * step for n, step in zip(t.shape, t.stride(), strict=True))
    needed = (t.storage_offset() + last + 1) * t.itemsize if t.numel() else 0
    size = t.untyped_storage().nbytes()
    if size < needed:
        raise RuntimeError(
            f"elman's recurrence got a tensor of shape {shape(t)} that needs {needed} bytes of its storage, which has "
            f"{size}. Restore what was freed (by sharding, or offloading) before the call, and before its backward."
        )
    return t.resolve_neg().contiguous()


def addresses(tensors: tuple[Any, ...]) -> list[int]:
    return [0 if t is None else address(t) for t in tensors]


# Private to torch, or young: where one is missing a copy is made, which is slower and as right.
address = getattr(Tensor, "const_data_ptr", Tensor.data_ptr)  # leaves what `lazy_copy` shares shared
lazy_copy = getattr(torch, "_lazy_clone", torch.clone)  # shares memory until one of the two is written


# --- ordinary tensors --------------------------------------------------------------------------------------

# These are private to torch, so each may be missing. Then no tensor is ordinary, which is slower and still correct.
_transforms_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)
_dispatch_modes = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 1)
_ORDINARY = frozenset({Tensor, torch.nn.Parameter, type(None)})


def ordinary(tensors: list[Any] | tuple[Any, ...]) -> bool:
    """True if only the backward mode of autograd can follow these tensors."""
    return not (
        _transforms_active()
        or _dispatch_modes()
        or getattr(forward_ad, "_current_level", 0) >= 0
        or not _ORDINARY.issuperset(map(type, tensors))
    )


class _Eager(Function):
    """The native calls, past the dispatcher: less than a third of the time that `_Transformed` takes."""

    @staticmethod
    def forward(ctx: Any, options: Options, *operands: Any) -> Tensors:
        y, final_states, tape = _forward(options, True, operands)
        ctx.options, ctx.addresses = options, addresses(operands)
        ctx.save_for_backward(*operands, lazy_copy(y), tape)
        ctx.set_materialize_grads(False)
        return y, *final_states

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, *dfinal_states: Any) -> tuple[Any, ...]:
        *operands, y, tape = ctx.saved_tensors
        arriving = Arriving(y, tape, dy, dfinal_states)
        wanted = ctx.needs_input_grad[1:]
        compiling = torch.compiler.is_compiling()  # compiled autograd
        if not (compiling or torch.is_grad_enabled()) and ordinary((dy, *dfinal_states)):
            if addresses(tuple(operands)) != ctx.addresses:  # a hook, or `.data`, replaced some of them
                check(ctx.options, grouped(tuple(operands)), arriving)
            gradients = _backward(ctx.options, wanted, tuple(operands), arriving)[:6]
        elif not compiling and ordinary((dy, *dfinal_states)):
            gradients = _TwiceDifferentiable.apply(ctx.options, wanted, y, tape, *operands, dy, *pair(dfinal_states))
        else:
            call = _backward_op if compiling else _Backward.apply
            if tape is None:
                arriving = arriving._replace(tape=y.new_empty((*operands[0].shape[:2], 0)))
            gradients = _gradients(call, ctx.options, wanted, tuple(operands), arriving)
        return None, *gradients, None, None, None


class _TwiceDifferentiable(Function):
    """The native backward of ordinary tensors, of which a further derivative is wanted. That one is taken of the plain
    operations, which are computed when it is asked for; those after it too."""

    @staticmethod
    def forward(ctx: Any, options: Options, wanted: tuple[bool, ...], y: Tensor, tape: Any, *inputs: Any) -> Any:
        *operands, dy, dfirst, dsecond = inputs
        ctx.options, ctx.wanted = options, wanted[:6]
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        states = (dfirst, dsecond)[: len(CELLS[options.cell].states)]
        return tuple(_backward(options, wanted, tuple(operands), Arriving(y, tape, dy, states))[:6])

    @staticmethod
    def backward(ctx: Any, *arriving: Any) -> tuple[Any, ...]:
        with torch.enable_grad():
            # Views, so that what one operand computed of another is not followed here.
            inputs = [None if t is None else t.view_as(t) for t in ctx.saved_tensors]
            y, final_states = plain(ctx.options, *grouped(tuple(inputs[:9])))
            results = [r for r in zip((y, *final_states), inputs[9:], strict=False) if r[1] is not None]
            gradients = gradients_of(results, [t if w else None for t, w in zip(inputs, ctx.wanted, strict=False)])
            pairs = [(g, a) for g, a in zip(gradients, arriving, strict=True) if g is not None and a is not None]
            follow = [t if w else None for t, w in zip(inputs, ctx.needs_input_grad[4:], strict=True)]
            return *(None,) * 4, *gradients_of(pairs, follow)


def gradients_of(pairs: list[tuple[Tensor, Tensor]], inputs: list[Tensor | None]) -> list[Tensor | None]:
    """The gradients of results, each paired with its own gradient, with respect to the inputs that are not `None`; they
    can be differentiated."""
    pairs = [(result, gradient) for result, gradient in pairs if result.requires_grad]
    followed = [t for t in inputs if t is not None]
    if not pairs or not followed:
        return [None] * len(inputs)
    results, gradients = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(results, followed, gradients, create_graph=True, allow_unused=True))
    return [None if t is None else next(found) for t in inputs]


# --- the operators: what a traced graph holds --------------------------------------------------------------

_OPERANDS = (
    "Tensor x, Tensor kernel, Tensor recurrent_kernel, Tensor? bias, Tensor[] initial_states, Tensor? mask, "
    "Tensor? input_dropout, Tensor? recurrent_dropout"
)
_ATTRIBUTES = (
    'str cell="simple_rnn", str activation="tanh", str recurrent_activation="sigmoid", bool go_backwards=False, '
    "bool zero_output_for_mask=False, bool return_sequences=True, int? truncate_gradient=None, "
    "float? clip_state_gradient=None, bool reset_after=True"
)
_SCHEMAS = (
    f"forward({_OPERANDS}, *, {_ATTRIBUTES}, bool keep_tape=False) -> (Tensor y, Tensor[] final_states, Tensor tape)",
    (
        f"backward({_OPERANDS}, Tensor y, Tensor tape, Tensor? dy, Tensor?[] dfinal_states, *, {_ATTRIBUTES}, "
        "bool want_dx=True, bool want_weights=True, bool want_norms=False) -> (Tensor dx, Tensor dkernel, "
        "Tensor drecurrent_kernel, Tensor dbias, Tensor[] dinitial_states, Tensor norms)"
    ),
)


def _forward_op(options: Options, keep_tape: bool, operands: tuple[Any, ...]) -> tuple[Tensor, list[Tensor], Tensor]:
    """`elman::forward`. A tape that is not kept, or not needed, has no columns."""
    return torch.ops.elman.forward.default(*operands, **options._asdict(), keep_tape=keep_tape)


def _backward_op(*inputs: Any) -> Tensors:
    """`elman::backward` on the options, want_dx, want_weights, the operands, y, tape, dy and two final states'
    gradients; no norms. A gradient that is not wanted is empty."""
    options, (want_dx, want_weights, *tensors) = _split_options(inputs)
    *operands, y, tape, dy, dfirst, dsecond = tensors
    dfinal_states = [dfirst, dsecond][: len(CELLS[options.cell].states)]
    wanted = {"want_dx": want_dx, "want_weights": want_weights}
    *gradients, dinitial_states, _ = torch.ops.elman.backward.default(
        *grouped(tuple(operands)), y, tape, dy, dfinal_states, **options._asdict(), **wanted
    )
    return *gradients, *dinitial_states


def _split_options(inputs: tuple[Any, ...]) -> tuple[Options, tuple[Any, ...]]:
    """The options, and what follows them. One by one, since torch.func takes a tuple for several inputs."""
    count = len(Options._fields)
    return Options(*inputs[:count]), inputs[count:]


def _gradients(
    call: Callable[..., Tensors],
    options: Options,
    wanted: tuple[bool, ...],
    operands: Flat,
    arriving: Arriving,
) -> list[Any]:
    """The gradients of the first six operands where they are wanted, by `_backward_op` or what wraps it."""
    *of_y, dfinal_states = arriving
    found = call(*options, wanted[0], any(wanted[1:4]), *operands, *of_y, *pair(dfinal_states))
    return [g if want else None for g, want in zip((*found, None, None), wanted[:6], strict=False)]


def _whole_tape(options: Options, operands: Flat, tape: Tensor) -> Tensor:
    """The tape; a second forward writes it if the first did not know that a backward would follow."""
    if tape.shape[2] == _tape_columns(options, operands[2]):
        return tape
    with torch.no_grad():
        return _forward_op(options, True, grouped(operands))[2]


def _tape_columns(options: Options, recurrent_kernel: Tensor) -> int:
    """As `elman_tape_columns`, also for a symbolic number of units."""
    return _native.spec(options, 0, 0, 0, 1, _DTYPES[recurrent_kernel.dtype]).tape_columns * recurrent_kernel.shape[0]


def check(options: Options, operands: tuple[Any, ...], arriving: Arriving | None = None) -> None:
    """Checks shapes and dtypes of tensors that did not come through the checks of the functions.

    Raises:
        ValueError: If one does not fit.
    """
    x, kernel, recurrent_kernel, bias, states, mask, input_dropout, recurrent_dropout = operands
    if x.dim() != 3 or dtype(x) not in _native.DTYPES or recurrent_kernel.dim() != 2:
        raise ValueError(
            f"elman's recurrence got x of shape {shape(x)} and dtype {dtype(x)}, and recurrent_kernel of shape "
            f"{shape(recurrent_kernel)}; expected (batch, time, features) of float32 or float64, and two dimensions."
        )
    (batch, time, features), units = x.shape, recurrent_kernel.shape[0]
    cell = CELLS[options.cell]
    gates, state = len(cell.gates), (batch, units)
    _check_tensor("kernel", kernel, (features, gates * units), x.dtype)
    _check_tensor("recurrent_kernel", recurrent_kernel, (units, gates * units), x.dtype)
    rows = (2,) if cell.two_biases(options.reset_after) else ()
    _check_tensor("bias", bias, (*rows, gates * units), x.dtype)
    for name, masks, size in (
        ("input_dropout", input_dropout, features),
        ("recurrent_dropout", recurrent_dropout, units),
    ):
        each_gate = masks is not None and masks.shape[:1] == (gates,)
        _check_tensor(name, masks, (gates if each_gate else 1, batch, size), x.dtype)
    if mask is not None and mask.dim() == 1:
        _check_tensor("mask", mask, (batch,), torch.int32, torch.int64)
    else:
        _check_tensor("mask", mask, (batch, time), torch.bool, torch.uint8)
    for each in states:
        _check_tensor("initial_states", each, state, x.dtype)
    if arriving:
        y, tape, dy, dfinal_states = arriving
        output = (batch, time, units) if options.return_sequences else state
        _check_tensor("y", y, output, x.dtype)
        _check_tensor("tape", tape, (batch, time, _tape_columns(options, recurrent_kernel)), x.dtype)
        _check_tensor("dy", dy, output, x.dtype)
        for each in dfinal_states:
            _check_tensor("dfinal_states", each, state, x.dtype)


def _check_tensor(name: str, tensor: Tensor | None, sizes: tuple[int, ...], *dtypes: torch.dtype) -> None:
    if tensor is not None and (shape(tensor) != sizes or tensor.dtype not in dtypes or not tensor.is_cpu):
        raise ValueError(
            f"elman's recurrence got {name} of shape {shape(tensor)} and dtype {dtype(tensor)} on {tensor.device}; "
            f"expected {sizes} and {' or '.join(_DTYPES[d] for d in dtypes)} on the CPU."
        )


def _forward_cpu(*operands: Any, keep_tape: bool = False, **attributes: Any) -> tuple[Tensor, list[Tensor], Tensor]:
    options, x, mask = Options(**attributes), operands[0], operands[5]
    check(options, operands)
    y, final_states, tape = _forward(options, keep_tape, flat(operands), clean=mask is not None)
    return y, final_states, x.new_empty((*x.shape[:2], 0)) if tape is None else tape


def _backward_cpu(
    *tensors: Any, want_dx: bool = True, want_weights: bool = True, want_norms: bool = False, **attributes: Any
) -> tuple[Any, ...]:
    options, operands, arriving = Options(**attributes), tensors[:8], Arriving(*tensors[8:])
    check(options, operands, arriving)
    wanted = (want_dx, *(want_weights,) * 3, True, True)
    found = _backward(options, wanted, flat(operands), arriving, want_norms)
    *gradients, first, second, norms = (arriving.y.new_empty((0,)) if g is None else g for g in found)
    return *gradients, [first, second][: len(operands[4])], norms


def _forward_fake(*operands: Any, keep_tape: bool = False, **attributes: Any) -> tuple[Tensor, list[Tensor], Tensor]:
    options, x, units = Options(**attributes), operands[0], operands[2].shape[0]
    batch, time, _ = x.shape
    y = x.new_empty((batch, time, units) if options.return_sequences else (batch, units))
    columns = _tape_columns(options, operands[2]) if keep_tape else 0
    states = [x.new_empty((batch, units)) for _ in CELLS[options.cell].states]
    return y, states, x.new_empty((batch, time, columns))


def _backward_fake(
    *tensors: Any, want_dx: bool = True, want_weights: bool = True, want_norms: bool = False, **attributes: Any
) -> tuple[Any, ...]:
    x, *weights, states = tensors[:5]
    shapes = [x.shape if want_dx else None, *(w.shape if want_weights and w is not None else None for w in weights)]
    gradients = [x.new_empty((0,) if shape is None else shape) for shape in shapes]
    norms = x.new_empty(x.shape[:2] if want_norms else (0,))
    return *gradients, [x.new_empty(s.shape) for s in states], norms


# --- autograd of the operators, for graphs that hold them --------------------------------------------------
# They do not work for torch.func, which refuses such rules, nor for forward mode, which ignores them silently.


def _forward_setup(ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Any) -> None:
    y, _, tape = output
    ctx.states = len(inputs[4])
    ctx.options = Options(*(keyword_only_inputs[name] for name in Options._fields))
    ctx.save_for_backward(*flat(inputs), y, tape)
    ctx.mark_non_differentiable(tape)
    ctx.set_materialize_grads(False)


def _forward_autograd(ctx: Any, dy: Tensor | None, dfinal_states: Any, _: Any) -> tuple[Any, ...]:
    *operands, y, tape = ctx.saved_tensors
    wanted = flat(ctx.needs_input_grad)
    arriving = Arriving(y, _whole_tape(ctx.options, tuple(operands), tape), dy, tuple(dfinal_states))
    found = _gradients(_backward_op, ctx.options, wanted, tuple(operands), arriving)
    return *found[:4], found[4 : 4 + ctx.states], None, None, None


def _raise_second_derivative(ctx: Any, *_: Any) -> None:
    raise NotImplementedError(SECOND_DERIVATIVE)


def _raise_forward_mode(ctx: Any, *_: Any) -> None:
    raise NotImplementedError(FORWARD_MODE)


# --- transforms --------------------------------------------------------------------------------------------


class _Transformed(Function):
    """`elman::forward` for torch.func, dispatch modes and tensor subclasses. Forward mode is an error."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs: Any) -> Tensors:
        options, (keep_tape, *operands) = _split_options(inputs)
        y, final_states, tape = _forward_op(options, keep_tape, grouped(tuple(operands)))
        return y, tape, *final_states

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        ctx.options, (_, *operands) = _split_options(inputs)
        y, tape, *_ = output
        ctx.save_for_backward(*operands, y, tape)
        ctx.save_for_forward(*operands, y, tape)  # jvp of vmap reads them before `jvp` can raise
        ctx.mark_non_differentiable(tape)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, _: Any, *dfinal_states: Any) -> tuple[Any, ...]:
        *operands, y, tape = ctx.saved_tensors
        wanted = ctx.needs_input_grad[-len(operands) :]
        arriving = Arriving(y, _whole_tape(ctx.options, tuple(operands), tape), dy, dfinal_states)
        found = _gradients(_Backward.apply, ctx.options, wanted, tuple(operands), arriving)
        return *(None,) * len(Options._fields), None, *found, None, None, None

    jvp = staticmethod(_raise_forward_mode)


class _Backward(Function):
    """`_backward_op`, which cannot be differentiated."""

    generate_vmap_rule = True
    forward = staticmethod(_backward_op)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        """Keeps nothing, since no derivative follows."""

    backward = staticmethod(_raise_second_derivative)
    jvp = staticmethod(_raise_forward_mode)


# The axis of the batch in the tensors of an operator: the eight operands; y, tape, dy and the gradients of the final
# states. In a result it is the first axis; gradients of weights are sums over it.
_BATCH_AXES = (0, None, None, None, (0, 0), 0, 1, 1, 0, 0, 0, (0, 0))


def _vmap(operator: Callable[..., Any], sums: bool, info: Any, in_dims: Any, tensors: Any, attributes: Any) -> Any:
    """The rule for vmap: the mapped axis joins the batch of one native call. If the weights differ, or sums over the
    batch are wanted, there is one call per element."""
    count = info.batch_size

    def example(index: int) -> list[Any]:
        return _each(lambda t, dim: t if dim is None else t.select(dim, index), tensors, in_dims)

    def join(t: Tensor, dim: int | None, axis: int | None) -> Tensor:
        if axis is None:
            return t
        first = t.expand(count, *t.shape) if dim is None else t.movedim(dim, 0)
        return first.movedim(0, axis).flatten(axis, axis + 1)

    if sums or any(dim is not None for dim in in_dims[1:4]):
        calls = [operator(*example(index), **attributes) for index in range(count)]
        results = _each(lambda *each: torch.stack(each), *calls)
    else:
        joined = operator(*_each(join, tensors, in_dims, _BATCH_AXES), **attributes)
        batch = tensors[0].shape[0] if in_dims[0] is None else tensors[0].movedim(in_dims[0], 0).shape[1]
        results = _each(lambda r: r.unflatten(0, (count, r.shape[0] // count if count else batch)), joined)
    return tuple(results), tuple(_each(lambda _: 0, results))


def _each(function: Callable[..., Any], tensors: Any, *others: Any) -> list[Any]:
    """`function` of every tensor and of the arguments next to it, in nested lists too; `None` stays."""
    return [
        _each(function, t, *rest) if isinstance(t, list | tuple) else None if t is None else function(t, *rest)
        for t, *rest in zip(tensors, *others, strict=False)
    ]


def _forward_vmap(info: Any, in_dims: Any, *operands: Any, **attributes: Any) -> Any:
    return _vmap(torch.ops.elman.forward.default, False, info, in_dims, operands, attributes)


def _backward_vmap(info: Any, in_dims: Any, *tensors: Any, want_weights: bool = True, **attributes: Any) -> Any:
    attributes["want_weights"] = want_weights
    return _vmap(torch.ops.elman.backward.default, want_weights, info, in_dims, tensors, attributes)


def _register() -> torch.library.Library | None:
    """Registers the operators; `None` if an earlier import of elman in this process has: torch takes a name once, and
    compiled graphs hold its operators.

    Raises:
        ImportError: If those are of a version with other operators.
    """
    names = [schema.partition("(")[0] for schema in _SCHEMAS]
    earlier = [getattr(torch.ops.elman, name).default._schema for name in names if hasattr(torch.ops.elman, name)]
    if earlier:
        if earlier != [torch._C.parse_schema(f"elman::{schema}") for schema in _SCHEMAS]:
            raise ImportError(
                "another version of elman has registered its operators with PyTorch in this process; expected one "
                "version. Restart Python."
            )
        return None
    library = torch.library.Library("elman", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    for name, cpu, fake, vmap in (
        ("forward", _forward_cpu, _forward_fake, _forward_vmap),
        ("backward", _backward_cpu, _backward_fake, _backward_vmap),
    ):
        library.impl(name, cpu, "CPU")
        torch.library.register_fake(f"elman::{name}", fake, lib=library)
        torch.library.register_vmap(f"elman::{name}", vmap, lib=library)
    torch.library.register_autograd("elman::forward", _forward_autograd, setup_context=_forward_setup, lib=library)
    torch.library.register_autograd("elman::backward", _raise_second_derivative, lib=library)
    return library


# Torch forgets the operators with it; a module that is reloaded keeps the one that it has.
_library = _register() or vars().get("_library")


# --- plain operations --------------------------------------------------------------------------------------


class _ClipGradient(Function):
    """The identity, whose gradient has an L2 norm of at most `limit` per example, over all tensors jointly."""

    generate_vmap_rule = True

    @staticmethod
    def forward(limit: float, *states: Tensor) -> Tensors:
        return tuple(s.view_as(s) for s in states)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        ctx.limit = inputs[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return None, *_plain.clipped(Ops(), gradients, ctx.limit)


class _ClipGradientForward(_ClipGradient):
    """With a forward-mode derivative, which torch.compile does not accept."""

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Tensor) -> Tensors:
        return tuple(t.view_as(t) for t in tangents)


_ACTIVATIONS = {
    "linear": lambda z: z,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": lambda z: torch.clamp(z / 6 + 0.5, 0, 1),  # torch's own uses 1 / 6 in float32, for float64 as well
}


class Ops:
    """The operations of `_plain.Ops`."""

    stop_gradient = staticmethod(torch.detach)
    where = staticmethod(torch.where)
    sqrt = staticmethod(torch.sqrt)

    def activation(self, name: str) -> Callable[[Tensor], Tensor]:
        return _ACTIVATIONS[name]

    def scan(
        self, step: Callable[[Tensors, Tensors], tuple[Tensors, Tensor]], carry: Tensors, inputs: Tensors
    ) -> tuple[Tensors, Tensor]:
        outputs = []
        for now in zip(*(i.unbind(0) for i in inputs), strict=True):
            carry, output = step(carry, now)
            outputs.append(output)
        return carry, torch.stack(outputs)

    def is_codes(self, mask: Tensor) -> bool:
        return mask.dtype == torch.uint8

    def split(self, x: Tensor, parts: int) -> Tensors:
        return x.chunk(parts, dim=-1)

    def clip_gradient(self, states: Tensors, limit: float) -> Tensors:
        clip = _ClipGradient if torch.compiler.is_compiling() else _ClipGradientForward
        return clip.apply(limit, *states)

    def maximum(self, x: Tensor, y: Tensor | float) -> Tensor:
        return torch.maximum(x, y) if isinstance(y, Tensor) else x.clamp(min=y)

    def minimum(self, x: Tensor, y: Tensor | float) -> Tensor:
        return torch.minimum(x, y) if isinstance(y, Tensor) else x.clamp(max=y)

    def row_maximum(self, x: Tensor) -> Tensor:
        return x.amax(dim=1, keepdim=True)

    def row_sum(self, x: Tensor) -> Tensor:
        return x.sum(dim=1, keepdim=True)

    def largest_number(self, x: Tensor) -> float:
        return torch.finfo(x.dtype).max

    def sum_of_time(self, x: Tensor) -> Tensor:
        return x.sum(dim=1, keepdim=True)

    def swap_batch_and_time(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1)

    def flip_time(self, x: Tensor) -> Tensor:
        return x.flip(0)

    def steps(self, x: Tensor) -> Tensor:
        return torch.arange(x.shape[0], device=x.device)

    def zeros(self, x: Tensor, units: int) -> Tensor:
        return x.new_zeros((x.shape[1], units))


def plain(options: Options, *operands: Any) -> tuple[Tensor, Tensors]:
    """The recurrence in PyTorch's own operations, in the dtype of x even under autocast. Arguments as `recurrence`."""
    given = Operands(*operands)
    kind = given.x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        with torch.autocast(kind, enabled=False):
            return _plain.recurrence(Ops(), options, given)
    return _plain.recurrence(Ops(), options, given)
