# SPDX-License-Identifier: Apache-2.0
"""The operations of `_plain` in PyTorch: the recurrence where the native path is not taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from elman import _plain
from elman._calls_torch import Tensors
from elman.operands import Operands
from elman.options import Options


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
