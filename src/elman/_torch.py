# SPDX-License-Identifier: Apache-2.0
"""The PyTorch adapter: checked CPU tensors in, native calls on their addresses, new tensors out.

Two ways lead to the same two native calls. Ordinary tensors go by `Eager`, the shortest way that autograd
allows. Whatever traces or transforms operations (torch.compile, torch.export, torch.func, dispatch modes,
tensor subclasses, forward-mode AD) meets the operators `elman::forward` and `elman::backward`. No maths, and
none of torch's threads: the native library has its own.
The parts are _calls_torch, _operators_torch, _vmap_torch, _autograd_torch and _plain_torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman import _calls_torch, _native, _plain_torch, route
from elman._autograd_torch import Eager, Transformed
from elman._calls_torch import Tensors, forward, is_ordinary, transforms_active
from elman._operators_torch import forward_op
from elman.operands import flat
from elman.options import Options

TRACES = True
shape, dtype, plain = _calls_torch.shape, _calls_torch.dtype, _plain_torch.plain
_HALVES = (torch.float16, torch.bfloat16)


def values(array: Tensor) -> np.ndarray | None:
    """The values of the tensor, in NumPy; `None` while it is traced or transformed and there are none yet."""
    return array.cpu().numpy() if not torch.compiler.is_compiling() and is_ordinary((array,)) else None


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
    if torch.compiler.is_compiling() and transforms_active():
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


def recurrence(options: Options, *operands: Any) -> tuple[Tensor, Tensors]:
    """The recurrence, natively: `(y, final_states)`. The operands are all fields of `Operands`.

    The caller may change y in place (`ReLU(inplace=True)`, `y += skip`), and the backward reads the outputs: so where a
    backward can follow, y is a copy of what it reads. For ordinary tensors the copy is made when y is first written.
    """
    one_by_one = flat(operands)
    tensors = [t for t in one_by_one if t is not None]
    differentiate = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or operands[0].is_meta:
        y, final_states, _ = forward_op(options, differentiate, operands)
        return y.clone() if differentiate else y, tuple(final_states)
    if not all(t.is_cpu for t in tensors):
        devices = ", ".join(sorted({str(t.device) for t in tensors}))
        raise ValueError(f"the arrays are on {devices}; expected all of them on the CPU, as x is. Move the others.")
    if not is_ordinary(tensors):
        # inside vmap it cannot be seen whether a gradient is wanted outside
        y, _, *final_states = Transformed.apply(*options, torch.is_grad_enabled(), *one_by_one)
        y = y.clone() if torch.is_grad_enabled() else y
    elif differentiate:
        y, *final_states = Eager.apply(options, *one_by_one)
    else:
        y, final_states, _ = forward(options, False, one_by_one)
    return y, tuple(final_states)
