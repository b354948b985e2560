# SPDX-License-Identifier: Apache-2.0
"""The operators `elman::forward` and `elman::backward`: what a traced graph holds.

In: tensors and the options as attributes. Out: new tensors. Here are their schemas, their checks, what they compute on
the CPU and for a compiler that knows shapes alone, and their derivative. Graphs that an older version saved must run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from elman import _native
from elman._calls_torch import DTYPES, Arriving, Flat, Tensors, backward, dtype, forward, shape
from elman._vmap_torch import backward_vmap, forward_vmap
from elman.cells import CELLS
from elman.operands import flat, grouped, pair
from elman.options import Options

SECOND_DERIVATIVE = (
    "elman's native path has no second derivative of what is traced or transformed; pass native=False, which "
    "differentiates any number of times."
)
FORWARD_MODE = "elman's native path has no forward-mode derivative; pass native=False, which has one."

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


def forward_op(options: Options, keep_tape: bool, operands: tuple[Any, ...]) -> tuple[Tensor, list[Tensor], Tensor]:
    """`elman::forward`. A tape that is not kept, or not needed, has no columns."""
    return torch.ops.elman.forward.default(*operands, **options._asdict(), keep_tape=keep_tape)


def backward_op(*inputs: Any) -> Tensors:
    """`elman::backward` on the options, want_dx, want_weights, the operands, y, tape, dy and two final states'
    gradients; no norms. A gradient that is not wanted is empty."""
    options, (want_dx, want_weights, *tensors) = split_options(inputs)
    *operands, y, tape, dy, dfirst, dsecond = tensors
    dfinal_states = [dfirst, dsecond][: len(CELLS[options.cell].states)]
    wanted = {"want_dx": want_dx, "want_weights": want_weights}
    *gradients, dinitial_states, _ = torch.ops.elman.backward.default(
        *grouped(tuple(operands)), y, tape, dy, dfinal_states, **options._asdict(), **wanted
    )
    return *gradients, *dinitial_states


def split_options(inputs: tuple[Any, ...]) -> tuple[Options, tuple[Any, ...]]:
    """The options, and what follows them. One by one, since torch.func takes a tuple for several inputs."""
    count = len(Options._fields)
    return Options(*inputs[:count]), inputs[count:]


def gradients_by(
    call: Callable[..., Tensors],
    options: Options,
    wanted: tuple[bool, ...],
    operands: Flat,
    arriving: Arriving,
) -> list[Any]:
    """The gradients of the first six operands where they are wanted, by `backward_op` or what wraps it."""
    *of_y, dfinal_states = arriving
    found = call(*options, wanted[0], any(wanted[1:4]), *operands, *of_y, *pair(dfinal_states))
    return [g if want else None for g, want in zip((*found, None, None), wanted[:6], strict=False)]


def whole_tape(options: Options, operands: Flat, tape: Tensor) -> Tensor:
    """The tape; a second forward writes it if the first did not know that a backward would follow."""
    if tape.shape[2] == _tape_columns(options, operands[2]):
        return tape
    with torch.no_grad():
        return forward_op(options, True, grouped(operands))[2]


def _tape_columns(options: Options, recurrent_kernel: Tensor) -> int:
    """As `elman_tape_columns`, also for a symbolic number of units."""
    return _native.spec(options, 0, 0, 0, 1, DTYPES[recurrent_kernel.dtype]).tape_columns * recurrent_kernel.shape[0]


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
            f"expected {sizes} and {' or '.join(DTYPES[d] for d in dtypes)} on the CPU."
        )


def _forward_cpu(*operands: Any, keep_tape: bool = False, **attributes: Any) -> tuple[Tensor, list[Tensor], Tensor]:
    options, x, mask = Options(**attributes), operands[0], operands[5]
    check(options, operands)
    y, final_states, tape = forward(options, keep_tape, flat(operands), clean=mask is not None)
    return y, final_states, x.new_empty((*x.shape[:2], 0)) if tape is None else tape


def _backward_cpu(
    *tensors: Any, want_dx: bool = True, want_weights: bool = True, want_norms: bool = False, **attributes: Any
) -> tuple[Any, ...]:
    options, operands, arriving = Options(**attributes), tensors[:8], Arriving(*tensors[8:])
    check(options, operands, arriving)
    wanted = (want_dx, *(want_weights,) * 3, True, True)
    found = backward(options, wanted, flat(operands), arriving, want_norms)
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
    arriving = Arriving(y, whole_tape(ctx.options, tuple(operands), tape), dy, tuple(dfinal_states))
    found = gradients_by(backward_op, ctx.options, wanted, tuple(operands), arriving)
    return *found[:4], found[4 : 4 + ctx.states], None, None, None


def raise_second_derivative(ctx: Any, *_: Any) -> None:
    raise NotImplementedError(SECOND_DERIVATIVE)


def raise_forward_mode(ctx: Any, *_: Any) -> None:
    raise NotImplementedError(FORWARD_MODE)


# --- their registration -------------------------------------------------------------------------------------


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
        ("forward", _forward_cpu, _forward_fake, forward_vmap),
        ("backward", _backward_cpu, _backward_fake, backward_vmap),
    ):
        library.impl(name, cpu, "CPU")
        torch.library.register_fake(f"elman::{name}", fake, lib=library)
        torch.library.register_vmap(f"elman::{name}", vmap, lib=library)
    torch.library.register_autograd("elman::forward", _forward_autograd, setup_context=_forward_setup, lib=library)
    torch.library.register_autograd("elman::backward", raise_second_derivative, lib=library)
    return library


# Torch forgets the operators with it; a module that is reloaded keeps the one that it has.
_library = _register() or vars().get("_library")
