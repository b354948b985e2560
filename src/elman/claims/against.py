# SPDX-License-Identifier: Apache-2.0
"""Claims 15 and 16: a SimpleRNN against a feed-forward network, and against Markov chains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from elman.claims import tasks
from elman.claims.claim import FAILS, HOLDS, ONLY_IF, Chart, Experiment, Findings, Line
from elman.claims.estimates import mean
from elman.claims.runs import Runs
from elman.claims.tasks import Data
from elman.claims.training import UNSEEN, train
from elman.network import Dense, Flatten, Network, SimpleRNN

Array = np.ndarray
SYMBOLS = 3
WITHIN = 0.05  # of log2 of a ratio of errors: about 4 %
NATS = 0.02


def feed_forward(
    runs: Runs,
    *,
    task: Callable[[np.random.Generator, int, int], Data] = tasks.waves,
    time: int = 20,
    units: int = 16,
    examples: int = 800,
    steps: int = 500,
) -> Findings:
    """Trains a SimpleRNN and a feed-forward network on the same windows, and solves a linear model.

    Args:
        runs: The seeds.
        task: Draws the windows: generator, examples and time in, `Data` out.
        time: Steps of a window.
        units: Units of the SimpleRNN, and of the feed-forward network's hidden layer.
        examples: Windows to learn from.
        steps: Updates, with batches of 32.
    """
    readers: dict[str, list[Any]] = {
        "SimpleRNN": [SimpleRNN(units)],
        "feed-forward": [Flatten(), Dense(units, activation="tanh")],
    }

    def outcome(name: str, seed: int) -> tuple[float, float]:
        rng = np.random.default_rng(seed)
        both = task(rng, examples + UNSEEN, time)
        seen, unseen = Data(both.x[:examples], both.y[:examples]), Data(both.x[examples:], both.y[examples:])
        if name == "linear":
            return _linear(seen, unseen), 0.0
        network = Network([*readers[name], Dense(1)], seed=seed)
        found = train(network, seen, unseen, steps=steps, learning_rate=0.01, seed=seed)
        return found.error, 1000 * found.epoch

    recurrent, dense, linear = runs.grid(outcome, ["SimpleRNN", "feed-forward", "linear"])
    figures = [
        mean("error, SimpleRNN", recurrent[:, 0]),
        mean("error, feed-forward", dense[:, 0]),
        mean("error, linear model", linear[:, 0]),
        mean("milliseconds of an epoch, SimpleRNN", recurrent[:, 1]),
        mean("milliseconds of an epoch, feed-forward", dense[:, 1]),
    ]
    ratios = [
        mean("log2 of the SimpleRNN's error over that of the better of the others", np.log2(recurrent[:, 0] / other))
        for other in (dense[:, 0], linear[:, 0])
    ]
    ratio = max(ratios, key=lambda each: each.estimate)  # the same model for all seeds
    verdict = HOLDS if ratio.low > -WITHIN else FAILS
    because = (
        f"The SimpleRNN's error is {2**ratio.estimate:.2f} times that of the better of feed-forward network and "
        f"linear model, and an epoch takes {recurrent[:, 1].mean() / dense[:, 1].mean():.1f} times as long as the "
        "feed-forward network's."
    )
    return Findings(verdict, because, [*figures, ratio])


def _linear(seen: Data, unseen: Data) -> float:
    """The error of the linear model with the least squared error on the examples that are learned from."""
    rows = [np.c_[each.x.reshape(len(each.x), -1), np.ones(len(each.x))] for each in (seen, unseen)]
    weights = np.linalg.lstsq(rows[0], seen.y, rcond=None)[0]
    return float(((rows[1] @ weights - unseen.y) ** 2).mean() / unseen.y.var())


FEED_FORWARD: Experiment = Experiment(
    title="not always better than feed-forward",
    statement="A SimpleRNN is not always better than a feed-forward network on sequences.",
    prediction="Where a short window holds the answer, as in a sum of waves, its error is not below that of a "
    "feed-forward network or a linear model on the window.",
    rule="It holds if the interval of log2 of the ratio of errors is above -0.05, so that the SimpleRNN is at most 4 "
    "% better.",
    measure=feed_forward,
)


def markov(
    runs: Runs,
    *,
    orders: tuple[int, ...] = (1, 2, 3),
    chains: tuple[int, ...] = (1, 2, 3),
    units: int = 16,
    length: int = 4000,
    time: int = 10,
    steps: int = 600,
) -> Findings:
    """Draws sequences of three symbols from random sources that look some symbols back, and predicts the next symbol.

    A loss is the mean of -ln p of the symbol that came, less that of the source itself on the same symbols: nats above
    the source's entropy.

    Args:
        runs: The seeds; each has sources of its own.
        orders: How far back the sources look.
        chains: Orders of the Markov chains. The SimpleRNN is not told the order.
        units: Units of the SimpleRNN.
        length: Symbols to learn from, and to judge by.
        time: Symbols that the SimpleRNN reads.
        steps: Updates, with batches of 32.
    """

    def losses(order: int, seed: int) -> tuple[float, ...]:
        table, symbols = _source(np.random.default_rng((seed, order)), order, 2 * length + time)
        seen, unseen = symbols[:length], symbols[length:]
        at = np.arange(time, len(unseen))
        floor = -np.log(table[_codes(unseen, order)[at - order], unseen[at]]).mean()
        found = [_chain(seen, unseen, chain, at) - floor for chain in chains]
        data = _windows(seen, time)
        network = Network([SimpleRNN(units), Dense(SYMBOLS, activation="softmax")], seed=seed)
        judged = _windows(unseen, time)
        train(network, data, judged, steps=steps, learning_rate=0.01, seed=seed)
        p = network(judged.x)[np.arange(len(judged.y)), judged.y]
        return *found, float(-np.log(p).mean() - floor)

    found = dict(zip(orders, runs.grid(losses, list(orders)), strict=True))
    models = [*(f"chain of order {chain}" for chain in chains), "SimpleRNN"]
    figures = [
        mean(f"nats above the entropy, source of order {order}, {model}", found[order][:, i])
        for order in orders
        for i, model in enumerate(models)
    ]
    gains = {
        order: mean(f"chain of order {chains[0]} less SimpleRNN, source of order {order}", each[:, 0] - each[:, -1])
        for order, each in found.items()
    }
    held = [order for order, gain in gains.items() if gain.low > NATS]
    verdict = HOLDS if len(held) == len(orders) else FAILS
    if 0 < len(held) < len(orders):
        verdict = f"{ONLY_IF} the source looks {' or '.join(map(str, held))} symbols back"
    texts = [
        f"{found[order][:, -1].mean():.3f} nats above the entropy of a source of order {order}, where the chains are "
        f"{', '.join(f'{value:.3f}' for value in found[order][:, :-1].mean(axis=0))}"
        for order in orders
    ]
    because = f"The SimpleRNN is {'; '.join(texts)}."
    lines = {
        model: Line(list(map(float, orders)), [mean("", found[order][:, i]) for order in orders])
        for i, model in enumerate(models)
    }
    chart = Chart("order of the source", "nats above its entropy", lines)
    return Findings(verdict, because, [*figures, *gains.values()], chart)


def _source(rng: np.random.Generator, order: int, length: int) -> tuple[Array, Array]:
    """The probabilities of the next symbol after each of the last `order`, and symbols drawn from them."""
    table = rng.dirichlet(np.full(SYMBOLS, 0.5), SYMBOLS**order)
    table = 0.97 * table + 0.03 / SYMBOLS  # no symbol is impossible, so that no loss is infinite
    cumulated, draws = table.cumsum(axis=1), rng.random(length)
    symbols, code, size = np.zeros(length, "int64"), 0, SYMBOLS**order
    for t in range(length):
        symbols[t] = symbol = min(int(np.searchsorted(cumulated[code], draws[t])), SYMBOLS - 1)
        code = (code * SYMBOLS + symbol) % size
    return table, symbols


def _codes(symbols: Array, order: int) -> Array:
    """The number of each run of `order` symbols, by where it begins."""
    windows = np.lib.stride_tricks.sliding_window_view(symbols, order)
    return windows @ SYMBOLS ** np.arange(order)[::-1]


def _chain(seen: Array, unseen: Array, order: int, at: Array) -> float:
    """The loss of a Markov chain, whose counts begin from a half."""
    counts = np.full((SYMBOLS**order, SYMBOLS), 0.5)
    np.add.at(counts, (_codes(seen, order)[:-1], seen[order:]), 1)
    p = counts / counts.sum(axis=1, keepdims=True)
    return float(-np.log(p[_codes(unseen, order)[at - order], unseen[at]]).mean())


def _windows(symbols: Array, time: int) -> Data:
    """Windows of one-hot symbols, and the symbol after each."""
    windows = np.lib.stride_tricks.sliding_window_view(symbols[:-1], time)
    return Data(np.eye(SYMBOLS, dtype="float32")[windows], symbols[time:].copy())


MARKOV: Experiment = Experiment(
    title="like a Markov chain, with a learned state",
    statement="Like a Markov chain it predicts from the current state; unlike it, the state is learned and continuous.",
    prediction="Where the source looks further back than one symbol, a SimpleRNN is nearer to its entropy than the "
    "chain that sees the current symbol, without being told the order.",
    rule="It holds if the interval of the chain's loss less the SimpleRNN's is above 0.02 nats for every source; if "
    "for some, it holds only for those.",
    measure=markov,
)
