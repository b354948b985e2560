# SPDX-License-Identifier: Apache-2.0
"""Learns labels of sequences or of texts: the most frequent class, a linear model and a network, judged on folds.

In: data and the arguments of `elman.fit`. Out: a `ClassifierRun` in its folder. The data are read, cut into folds and
judged by `elman.comparison`, whose candidates these models are. A killed run goes on with the folds that it lacks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

import elman
from elman import files, progress
from elman.checks import did_you_mean
from elman.comparison import candidates, local, tasks
from elman.comparison.asked import Asked
from elman.comparison.jobs import Job, Outcome
from elman.comparison.model import Array, Choice, Model
from elman.comparison.problem import Problem
from elman.comparison.sequences import Fold
from elman.comparison.store import Store
from elman.comparison.verdict import verdict
from elman.errors import DataError
from elman.fitting import portable
from elman.fitting.run import MODELS, ClassifierRun
from elman.forecasting import facts, folder
from elman.forecasting.forecast import to_csv
from elman.forecasting.headers import free_name
from elman.forecasting.run import HELD_OUT, METRICS, MODEL, model_file, signed
from elman.forecasting.settings import Settings
from elman.forecasting.source import Form, open_table
from elman.forecasting.words import listed
from elman.network import Network
from elman.plain_values import plain
from elman.progress import Show, Stage

_MEASURE = "error rate"


class Classify(NamedTuple):
    """The arguments of `elman.fit`; see there.

    Attributes:
        settings: Those that a forecast has as well.
        task: `"classify"`, `"text"` or `"auto"`.
        label: The column of labels.
        text: The column of texts.
        by: Words or characters.
        folds: How many.
        model: One of `MODELS`, or `None`.
    """

    settings: Settings
    task: str
    label: str | None
    text: str | None
    by: str
    folds: int | None
    model: str | None

    def asked(self) -> Asked:
        """As `elman.compare` takes them.

        Raises:
            DataError: If one is of a wrong kind.
        """
        own = self.settings
        if self.model is not None and self.model not in MODELS:
            raise DataError(
                f"model is {self.model!r}; expected one of {', '.join(MODELS)}.{did_you_mean(self.model, MODELS)}"
            )
        if len(own.units) != 1:
            raise DataError(f"units is {listed(own.units)}; expected one size, since one layer classifies.")
        return Asked(
            target=own.target, task=self.task, seed=own.seed, window=own.window,
            features=own.features, time=own.time, group=own.group, folds=self.folds, label=self.label, text=self.text,
            by=self.by,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Those that decide the numbers of a run, as JSON can hold them."""
        own = self.settings.to_dict()
        names = (
            "target",
            "seed",
            "window",
            "features",
            "time",
            "group",
            "cell",
            "units",
            "seeds",
            "learning_rate",
            *Form._fields,
        )
        rest = self._asdict()
        del rest["settings"]
        return {name: own[name] for name in names} | rest

    @property
    def candidates(self) -> dict[str, str]:
        """The candidate of the comparison that each model is."""
        return dict(zip(MODELS, ("majority", "linear", self.settings.cell), strict=True))

    @property
    def choice(self) -> Choice:
        """The size and the learning rate of the network."""
        return Choice(self.settings.units[0], self.settings.learning_rate)

    @property
    def seeds(self) -> range:
        """Those of the networks."""
        return range(self.settings.seed, self.settings.seed + self.settings.seeds)


def fit(table: Any, asked: Classify, *, out: Any, fresh: bool, verbose: int | str) -> ClassifierRun:
    """Learns the labels; the arguments are those of `elman.fit`, which has their documentation."""
    checked, own = asked.asked(), asked.settings
    with progress.shown("elman.fit", verbose) as show:
        show(Stage("reading the data", 0, None))
        form = Form(own.sep, own.encoding, own.decimal)
        given = tasks.given(table if isinstance(table, tuple) else open_table(table, form), checked)
        if given.task == "forecast":
            raise DataError("the task is 'classify' without labels. Name their column with label (--label).")
        config = asked.to_dict() | {
            "task": given.task, "sha256": given.sha256, "elman": elman.__version__
        }  # fmt: skip
        path = folder.path_for(given.name, config, out)
        if (run := folder.finished(path, config, fresh=fresh, load=ClassifierRun.load)) is not None:
            return run
        problem = given.problem  # raises before a folder is made for data that cannot be used
        with folder.held(path, config, fresh=fresh, load=ClassifierRun.load) as finished:
            return finished or _run(problem, asked, path, show)


def _run(problem: Problem, asked: Classify, path: Path, show: Show) -> ClassifierRun:
    """Judges the models on the folds, fits them to everything, and writes what came of it: the metrics last, whose
    presence means that the run is finished."""
    store = Store(path, fresh=False)
    outcomes = _outcomes(problem, asked, store, show)
    predictions, notes = _predictions(problem, asked, outcomes)
    assert problem.scores is not None
    assert problem.whole is not None
    errors = _errors(problem.scores({name: [folds] for name, folds in predictions.items()}), asked, outcomes)
    use = asked.model or errors["use"]
    if use not in predictions:
        raise DataError(f"model is {use!r}, and it failed. {notes[0]}")
    show(Stage("fitting to all sequences", 1, 1))
    fold = problem.whole()
    kept = _kept(problem.task, fold, asked, list(predictions))
    folder.remove_keras_model(path)  # of an interrupted run
    for name, each in kept.items():
        each.network.save(path / model_file(name))
    kept[use].network.save(path / MODEL)
    held_out = _table(problem, asked, predictions[use])
    files.write(path / HELD_OUT, to_csv(held_out))
    last = outcomes[Job(asked.settings.cell, len(problem.folds) - 1, asked.seeds[0])].facts
    data = {
        **_facts(problem, asked),
        "notes": [*problem.notes, *notes],
        "known": fold.data.known._asdict(),
        "errors": errors,
        "model": use,
        "models": {name: {"form": each.form, "about": each.about} for name, each in kept.items()},
        "horizon": last.get("horizon"),
        "texts": [name for name, kind in held_out.schema.items() if kind == pl.String],
    }
    run = ClassifierRun(path, signed(plain(data)))
    files.write(path / METRICS, json.dumps(run.metrics, indent=2, allow_nan=False) + "\n")
    store.clear()
    return run


def _facts(problem: Problem, asked: Classify) -> dict[str, Any]:
    """What was fitted, on which data, as asked and as decided."""
    own = asked.settings
    return {
        "task": problem.task,
        "command": sys.argv,
        "seed": own.seed,
        "arguments": asked.to_dict() | {"sha256": problem.facts["sha256"], "elman": elman.__version__},
        "about": problem.about,
        "table": problem.facts,
        "label": asked.label or own.target,
        "cell": own.cell,
        "units": own.units[0],
        "folds": len(problem.folds),
        "varies": problem.folds[0].data.mask is not None,
        "versions": facts.versions(),
    }


def _outcomes(problem: Problem, asked: Classify, store: Store, show: Show) -> dict[Job, Outcome]:
    """The outcome of each model on each fold, and of the network with each seed."""
    plain_ones = [Job(name, fold, asked.settings.seed) for fold in range(len(problem.folds)) for name in MODELS[:2]]
    networks = [Job(asked.settings.cell, fold, seed) for seed in asked.seeds for fold in range(len(problem.folds))]
    todo = [(job, asked.choice) for job in (*plain_ones, *networks)]
    found: dict[Job, Outcome] = {}

    def ended(job: Job, outcome: Outcome) -> None:
        found[job] = outcome
        show(Stage(f"judging on {len(problem.folds)} folds", len(found), len(todo)))

    local.run(problem, todo, 1, store, ended)
    return found


def _predictions(
    problem: Problem, asked: Classify, outcomes: dict[Job, Outcome]
) -> tuple[dict[str, list[Array]], list[str]]:
    """For each model its probabilities on each fold, those of the network as means over seeds; a note for each model
    that failed."""
    found, notes = {}, []
    for name, candidate in asked.candidates.items():
        own = [outcome for job, outcome in outcomes.items() if job.candidate == candidate]
        failed = next((outcome.facts["failed"] for outcome in own if "failed" in outcome.facts), None)
        if failed is not None:
            notes.append(f"The {name} model failed: {failed}")
            continue
        found[name] = [
            np.mean([o.predictions for job, o in outcomes.items() if (job.candidate, job.fold) == (candidate, fold)], 0)
            for fold in range(len(problem.folds))
        ]
    return found, notes


def _errors(judge: Any, asked: Classify, outcomes: dict[Job, Outcome]) -> dict[str, Any]:
    """The scores of each model, and which one to use."""
    names = {candidate: name for name, candidate in asked.candidates.items() if name in judge.losses}
    parameters = {job.candidate: outcome.facts.get("parameters") for job, outcome in outcomes.items()}
    rows = {
        candidate: judge.row(name)
        | {"name": candidate, "recurrent": name == "network", "parameters": parameters[candidate]}
        for candidate, name in names.items()
    }
    decided = verdict(
        list(rows.values()),
        lambda candidate: judge.mean_loss(names[candidate]),
        lambda first, second, level: judge.differ(names[first], names[second], level),
        _MEASURE,
    )
    return {
        "models": {names[candidate]: row for candidate, row in rows.items()},
        "best": names[decided.best],
        "tied": [names[candidate] for candidate in decided.tied],
        "use": names[decided.recommended],
        "verdict": decided.reason,
        "by_seed": [float(np.mean(each.argmax(1) != judge.truth)) for each in _by_seed(asked, outcomes)],
    }


def _by_seed(asked: Classify, outcomes: dict[Job, Outcome]) -> list[Array]:
    """The predictions of the network of each seed on all folds; none if it failed."""
    found = []
    for seed in asked.seeds:
        own = sorted(job for job in outcomes if (job.candidate, job.seed) == (asked.settings.cell, seed))
        if not any("failed" in outcomes[job].facts for job in own):
            found.append(np.concatenate([outcomes[job].predictions for job in own]))
    return found


class Kept(NamedTuple):
    """A model that was fitted to everything.

    Attributes:
        network: It.
        form: What it reads.
        about: How it was fitted.
    """

    network: Network
    form: portable.Form
    about: list[dict[str, Any]]


def _kept(task: str, fold: Fold, asked: Classify, names: list[str]) -> dict[str, Kept]:
    """The models, fitted to all sequences."""

    def fitted(name: str, seed: int) -> Model:
        return candidates.BY_NAME[asked.candidates[name]].fits[task](fold, asked.choice, seed)

    found = {}
    for name in names:
        seeds = asked.seeds if name == "network" else asked.seeds[:1]
        models = [fitted(name, seed) for seed in seeds]
        if name == "majority":
            network, form = portable.majority(fold)
        elif name == "linear":
            network, form = portable.linear(fold, models[0])
        else:
            network, form = portable.average(fold, models)
        found[name] = Kept(network, form, [dict(model.about) for model in models])
    return found


def _table(problem: Problem, asked: Classify, predictions: list[Array]) -> pl.DataFrame:
    """The predictions of the sequences while they were held out, in their order."""
    data = problem.folds[0].data
    some = np.concatenate([fold.test for fold in problem.folds])
    order = np.argsort(some)
    some, probabilities = some[order], np.concatenate(predictions)[order]
    label = asked.label or asked.settings.target or "label"
    first = asked.settings.group or free_name("row", {label})
    names = [str(name) if asked.settings.group is not None else int(name) for name in np.asarray(data.names)[some]]
    return pl.DataFrame(
        {first: names, label: [data.classes[i] for i in data.y[some]]}
        | labelled_columns(free_name("predicted", {first, label}), probabilities, data.classes, {first, label})
    )


def labelled_columns(name: str, probabilities: Array, classes: list[str], others: Collection[object]) -> dict[str, Any]:
    """The most probable class under a name, and the probability of each class as `p_CLASS`, which ends with `_` where
    that is the name of another column."""
    found: dict[str, Any] = {name: [classes[i] for i in probabilities.argmax(1)]}
    for i, each in enumerate(classes):
        found[free_name(f"p_{each}", {*others, *found})] = probabilities[:, i]
    return found
