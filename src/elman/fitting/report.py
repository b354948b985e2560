# SPDX-License-Identifier: Apache-2.0
"""The report of a run that classifies, as a table and sentences.

In: the metrics of a run, as `metrics.json` holds them. Out: lines. Nothing is computed here.
"""

from __future__ import annotations

from typing import Any

from elman.forecasting.report import aligned
from elman.forecasting.words import counted

COLUMNS = ("model", "accuracy", "95 % interval", "log loss", "parameters")
MODELS = {"majority": "most frequent class", "linear": "logistic regression", "network": "network"}


def rows(data: dict[str, Any]) -> list[tuple[str, ...]]:
    """The table of errors, in the columns `COLUMNS`."""
    found: list[tuple[str, ...]] = []
    for name, score in data["errors"]["models"].items():
        label = MODELS[name]
        if name == "network":
            label += f" ({data['cell']}, {data['units']} units)"
        interval = f"{100 * (1 - score['high']):.1f} to {100 * (1 - score['low']):.1f}"
        found.append((label, f"{_percent(score)} %", interval, f"{score['log_loss']:.3g}", f"{score['parameters']:,}"))
    return found


def before(data: dict[str, Any]) -> list[str]:
    """The lines above the table."""
    return [*data["about"], *data["notes"]]


def after(data: dict[str, Any]) -> list[str]:
    """The lines below it: the verdict first."""
    errors = data["errors"]
    lines = [errors["verdict"], use(data)]
    by_seed = [100 * (1 - error) for error in errors["by_seed"]]
    if len(by_seed) > 1:
        lines.append(
            f"The network is the mean over {len(by_seed)} seeds; a single one is right in {min(by_seed):.1f} to "
            f"{max(by_seed):.1f} %."
        )
    if data["horizon"]:
        steps = data["table"]["steps"]
        lines.append(f"Its state looks back {data['horizon']} of {'at most ' if data['varies'] else ''}{steps} steps.")
    return lines


def use(data: dict[str, Any]) -> str:
    """Which model predicts, and how often it is right."""
    name, score = data["model"], data["errors"]["models"][data["model"]]
    asked = ", as was asked" if name != data["errors"]["use"] else ""
    return (
        f"Predictions come from the {MODELS[name]}{asked}: right in {_percent(score)} % of "
        f"{counted(data['table']['sequences'], 'sequence')} while they were held out (95 % interval "
        f"{100 * (1 - score['high']):.1f} to {100 * (1 - score['low']):.1f} %). It is fitted again to all of them."
    )


def _percent(score: dict[str, Any]) -> str:
    return f"{100 * score['accuracy']:.1f}"


def text(data: dict[str, Any]) -> str:
    """The whole report as plain text."""
    return "\n".join([*before(data), "", *aligned([COLUMNS, *rows(data)]), "", *after(data)])
