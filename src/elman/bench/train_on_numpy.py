# SPDX-License-Identifier: Apache-2.0
"""Training with `Network.fit`, and the native calls of its recurrence alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import _native, _numpy
from elman.bench import on_numpy
from elman.bench.shapes import Array
from elman.bench.train import BARE, CHECKED, LEARNING_RATE, NETWORK, OUTPUTS, Problem, Trainer
from elman.network import Dense, Network, SimpleRNN, losses, optimizers
from elman.operands import Operands
from elman.options import Options

facts = on_numpy.facts


def network(problem: Problem, dtype: str = "float32") -> Network:
    """The model with the problem's weights."""
    net = Network([SimpleRNN(problem.units), Dense(OUTPUTS)], input_shape=problem.x.shape[1:], dtype=dtype)
    net.set_weights(dict(zip(net.weights, problem.weights, strict=True)))
    return net


def options(problem: Problem) -> dict[str, Any]:
    """Those of `fit`."""
    return {"learning_rate": LEARNING_RATE, "batch_size": problem.batch, "shuffle": False}


def trained(net: Network, problem: Problem) -> list[Array]:
    """Trains the checked steps: losses and weights."""
    history = net.fit(*problem.checked, epochs=CHECKED[0], **options(problem))
    return [np.array(history.loss), *(weight.copy() for weight in net.weights.values())]


def _network(problem: Problem) -> Trainer:
    net = network(problem)
    x, y = problem.x[: problem.batch], problem.y[: problem.batch]
    optimizer = optimizers.Adam(net.flat.size, net.dtype, LEARNING_RATE)
    loss = losses.BatchLoss(losses.named("mse"), y.shape, net.dtype)

    def step() -> float:
        op = net.op(x.shape, training=True)
        output, mask = op.forward(x, None)
        value = loss(output, y, None, mask)
        op.backward(loss.gradient)
        optimizer.step(net.flat, net.gradient)
        return value

    def epoch() -> object:
        return net.fit(problem.x, problem.y, **options(problem))

    return Trainer(lambda: trained(net, problem), step, epoch)


def _bare(problem: Problem) -> Trainer:
    kernel, recurrent_kernel, bias, *_ = problem.weights
    x = problem.x[: problem.batch]
    dkernel, drecurrent_kernel, dbias = map(np.empty_like, (kernel, recurrent_kernel, bias))
    wanted = _numpy.Results(None, dkernel, drecurrent_kernel, dbias, ())
    given = Operands(x, kernel, recurrent_kernel, bias)
    recurrence = _numpy.Recurrence(Options("simple_rnn", return_sequences=False), given, wanted)
    dy = np.ones_like(recurrence.forward(x, None))
    recurrence.backward(dy)
    (forward, first), (backward, second) = (
        (call.function, call.pack(*call.fields)) for call in (recurrence.call, recurrence.back)
    )

    def step() -> None:
        if status := forward(first) or backward(second):
            _native.raise_last_error(status)

    def epoch() -> None:
        for _ in range(len(problem.x) // problem.batch):
            step()

    # The addresses are of arrays that these closures keep.
    return Trainer(lambda: [recurrence.y, x, dy], step, epoch)


BUILD = {NETWORK: _network, BARE: _bare}
