# SPDX-License-Identifier: Apache-2.0
"""The native calls of the PyTorch adapter: tensors in, addresses to the library, new tensors out.

In: checked tensors on the CPU. Out: results, and what the library refuses as an exception. No autograd and no operator
of torch is here; which tensors may come this way directly is what `is_ordinary` says.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from elman import _native
from elman.operands import pair
from elman.options import Options

Tensors = tuple[Tensor, ...]
Flat = tuple[Any, ...]  # the operands one by one, in the order of `operands.FLAT`
DTYPES = {d: str(d).removeprefix("torch.") for d in vars(torch).values() if isinstance(d, torch.dtype)}


def shape(array: Tensor) -> tuple[int, ...]:
    """The shape; symbolic sizes stay symbolic."""
    return tuple(array.shape)


def dtype(array: Tensor) -> str:
    """The name of the dtype, as NumPy spells it."""
    return DTYPES[array.dtype]


class Arriving(NamedTuple):
    """What a backward takes besides the operands: results of the forward, and the gradients of the loss with respect
    to them, `None` for zeros."""

    y: Any
    tape: Any
    dy: Any
    dfinal_states: Any


def forward(
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


def backward(
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
        DTYPES[x.dtype],
        "none" if mask is None else _native.MASK_OF_DTYPE[DTYPES[mask.dtype]],
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

# These are private to torch, so each may be missing. Then no tensor is ordinary, which is slower and still correct.
transforms_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)
_dispatch_modes = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 1)
_ORDINARY = frozenset({Tensor, torch.nn.Parameter, type(None)})


def is_ordinary(tensors: list[Any] | tuple[Any, ...]) -> bool:
    """True if only the backward mode of autograd can follow these tensors."""
    return not (
        transforms_active()
        or _dispatch_modes()
        or getattr(forward_ad, "_current_level", 0) >= 0
        or not _ORDINARY.issuperset(map(type, tensors))
    )
