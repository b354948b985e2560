# SPDX-License-Identifier: Apache-2.0
"""The autograd functions of the PyTorch adapter: how a gradient comes back from a native call.

`Eager` is for ordinary tensors, past the dispatcher; `Transformed` for torch.func, dispatch modes and subclasses, by
the operators. A further derivative of ordinary tensors is taken of the plain operations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from elman._calls_torch import Arriving, Tensors, addresses, backward, forward, is_ordinary, lazy_copy
from elman._operators_torch import (
    backward_op,
    check,
    forward_op,
    gradients_by,
    raise_forward_mode,
    raise_second_derivative,
    split_options,
    whole_tape,
)
from elman._plain_torch import plain
from elman.cells import CELLS
from elman.operands import grouped, pair
from elman.options import Options


class Eager(Function):
    """The native calls, past the dispatcher: less than a third of the time that `Transformed` takes."""

    @staticmethod
    def forward(ctx: Any, options: Options, *operands: Any) -> Tensors:
        y, final_states, tape = forward(options, True, operands)
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
        if not (compiling or torch.is_grad_enabled()) and is_ordinary((dy, *dfinal_states)):
            if addresses(tuple(operands)) != ctx.addresses:  # a hook, or `.data`, replaced some of them
                check(ctx.options, grouped(tuple(operands)), arriving)
            gradients = backward(ctx.options, wanted, tuple(operands), arriving)[:6]
        elif not compiling and is_ordinary((dy, *dfinal_states)):
            gradients = _TwiceDifferentiable.apply(ctx.options, wanted, y, tape, *operands, dy, *pair(dfinal_states))
        else:
            call = backward_op if compiling else Backward.apply
            if tape is None:
                arriving = arriving._replace(tape=y.new_empty((*operands[0].shape[:2], 0)))
            gradients = gradients_by(call, ctx.options, wanted, tuple(operands), arriving)
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
        return tuple(backward(options, wanted, tuple(operands), Arriving(y, tape, dy, states))[:6])

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


class Transformed(Function):
    """`elman::forward` for torch.func, dispatch modes and tensor subclasses. Forward mode is an error."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs: Any) -> Tensors:
        options, (keep_tape, *operands) = split_options(inputs)
        y, final_states, tape = forward_op(options, keep_tape, grouped(tuple(operands)))
        return y, tape, *final_states

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        ctx.options, (_, *operands) = split_options(inputs)
        y, tape, *_ = output
        ctx.save_for_backward(*operands, y, tape)
        ctx.save_for_forward(*operands, y, tape)  # jvp of vmap reads them before `jvp` can raise
        ctx.mark_non_differentiable(tape)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, _: Any, *dfinal_states: Any) -> tuple[Any, ...]:
        *operands, y, tape = ctx.saved_tensors
        wanted = ctx.needs_input_grad[-len(operands) :]
        arriving = Arriving(y, whole_tape(ctx.options, tuple(operands), tape), dy, dfinal_states)
        found = gradients_by(Backward.apply, ctx.options, wanted, tuple(operands), arriving)
        return *(None,) * len(Options._fields), None, *found, None, None, None

    jvp = staticmethod(raise_forward_mode)


class Backward(Function):
    """`backward_op`, which cannot be differentiated."""

    generate_vmap_rule = True
    forward = staticmethod(backward_op)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        """Keeps nothing, since no derivative follows."""

    backward = staticmethod(raise_second_derivative)
    jvp = staticmethod(raise_forward_mode)
