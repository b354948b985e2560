# SPDX-License-Identifier: Apache-2.0
"""`elman runs`: lists the runs of some folders with their errors, or removes those that are of no use."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.help import option
from elman.cli.screen import say, screen, table_of, usage_errors
from elman.fitting import report as of_labels
from elman.forecasting import report as of_forecasts
from elman.forecasting import runs as of_fit
from elman.forecasting.folder import RUNS
from elman.forecasting.words import counted

_prune = functools.partial(option, "With prune")
_COLUMNS = ("run", "table", "target", "ahead", "model", "error", "state", "changed", "size")
_FOLDERS = f"Runs, or folders that contain runs. The word prune before them removes some.  [default: {RUNS}]"
_KEEP = "Remove finished runs as well: all but the N best of each table, target and number of rows ahead."


def runs(
    folders: Annotated[list[str] | None, typer.Argument(metavar="FOLDER", help=_FOLDERS)] = None,
    keep: Annotated[int | None, _prune("N", _KEEP)] = None,
    yes: Annotated[bool, _prune(None, "Remove them. Without it they are only listed.", "--yes")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List and compare the runs of elman fit, or remove some.

    Runs on the same table stand together, the smallest error first. prune
    removes runs that are not finished or damaged, and nothing else: not the
    other files of a folder, and no folder that is not a run.

    \b
    elman runs
    elman runs prune --keep 1         what would be removed
    elman runs prune --keep 1 --yes   removes it
    """
    words = folders or []
    prune = words[:1] == ["prune"]
    with usage_errors():
        if not prune and (keep is not None or yes):
            raise ValueError("--keep and --yes belong to prune. Call elman runs prune, or leave them out.")
        if keep is not None and keep < 0:
            raise ValueError(f"--keep is {keep}; expected how many runs to keep, 0 or more.")
        found = of_fit.listed([Path(word) for word in words[prune:]] or _default())
        if prune:
            found = of_fit.superfluous(found, keep)
        left = [run for run in found if not of_fit.remove(run.folder)] if prune and yes else []
    if json_:
        removed = [str(run.folder) for run in found if run not in left] if prune and yes else []
        typer.echo(json.dumps({"runs": [run.to_dict() for run in found], "removed": removed}, indent=2))
        return
    _show(found)
    if prune:
        say(screen(), [_pruned(found, left, yes=yes)])


def _default() -> list[Path]:
    """The folder in which `elman fit` keeps runs, if there is one here."""
    return [Path(RUNS)] if Path(RUNS).is_dir() else []


def _show(found: Sequence[of_fit.Listed]) -> None:
    if not found:
        say(screen(), ["No runs."])
        return
    rows = [
        (
            str(run.folder),
            run.table or "",
            run.target or "",
            str(run.ahead) if run.task == "forecast" else "",
            _model(run),
            _error(run),
            run.state,
            run.changed[:16].replace("T", " "),
            f"{run.bytes / 1e6:.1f} MB",
        )
        for run in found
    ]
    screen().print(table_of(_COLUMNS, rows))


def _model(run: of_fit.Listed) -> str:
    """What the run forecasts or classifies with."""
    if run.model is None:
        return ""
    name = (of_forecasts if run.task == "forecast" else of_labels).MODELS[run.model]
    return f"{name} ({run.cell})" if run.model == "network" else name


def _error(run: of_fit.Listed) -> str:
    """Its error on what was held out."""
    if run.error_rate is not None:
        return f"{100 * run.error_rate:.1f} % wrong"
    return "" if run.rmse is None else f"RMSE {run.rmse:.4g}{f' {run.unit}' if run.unit else ''}"


def _pruned(found: Sequence[of_fit.Listed], left: Sequence[of_fit.Listed], *, yes: bool) -> str:
    """What was removed, or would be."""
    size = sum(run.bytes for run in found if run not in left) / 1e6
    what = f"{counted(len(found) - len(left), 'run')}, {size:.1f} MB"
    if not yes:
        return f"prune would remove {what}. Nothing was removed; add --yes to remove them."
    busy = f" {counted(len(left), 'run')} stayed: another process works there." if left else ""
    return f"Removed {what}.{busy}"
