# SPDX-License-Identifier: Apache-2.0
"""The task *classify*: labelled sequences in, a `Problem` of grouped and stratified folds out."""

from __future__ import annotations

import functools
from typing import Any

from elman.comparison import classifiers
from elman.comparison.asked import Asked
from elman.comparison.classify_scores import Scores
from elman.comparison.forecast import lengths
from elman.comparison.history import History
from elman.comparison.model import Choice
from elman.comparison.problem import Problem
from elman.comparison.sequences import Fold, Sequences, rolling, stratified, whole
from elman.forecasting.words import counted, listed

FOLDS, ORIGINS = 5, 3
_MODELS = {"linear": classifiers.linear, "feedforward": classifiers.feedforward}


def problem(
    task: str, name: str, sha256: str, data: Sequences, asked: Asked, said: str, *, in_time: bool = False
) -> Problem:
    """The problem.

    Args:
        task: `"classify"` or `"text"`.
        name: A word for the data.
        sha256: Of them.
        data: The sequences.
        asked: The number of folds, the window and the seed.
        said: How the task was found, and what the sequences are.
        in_time: Whether the sequences are in order of time, so that a fold learns from those before it.
    """
    if asked.window is not None:
        data = data.latest(asked.window)
    count = asked.folds or (ORIGINS if in_time else FOLDS)
    folds = rolling(data, count) if in_time else stratified(data, count, asked.seed)
    lasts = data.mask is not None
    about = [
        f"{name}: {counted(len(data.y), 'sequence')} of {'at most ' if lasts else ''}{counted(data.steps, 'step')}",
        f"Task: {said}, {counted(len(data.classes), 'class').replace('classs', 'classes')}: {listed(data.classes, 6)}.",
        f"{counted(count, 'origin')}." if in_time else f"{counted(count, 'fold')} with the same share of each class.",
    ]
    facts = {
        "name": name,
        "sha256": sha256,
        "sequences": len(data.y),
        "steps": data.steps,
        "features": None if data.x is None else data.x.shape[2],
        "symbols": data.symbols or None,
        "classes": data.classes,
    }
    return Problem(
        task,
        folds,
        lambda predictions: Scores(folds, predictions),
        (lambda: of_classify(folds[0], asked.seed).to_dict()) if task == "classify" and data.steps > 1 else None,
        about,
        [],
        facts,
        functools.partial(whole, data, asked.seed),
    )


def of_classify(fold: Fold, seed: int) -> History:
    """The validation error by how many of the last steps two plain models see."""
    steps = lengths(fold.data.steps)
    errors: dict[str, list[float]] = {name: [] for name in _MODELS}
    truth: Any = fold.data.y[fold.validation]
    for length in steps:
        short = fold._replace(data=fold.data.latest(length))
        for name, fit in _MODELS.items():
            found = fit(short, Choice(), seed).predict(fold.validation)
            errors[name].append(float((found.argmax(1) != truth).mean()))
    best = min(errors, key=lambda name: min(errors[name]))
    least = min(errors[best]) + 0.5 / len(truth)
    return History(steps, errors, next(s for s, error in zip(steps, errors[best], strict=True) if error <= least))
