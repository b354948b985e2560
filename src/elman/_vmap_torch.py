# SPDX-License-Identifier: Apache-2.0
"""The rules of `elman::forward` and `elman::backward` for vmap: the mapped axis joins the batch of one native call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

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


def forward_vmap(info: Any, in_dims: Any, *operands: Any, **attributes: Any) -> Any:
    return _vmap(torch.ops.elman.forward.default, False, info, in_dims, operands, attributes)


def backward_vmap(info: Any, in_dims: Any, *tensors: Any, want_weights: bool = True, **attributes: Any) -> Any:
    attributes["want_weights"] = want_weights
    return _vmap(torch.ops.elman.backward.default, want_weights, info, in_dims, tensors, attributes)
