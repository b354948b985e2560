# SPDX-License-Identifier: Apache-2.0
"""Training with Keras on PyTorch, and with a loop over `torch.nn` written by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch

from elman.bench import on_torch
from elman.bench.shapes import Array
from elman.bench.train import CHECKED, EPSILON, LEARNING_RATE, Problem, Trainer
from elman.bench.train_with_keras import subjects

Tensor = Any
facts = on_torch.facts


def _layers(problem: Problem) -> tuple[Any, Any]:
    kernel, recurrent_kernel, bias, head, head_bias = map(torch.tensor, problem.weights)
    rnn = torch.nn.RNN(len(kernel), problem.units, batch_first=True)
    dense = torch.nn.Linear(*head.shape)
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(kernel.T)
        rnn.weight_hh_l0.copy_(recurrent_kernel.T)
        rnn.bias_ih_l0.copy_(bias)
        rnn.bias_hh_l0.zero_().requires_grad_(False)  # the model has one bias
        dense.weight.copy_(head.T)
        dense.bias.copy_(head_bias)
    return rnn, dense


def _loop(problem: Problem) -> Trainer:
    rnn, dense = _layers(problem)
    weights = [rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0, dense.weight, dense.bias]
    optimizer = torch.optim.Adam(weights, lr=LEARNING_RATE)
    x, y = torch.tensor(problem.x), torch.tensor(problem.y)
    steps = itertools.count(1)

    def step(x: Tensor, y: Tensor) -> Tensor:
        # Keras adds epsilon to sqrt(v), torch to sqrt(v / (1 - 0.999^t)).
        optimizer.param_groups[0]["eps"] = EPSILON / math.sqrt(1 - 0.999 ** next(steps))
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(dense(rnn(x)[0][:, -1]), y)
        loss.backward()
        optimizer.step()
        return loss

    def epoch(x: Tensor, y: Tensor) -> list[Tensor]:
        pairs = zip(x.split(problem.batch), y.split(problem.batch), strict=True)
        return [step(*pair).detach() for pair in pairs]

    def results() -> list[Array]:
        checked = list(map(torch.tensor, problem.checked))
        losses = [float(torch.stack(epoch(*checked)).mean()) for _ in range(CHECKED[0])]
        kernel, recurrent_kernel, bias, head, head_bias = (weight.detach().numpy().copy() for weight in weights)
        return [np.array(losses), kernel.T, recurrent_kernel.T, bias, head.T, head_bias]

    first = x[: problem.batch], y[: problem.batch]
    return Trainer(results, lambda: step(*first), lambda: epoch(x, y))


BUILD = {**subjects("torch"), "loop in torch": _loop}
