# SPDX-License-Identifier: Apache-2.0
"""elman, stock Keras and torch.nn on PyTorch, eagerly: the forward without autograd, the backward with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch

import elman
from elman.bench.shapes import Array, Problem
from elman.bench.worker import Calls
from elman.cells import CELLS

Tensor = Any


def facts() -> dict[str, Any]:
    """Versions and threads."""
    return {
        "versions": {"torch": str(torch.__version__), "keras": keras.__version__},
        "threads": torch.get_num_threads(),
    }


def _elman(problem: Problem) -> Calls:
    function = getattr(elman, problem.cell)
    weights = [torch.tensor(array, requires_grad=True) for array in problem.weights]
    return _eager(lambda x: function(x, *weights, native="require")[0], weights, problem)


def _keras(problem: Problem) -> Calls:
    stock = getattr(keras.layers, CELLS[problem.cell].keras)(problem.units, return_sequences=True, dtype="float32")
    stock.build(problem.x.shape)
    stock.set_weights(list(problem.weights))
    return _eager(stock, [variable.value for variable in stock.trainable_variables], problem)


def _torch_nn(problem: Problem) -> Calls:
    kernel, recurrent_kernel, bias = (torch.tensor(_swapped(problem, array)) for array in problem.weights)
    stock = getattr(torch.nn, CELLS[problem.cell].torch)(len(kernel), problem.units, batch_first=True)
    first, second = bias if bias.dim() == 2 else (bias, torch.zeros_like(bias))
    with torch.no_grad():
        stock.weight_ih_l0.copy_(kernel.T)
        stock.weight_hh_l0.copy_(recurrent_kernel.T)
        stock.bias_ih_l0.copy_(first)
        stock.bias_hh_l0.copy_(second).requires_grad_(bias.dim() == 2)  # else the second bias is not asked of it
    weights = [stock.weight_ih_l0, stock.weight_hh_l0, stock.bias_ih_l0, *[stock.bias_hh_l0] * (bias.dim() == 2)]
    calls = _eager(lambda x: stock(x)[0], weights, problem)

    def arrays(y: Tensor, y_and_gradients: tuple[Tensor, ...]) -> list[Array]:
        y, again, dkernel, drecurrent_kernel, *dbias = calls.arrays(y, y_and_gradients)
        gradients = (dkernel.T, drecurrent_kernel.T, np.stack(dbias) if bias.dim() == 2 else dbias[0])
        return [y, again, *(_swapped(problem, array) for array in gradients)]

    return calls._replace(arrays=arrays)


def _swapped(problem: Problem, array: Array) -> Array:
    """The gates in torch's order, or back: the two orders differ by swaps at most, so one function does both."""
    cell = CELLS[problem.cell]
    blocks = dict(zip(cell.gates, np.split(array, len(cell.gates), axis=-1), strict=True))
    return np.concatenate([blocks[gate] for gate in cell.torch_gates], axis=-1)


def _eager(layer: Callable[[Tensor], Tensor], weights: list[Tensor], problem: Problem) -> Calls:
    x, dy = torch.tensor(problem.x), torch.tensor(problem.dy)

    def forward() -> Tensor:
        with torch.inference_mode():
            return layer(x)

    def forward_backward() -> tuple[Tensor, ...]:
        y = layer(x)
        return y, *torch.autograd.grad(y, weights, dy)

    def arrays(y: Tensor, y_and_gradients: tuple[Tensor, ...]) -> list[Array]:
        return [array.detach().numpy() for array in (y, *y_and_gradients)]

    return Calls(forward, forward_backward, arrays)


BUILD = {"elman on torch": _elman, "keras on torch": _keras, "torch.nn": _torch_nn}
