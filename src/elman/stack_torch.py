# SPDX-License-Identifier: Apache-2.0
"""All layers and directions of a module of `elman.torch` as one node of autograd.

In: ordinary tensors in the layout of torch.nn, checked. Out: `(y, final_states)` in that layout. What the module did
with a node for each layer, and for each transpose and sum around it, takes 0.3 ms of Python and autograd a call; this
takes a third. A derivative of the backward is that of the layers one by one, computed when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from elman import _calls_torch, _native
from elman._autograd_torch import gradients_of
from elman._operators_torch import check
from elman.operands import Operands, pair
from elman.options import Options

Tensors = tuple[Tensor, ...]


class Form(NamedTuple):
    """What is the same for all calls of a module.

    Attributes:
        options: Those of each direction.
        layers: The number of layers.
        order: For each gate of elman its place among the gates of torch.nn; `None` where the orders are one.
        parameters: The number of parameters of a layer in one direction: 2, or 4 with biases.
        two_biases: Whether elman has two biases.
        states: The number of states.
        batch_first: Whether the batch is the first axis of x and y.
    """

    options: tuple[Options, ...]
    layers: int
    order: tuple[int, ...] | None
    parameters: int
    two_biases: bool
    states: int
    batch_first: bool


class Given(NamedTuple):
    """The tensors of a call.

    Attributes:
        x: `(batch, time, features)`, or with time first.
        states: `(layers * directions, batch, units)` for each state; none: zeros.
        masks: `Operands.mask` of each direction, `None` where every step counts.
        weights: All parameters in the order of torch.nn.
    """

    x: Tensor
    states: Tensors
    masks: tuple[Tensor | None, ...]
    weights: Tensors


class _Part(NamedTuple):
    """What the backward of a layer in one direction reads besides x and the states; y is in processing order."""

    kernel: Tensor
    recurrent_kernel: Tensor
    bias: Tensor | None
    y: Tensor
    tape: Tensor | None


def run(form: Form, given: Given, again: Callable[[Given], tuple[Tensor, Tensors]]) -> tuple[Tensor, Tensors]:
    """The layers.

    Args:
        form: What the module is.
        given: The tensors.
        again: The same by layers, each of them a node of autograd.
    """
    if torch.is_grad_enabled() and any(t.requires_grad for t in (given.x, *given.states, *given.weights)):
        y, *finals = _Layers.apply(form, again, given.masks, given.x, *pair(given.states), *given.weights)
        return y, tuple(finals)
    y, finals, _ = _forward(form, given, keep=False)
    return y, finals


class _Layers(Function):
    @staticmethod
    def forward(ctx: Any, form: Form, again: Any, masks: Any, x: Tensor, h: Any, c: Any, *weights: Tensor) -> Any:
        given = Given(x, tuple([s for s in (h, c) if s is not None]), masks, weights)
        y, finals, parts = _forward(form, given, keep=True)
        saved = (x, h, c, *weights, *masks, *[t for part in parts for t in part])
        ctx.form, ctx.again, ctx.addresses = form, again, _calls_torch.addresses(saved)
        ctx.save_for_backward(*saved)
        ctx.set_materialize_grads(False)
        return y, *finals

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, *dfinals: Tensor | None) -> tuple[Any, ...]:
        form: Form = ctx.form
        saved = ctx.saved_tensors
        x, h, c, *others = saved
        count, directions = form.layers * len(form.options) * form.parameters, len(form.options)
        masks, kept = others[count : count + directions], others[count + directions :]
        given = Given(x, tuple([s for s in (h, c) if s is not None]), tuple(masks), tuple(others[:count]))
        wanted = ctx.needs_input_grad[3:]
        plain = not (torch.compiler.is_compiling() or torch.is_grad_enabled()) and _calls_torch.is_ordinary(
            (dy, *dfinals)
        )
        if not plain:
            return None, None, None, *_differentiable(ctx.again, given, wanted, (dy, *dfinals))
        parts = [_Part(*kept[i : i + 5]) for i in range(0, len(kept), 5)]
        if _calls_torch.addresses(saved) != ctx.addresses:  # a hook, or `.data`, replaced some of them
            _check(form, given, parts)
        return None, None, None, *_backward(form, given, parts, wanted, dy, dfinals)


def _differentiable(again: Any, given: Given, wanted: tuple[bool, ...], arriving: tuple[Any, ...]) -> list[Any]:
    """The gradients by a graph that can be differentiated again."""
    with torch.enable_grad():
        # Views, so that what one operand computed of another is not followed here.
        x, h, c, *weights = [
            None if t is None else t.view_as(t) for t in (given.x, *pair(given.states), *given.weights)
        ]
        states = tuple([s for s in (h, c) if s is not None])
        y, finals = again(Given(x, states, given.masks, tuple(weights)))
        pairs = [each for each in zip((y, *finals), arriving, strict=True) if each[1] is not None]
        inputs = [t if want else None for t, want in zip((x, h, c, *weights), wanted, strict=True)]
        return gradients_of(pairs, inputs)


# --- the walk ------------------------------------------------------------------------------------------------------


def _turned(form: Form, t: Tensor) -> Tensor:
    """x or y with the batch first, or from there in the layout of the module; row-major."""
    return _calls_torch.dense((t if form.batch_first else t.transpose(0, 1),))[0]


def _numbered(form: Form, layer: int) -> Iterator[tuple[int, int, Options]]:
    """The number among the layers and directions, the direction and its options."""
    for direction, options in enumerate(form.options):
        yield layer * len(form.options) + direction, direction, options


def _rows(states: Tensors, number: int) -> list[int]:
    """The addresses of one layer's rows of the states, or of their gradients; 0 for zeros."""
    found = [
        0 if s is None else _calls_torch.address(s) + number * s.shape[1] * s.shape[2] * s.itemsize for s in states
    ]
    return [*found, 0, 0][:2]


def _spec(form: Form, options: Options, x: Tensor, units: int, mask: Tensor | None) -> _native.Spec:
    name = "none" if mask is None else _native.MASK_OF_DTYPE[_calls_torch.dtype(mask)]
    return _native.spec(options, *x.shape, units, _calls_torch.dtype(x), name)


def _forward(form: Form, given: Given, *, keep: bool) -> tuple[Tensor, Tensors, list[_Part]]:
    """y, the final states, and with `keep` what the backward needs."""
    x, masks, states = _turned(form, given.x), _calls_torch.dense(given.masks), _calls_torch.dense(given.states)
    units, parts = given.weights[1].shape[1], []
    size = (form.layers * len(form.options), x.shape[0], units)
    finals = tuple([x.new_empty(size) for _ in range(form.states)])
    last = x
    for layer in range(form.layers):
        outputs = []
        for number, direction, options in _numbered(form, layer):
            packed = _packed(form, given.weights[number * form.parameters : (number + 1) * form.parameters])
            spec = _spec(form, options, last, units, masks[direction])
            y = x.new_empty(spec.y_shape)
            tape = x.new_empty((*x.shape[:2], spec.tape_columns)) if keep and spec.tape_columns else None
            begin = (*_calls_torch.addresses((last, *packed)), *_rows(states, number))
            end = _calls_torch.addresses((masks[direction], None, None, y))
            _native.forward(spec, *begin, *end, *_rows(finals, number), *_calls_torch.addresses((tape,)))
            if keep:
                parts.append(_Part(*packed, y, tape))
            outputs.append(y.flip(1) if options.go_backwards else y)
        last = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
    y = _turned(form, last)
    # The caller may change y in place, and the backward reads the outputs.
    if keep and _calls_torch.address(y) == _calls_torch.address(parts[-1].y):
        y = _calls_torch.lazy_copy(y)
    return y, finals, parts


def _backward(
    form: Form, given: Given, parts: list[_Part], wanted: tuple[bool, ...], dy: Tensor | None, dfinals: Any
) -> list[Any]:
    """The gradients of x, the two states and the weights, where they are wanted."""
    masks, states, dfinals = (
        _calls_torch.dense(given.masks),
        _calls_torch.dense(given.states),
        _calls_torch.dense(dfinals),
    )
    dstates = tuple([torch.empty_like(s) for s in states])
    found: list[Any] = [None] * len(given.weights)
    directions, units = len(form.options), given.weights[1].shape[1]
    arriving = None if dy is None else _turned(form, dy)
    for layer in reversed(range(form.layers)):
        x = (
            _turned(form, given.x)
            if layer == 0
            else _inputs(form, parts[(layer - 1) * directions : layer * directions])
        )
        dx = None
        for number, direction, options in _numbered(form, layer):
            part = parts[number]
            d = arriving
            if d is not None and directions > 1:
                d = d[..., direction * units : (direction + 1) * units]
                d = d.flip(1) if options.go_backwards else d.contiguous()
            first = number * form.parameters
            place = slice(first, first + form.parameters)
            results = [torch.empty_like(x) if layer or wanted[0] else None]
            of_weights = any(wanted[3 + first : 3 + first + form.parameters])
            results += [torch.empty_like(t) if of_weights and t is not None else None for t in part[:3]]
            begin = (*_calls_torch.addresses((x, *part[:3])), *_rows(states, number))
            middle = _calls_torch.addresses((masks[direction], None, None, part.y, part.tape, d))
            gradients = (*_calls_torch.addresses(tuple(results)), *_rows(dstates, number), 0)
            spec = _spec(form, options, x, units, masks[direction])
            _native.backward(spec, *begin, *middle, *_rows(dfinals, number), *gradients)
            dx = results[0] if dx is None else dx + results[0]
            if of_weights:
                found[place] = _unpacked(form, results[1:])
        arriving = dx
    dx = arriving if arriving is None or form.batch_first else arriving.transpose(0, 1)
    return [dx, *pair(dstates), *found]


def _check(form: Form, given: Given, parts: list[_Part]) -> None:
    """Checks shapes and dtypes of tensors that came back from autograd as others than were saved.

    Raises:
        ValueError: If one does not fit.
    """
    x = _turned(form, given.x)
    for layer in range(form.layers):
        for number, direction, options in _numbered(form, layer):
            kernel, recurrent_kernel, bias, y, tape = parts[number]
            states = tuple([s[number] for s in given.states])
            operands = Operands(x, kernel, recurrent_kernel, bias, states, given.masks[direction])
            tape = y.new_empty((*x.shape[:2], 0)) if tape is None else tape
            check(options, operands, _calls_torch.Arriving(y, tape, None, ()))
        x = _inputs(form, parts[layer * len(form.options) : (layer + 1) * len(form.options)])


def _inputs(form: Form, before: list[_Part]) -> Tensor:
    """The inputs of a layer: the outputs of the one before it."""
    ys = [p.y.flip(1) if o.go_backwards else p.y for p, o in zip(before, form.options, strict=True)]
    return ys[0] if len(ys) == 1 else torch.cat(ys, dim=2)


# --- the weights ---------------------------------------------------------------------------------------------------


def _reordered(form: Form, weight: Tensor) -> Tensor:
    """The blocks of rows of the gates, in elman's order; or the reverse, since each order is its own inverse."""
    if form.order is None:
        return weight
    blocks = weight.chunk(len(form.order))
    return torch.cat([blocks[i] for i in form.order])


def _packed(form: Form, weights: Tensors) -> tuple[Tensor, Tensor, Tensor | None]:
    """kernel, recurrent_kernel and bias of `Operands`, of one layer in one direction. They are made in each call: a
    change of a parameter through `.data` leaves no trace by which a kept copy could be known to be old."""
    w_ih, w_hh, *biases = [_reordered(form, weight) for weight in weights]
    bias = None if not biases else torch.stack(biases) if form.two_biases else biases[0] + biases[1]
    return w_ih.t().contiguous(), w_hh.t().contiguous(), bias


def _unpacked(form: Form, gradients: list[Any]) -> list[Tensor]:
    """The gradients of the parameters, from those of `_packed`."""
    dkernel, drecurrent_kernel, dbias = gradients
    found = [dkernel.t(), drecurrent_kernel.t()]
    if dbias is not None:
        found += [dbias[0], dbias[1]] if form.two_biases else [dbias, dbias.clone()]
    return [_reordered(form, gradient) for gradient in found]
