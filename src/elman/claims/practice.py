# SPDX-License-Identifier: Apache-2.0
"""Claim 17: an embedding and a SimpleRNN for text, a SimpleRNN and dense layers for short signals, end to end.

The text is made by a grammar of reviews with negations. The signal is a recording of a walk; the task is to tell
whether a window runs forwards or backwards in time.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from elman import datasets
from elman.claims.claim import FAILS, HOLDS, ONLY_IF, Experiment, Findings
from elman.claims.estimates import Estimate, mean
from elman.claims.runs import Runs
from elman.claims.tasks import Data
from elman.claims.training import UNSEEN, train
from elman.network import Dense, Embedding, Flatten, Network, SimpleRNN

MARGIN = 0.05  # of the share of wrong answers
WORDS = (
    "", "the", "film", "food", "room", "staff", "was", "is", "and", "but", "not", "never", "very", "quite", "really",
    "good", "great", "lovely", "fine", "bad", "awful", "dull", "cold",
)  # fmt: skip
_GOOD, _BAD = WORDS[15:19], WORDS[19:]


def reviews(rng: np.random.Generator, examples: int, unseen: bool, negations: float = 0.5, clauses: int = 2) -> Data:
    """Reviews of one or two clauses, the numbers of their words, padded in front; the class is what the last one says.

    Args:
        rng: Generator.
        examples: How many.
        unseen: Whether they are to judge by; all are drawn alike.
        negations: Share of the clauses with "not" or "never", which turns a word's sense.
        clauses: At most.
    """
    number = {word: i for i, word in enumerate(WORDS)}
    x, y = np.zeros((examples, 15), "int64"), np.zeros(examples, "int64")
    for row in range(examples):
        words, good = [], True
        for clause in range(rng.integers(1, clauses + 1)):
            good, turned = bool(rng.integers(2)), rng.random() < negations
            words += [["and", "but"][rng.integers(2)]] if clause else []
            words += ["the", WORDS[rng.integers(2, 6)], ["was", "is"][rng.integers(2)]]
            words += [["not", "never"][rng.integers(2)]] if turned else []
            words += [WORDS[rng.integers(12, 15)]] if rng.random() < 0.5 else []
            pool = _GOOD if good != turned else _BAD
            words.append(pool[rng.integers(len(pool))])
        x[row, len(x[row]) - len(words) :] = [number[word] for word in words]
        y[row] = good
    return Data(x, y)


def walk(rng: np.random.Generator, examples: int, unseen: bool, time: int = 24) -> Data:
    """Windows of a recorded walk, half of them played backwards; the class is whether a window runs forwards.

    Args:
        rng: Generator.
        examples: How many.
        unseen: Whether they are to judge by: those are of the last 30 % of the recording.
        time: Steps of a window; there are 50.7 a second.
    """
    values = _recording()
    cut = int(0.7 * len(values))
    values = values[cut:] if unseen else values[:cut]
    starts = rng.integers(0, len(values) - time, examples)
    x = values[starts[:, None] + np.arange(time)]
    y = rng.integers(0, 2, examples)
    x[y == 0] = x[y == 0, ::-1]
    return Data(np.ascontiguousarray(x), y)


@functools.cache
def _recording() -> np.ndarray:
    """The walk, each column with mean 0 and standard deviation 1."""
    import polars as pl

    table = pl.read_parquet(datasets.arguments("walk")["table"]).drop("time").to_numpy()
    return ((table - table.mean(axis=0)) / table.std(axis=0)).astype("float32")


def measure(
    runs: Runs,
    *,
    text: Callable[[np.random.Generator, int, bool], Data] = reviews,
    signal: Callable[[np.random.Generator, int, bool], Data] = walk,
    units: int = 16,
    examples: int = 1024,
    steps: int = 640,
    transformer: bool = True,
    transformer_seeds: int = 3,
) -> Findings:
    """Trains a SimpleRNN, a linear model without order (text) or of the window (signal), and a small transformer.

    Args:
        runs: The seeds.
        text: Draws sentences: generator, examples and whether they are unseen in, `Data` of integers out.
        signal: Draws windows: the same, `Data` of numbers out.
        units: Units of the SimpleRNN, and the width of embedding and dense layer.
        examples: Examples to learn from.
        steps: Updates, with batches of 32.
        transformer: Whether to train a transformer, where PyTorch is installed.
        transformer_seeds: How many of the seeds it is trained from; an update takes it much longer, and it gets
            half as many.
    """
    kinds = {"text": text, "signal": signal}

    def drawn(kind: str, seed: int) -> tuple[Data, Data]:
        rng = np.random.default_rng(seed)
        return kinds[kind](rng, examples, False), kinds[kind](rng, UNSEEN, True)

    def wrong(setting: tuple[str, str], seed: int) -> float:
        kind, model = setting
        seen, unseen = drawn(kind, seed)
        size = int(max(seen.x.max(), unseen.x.max())) + 1 if kind == "text" else 0
        if model == "simple" and kind == "text":
            seen, unseen = _counted(seen, size), _counted(unseen, size)
        choices: dict[tuple[str, str], list[Any]] = {
            ("text", "SimpleRNN"): [Embedding(size or 1, units, mask_zero=True), SimpleRNN(units)],
            ("signal", "SimpleRNN"): [SimpleRNN(units), Dense(units, activation="relu")],
            ("text", "simple"): [],
            ("signal", "simple"): [Flatten()],
        }
        network = Network([*choices[setting], Dense(2, activation="softmax")], seed=seed)
        return train(network, seen, unseen, steps=steps, learning_rate=0.01, enough=0.02, seed=seed).error

    settings = [(kind, model) for kind in kinds for model in ("SimpleRNN", "simple")]
    found = dict(zip(settings, runs.grid(wrong, settings), strict=True))
    named = {"SimpleRNN": "SimpleRNN", "simple": "linear model"}
    figures = [mean(f"wrong answers, {kind}, {named[model]}", found[kind, model]) for kind, model in settings]
    gains = {
        kind: mean(
            f"wrong answers, linear model less SimpleRNN, {kind}", found[kind, "simple"] - found[kind, "SimpleRNN"]
        )
        for kind in kinds
    }
    beside, skipped = _transformer(runs, list(kinds), drawn, steps // 2, transformer_seeds if transformer else 0)
    held = [kind for kind, gain in gains.items() if gain.low > MARGIN]
    verdict = HOLDS if len(held) == len(kinds) else f"{ONLY_IF} it is a {held[0]}" if held else FAILS
    texts = [
        f"{100 * found[kind, 'SimpleRNN'].mean():.1f} % on the {kind}, the linear model "
        f"{100 * found[kind, 'simple'].mean():.1f} %"
        + (f", a small transformer {100 * beside[kind].estimate:.1f} %" if kind in beside else "")
        for kind in kinds
    ]
    because = f"The SimpleRNN gives wrong answers in {'; '.join(texts)}."
    return Findings(verdict, because, [*figures, *gains.values(), *beside.values()], skipped=skipped)


def _counted(data: Data, size: int) -> Data:
    """How often each word is there, without the padding."""
    counts = np.zeros((len(data.x), size), "float32")
    np.add.at(counts, (np.arange(len(data.x))[:, None], data.x), 1)
    counts[:, 0] = 0
    return Data(counts, data.y)


def _transformer(
    runs: Runs, kinds: list[str], drawn: Callable[[str, int], tuple[Data, Data]], steps: int, seeds: int
) -> tuple[dict[str, Estimate], tuple[str, ...]]:
    """The share of wrong answers of a transformer by task, and what was skipped."""
    if not seeds:
        return {}, ()
    if importlib.util.find_spec("torch") is None:
        return {}, ("The transformer was skipped: PyTorch is not installed.",)
    from elman.claims import transformer_on_torch

    some = runs.first(seeds)
    found = some.grid(lambda kind, seed: transformer_on_torch.wrong(*drawn(kind, seed), steps=steps, seed=seed), kinds)
    pairs = zip(kinds, found, strict=True)
    return {kind: mean(f"wrong answers, {kind}, transformer of one block", each) for kind, each in pairs}, ()


EXPERIMENT: Experiment = Experiment(
    title="in practice",
    statement="In practice: an embedding in front of it for text, dense layers after it for classification; for short "
    "signals and quick prototypes.",
    prediction="On sentences with negations, and on a recorded signal that runs forwards or backwards, a SimpleRNN "
    "gives fewer wrong answers than a linear model of the word counts or of the window. A small transformer stands "
    "next to it.",
    rule="It holds if the interval of the difference in wrong answers is above 0.05 on text and on the signal; if on "
    "one of them, it holds only there.",
    measure=measure,
)
