# SPDX-License-Identifier: Apache-2.0
"""`elman.compare`: data in, an honest table of candidates and a recommendation out.

The order is: arguments, data, folder; searches; fits; scores; the verdict; files. Every outcome is stored when its job
ends. No framework.
"""

from __future__ import annotations

import contextlib
import functools
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import elman
from elman import tracking
from elman.comparison import candidates, local, on_ray, tasks
from elman.comparison.asked import Asked
from elman.comparison.candidates import Candidate
from elman.comparison.jobs import Job, Outcome
from elman.comparison.model import Choice
from elman.comparison.problem import Problem
from elman.comparison.result import Comparison
from elman.comparison.store import PAGE, RESULT, Store
from elman.comparison.verdict import SURE, verdict
from elman.errors import DataError
from elman.forecasting import folder
from elman.forecasting.words import listed
from elman.plain_values import plain

_MEASURES = {"forecast": "RMSE", "classify": "error rate", "text": "error rate"}


def compare(
    table: Any,
    target: Any = None,
    task: str = "auto",
    seed: int = 0,
    *,
    ahead: int = 1,
    window: int | None = None,
    features: Sequence[str] | None = None,
    time: str | None = None,
    group: str | None = None,
    fill: str | None = None,
    unit: str | None = None,
    folds: int | None = None,
    seeds: int = 1,
    trials: int = 4,
    only: Sequence[str] | None = None,
    label: str | None = None,
    text: str | None = None,
    by: str = "auto",
    exclude: Sequence[str] | None = None,
    sort: bool = False,
    duplicates: str | None = None,
    sep: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    calendar: bool = False,
    known: Sequence[str] | None = None,
    ray: str | None = None,
    mlflow: bool = False,
    out: Any = None,
    fresh: bool = False,
    tell: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compares models of many kinds on data, from the last value to an LSTM, and recommends the smallest good one.

    A forecast is judged at origins that roll forward. Everything that is estimated, from scales to windows, is
    estimated on rows that end as many rows before the first one that is judged as a forecast is long. Each network gets
    the same small search. The candidates that cannot be told apart from the best by a Diebold-Mariano test are tied,
    and the smallest of them is recommended. A killed comparison goes on where it stopped, to the same table. Sequences
    and texts with labels are classified: the folds are stratified, and pairs are compared by a paired bootstrap.

    Args:
        table: Any kind of table that `elman.fit` takes: the path of a file, a NumPy array `(rows, columns)`, or a
            pandas or Polars frame. Or `(x, y)` to classify: x `(sequences, time, features)`, a list of arrays
            `(time, features)` of any lengths, integers `(sequences, time)` for categories, or a list of texts; y a
            label for each. A third array names what must not be parted by a fold, such as the person that several
            sequences come from.
        target: The column to forecast. It may be left out if the table has one column of numbers.
        task: `"forecast"`, `"classify"` or `"text"`; `"auto"` finds it by what is passed.
        seed: Seed of first weights, of the order of examples, and of searches.
        ahead: Rows to forecast, all at once.
        window: Rows that candidates see. `None` chooses them by how far back memory helps.
        features: Columns that they see. `None` takes every column of numbers.
        time: The column of times or row numbers. `None` takes the first one that looks so.
        group: The column that tells several series apart.
        fill: What to do with empty cells and gaps in time: `"previous"` fills them, `"split"` leaves their rows out,
            `"keep"` takes rows as they come; `None` raises an error.
        unit: The target's unit, for the report.
        folds: Parts to judge on; `None` for 3 origins of a forecast, and 5 folds to classify.
        seeds: How often each candidate is fitted to each fold; losses are means over seeds.
        trials: Of the search of each network. 1 takes the defaults.
        only: Names of candidates, or `None` for all.
        label: The column of labels, for a table to classify. With `group` a sequence is the rows of a group, in order;
            without it a row, whose columns are the steps.
        text: The column of texts to classify.
        by: `"words"` or `"characters"` of texts, or `"auto"`.
        exclude: Columns that are left out of a forecast.
        sort: Whether to sort the rows of a forecast by time first.
        duplicates: Which row to keep of several with one time: `"first"`, `"last"`, or the `"mean"` of all; `None`
            raises an error. Of a forecast.
        sep: The separator of a text file, `" "` for any number of blanks. `None` finds it in the header.
        encoding: Of a text file, such as `"latin-1"`. `None` is UTF-8.
        decimal: The decimal mark of numbers, `"."` or `","`; the other one then separates thousands. `None` finds it.
        calendar: Whether a forecast sees the place of each row in the hour, the day, the week and the year.
        known: Columns whose values are known before. A forecast sees those of the rows ahead, as that of `elman.fit`.
        ray: The address of a Ray cluster, or `"local"` to start Ray here: fits are its tasks. The figures are the same.
        mlflow: Whether the arguments, the figures of each candidate and the page are logged with MLflow when the
            comparison has ended, where its own settings say.
        out: The run's folder. `None` names it by the data and the arguments, in `elman-runs`.
        fresh: Whether to start again, even if the folder holds this comparison.
        tell: Called after each fit with how many have ended, and how many there are.

    Returns:
        The comparison: `.recommended`, `.reason`, `.tied`, `.rows`, `.lines()`, `.to_html(path)`, `.to_dict()`.

    Raises:
        elman.DataError: If the table, an argument or the folder cannot be used, or no Ray cluster answers; a
            `ValueError`.
        ImportError: If `ray` or `mlflow` is passed, and Ray or MLflow is not installed.

    Example:

        found = elman.compare("beach.csv", target="temp", ahead=24)
        print(found.recommended, found.reason)
    """
    if mlflow:
        tracking.check()
    asked = Asked(
        target=target, task=task, seed=seed, ahead=ahead, window=window, features=features, time=time, group=group,
        fill=fill, unit=unit, folds=folds, seeds=seeds, trials=trials, only=only, label=label, text=text, by=by,
        exclude=exclude, sort=sort, duplicates=duplicates, sep=sep, encoding=encoding, decimal=decimal,
        calendar=calendar, known=known,
    )  # fmt: skip
    given = tasks.given(table, asked)
    rows = candidates.chosen(given.task, asked.only)
    config = asked.to_dict() | {"comparison": given.task, "sha256": given.sha256, "elman": elman.__version__}
    path = folder.path_for(f"{given.name}-compared", config, out)
    if fresh or not path.exists():
        _ = given.problem  # raises before a folder is made, or replaced, for data that cannot be used
    with folder.held(path, config, fresh=fresh):
        store = Store(path, fresh=fresh)
        data = store.finished()
        if data is None:
            with contextlib.nullcontext() if ray is None else on_ray.connected(ray):
                work = local.run if ray is None else on_ray.run
                data = _compared(given.problem, rows, asked, functools.partial(work, store=store), tell)
            data = store.finish(data)
    found = Comparison(data, path)
    if mlflow:
        _log(found, given.name)
    return found


def _log(found: Comparison, name: str) -> None:
    """Logs a comparison with MLflow."""
    data = found.to_dict()
    figures = {
        f"{figure}/{row['name']}": row[key]
        for row in found.rows
        if row["status"] == "compared"
        for key, figure in (("error", _MEASURES[found.task]), ("skill", "skill"), ("seconds", "seconds"))
    }
    tags = {"recommended": found.recommended, "reason": found.reason, "task": found.task}
    page = found.to_html(found.folder / PAGE)
    tracking.log(name, data["arguments"], figures, tags, [page, found.folder / RESULT])


def _compared(
    problem: Problem,
    rows: Sequence[Candidate],
    asked: Asked,
    work: Callable[..., None],
    tell: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """Does the jobs, and judges their outcomes. `work` is the `run` of `local` or `on_ray`."""
    able = [candidate for candidate in rows if candidate.skipped is None]
    searches = [Job(each.name, -1, asked.seed) for each in able if each.searched and asked.trials > 1]
    fits = [
        Job(each.name, fold, asked.seed + number)
        for number in range(asked.seeds)
        for fold in range(len(problem.folds))
        for each in able
    ]
    total = len(searches) + len(fits)
    outcomes: dict[Job, Outcome] = {}

    def ended(job: Job, outcome: Outcome) -> None:
        outcomes[job] = outcome
        if tell is not None:
            tell(len(outcomes), total)

    work(problem, [(job, Choice()) for job in searches], asked.trials, ended=ended)
    choices = {job.candidate: Choice(**outcomes[job].facts.get("choice", {})) for job in searches}
    work(problem, [(job, choices.get(job.candidate, Choice())) for job in fits], asked.trials, ended=ended)
    return _judged(problem, rows, outcomes, asked)


def _judged(
    problem: Problem, rows: Sequence[Candidate], outcomes: Mapping[Job, Outcome], asked: Asked
) -> dict[str, Any]:
    """The whole result as plain data."""
    found = {candidate.name: _row(candidate, outcomes, len(problem.folds)) for candidate in rows}
    compared = [name for name, row in found.items() if row["status"] == "compared"]
    if not compared:
        reasons = listed(f"{name} ({row['why']})" for name, row in found.items())
        raise DataError(f"no candidate has a result: {reasons}. Choose others with only (--only), or leave it out.")
    assert problem.scores is not None
    scores = problem.scores({name: _predictions(name, problem, outcomes, asked) for name in compared})
    for name in compared:
        found[name] |= {"skill": None, "skill_low": None, "skill_high": None} | scores.row(name)
    decided = verdict([found[name] for name in compared], scores.mean_loss, scores.differ, _MEASURES[problem.task])
    best_first = sorted(compared, key=scores.mean_loss)
    others = [name for name in found if name not in best_first]
    for name in compared:
        found[name] |= {"tied": name in decided.tied, "recommended": name == decided.recommended}
    return plain(
        {
            "task": problem.task,
            "recommended": decided.recommended,
            "reason": decided.reason,
            "best": decided.best,
            "tied": decided.tied,
            "sure": SURE,
            "reference": scores.reference,
            "rows": [found[name] for name in (*best_first, *others)],
            "unit": asked.unit,
            "history": None if problem.history is None else problem.history(),
            "about": problem.about,
            "notes": problem.notes,
            "data": problem.facts,
            "arguments": asked.to_dict(),
            "command": sys.argv,
            "versions": {"elman": elman.__version__, "python": platform.python_version(), "numpy": np.__version__},
        }
    )


def _predictions(name: str, problem: Problem, outcomes: Mapping[Job, Outcome], asked: Asked) -> list[list[np.ndarray]]:
    """For each seed the predictions of each fold."""
    return [
        [outcomes[Job(name, fold, asked.seed + number)].predictions for fold in range(len(problem.folds))]
        for number in range(asked.seeds)
    ]


def _row(candidate: Candidate, outcomes: Mapping[Job, Outcome], folds: int) -> dict[str, Any]:
    """What a candidate costs, or why it has no result."""
    row: dict[str, Any] = {"name": candidate.name, "recurrent": candidate.recurrent}
    if candidate.skipped is not None:
        return row | {"status": "skipped", "why": candidate.skipped}
    own = {job: outcomes[job] for job in sorted(outcomes) if job.candidate == candidate.name}
    for status in ("failed", "skipped"):
        if why := [outcome.facts[status] for outcome in own.values() if status in outcome.facts]:
            return row | {"status": status, "why": why[0]}
    fits = {job: outcome.facts for job, outcome in own.items() if job.fold >= 0}
    last = next(facts for job, facts in fits.items() if job.fold == folds - 1)
    return row | {
        "status": "compared",
        "parameters": last["parameters"],
        "header_bytes": last["header_bytes"],
        "seconds": float(np.mean([facts["seconds"] for facts in fits.values()])),
        "microseconds": float(np.median([facts["microseconds"] for facts in fits.values()])),
        "horizon": last["horizon"],
        "about": last["about"],
    }
