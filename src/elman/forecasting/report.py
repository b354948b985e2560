# SPDX-License-Identifier: Apache-2.0
"""The report of a run as tables and sentences.

In: the metrics of a run, as `metrics.json` holds them. Out: lines. They are made from that data alone, so that a
finished run reads as it did when it ended. Nothing is computed here; the verdict is in `verdict`.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from statistics import median
from typing import Any

from elman.forecasting.verdict import NAMES, NETWORK
from elman.forecasting.words import counted, listed

MODELS = {
    "last_value": "same as the last value",
    "seasonal": "seasonal repeat",
    "linear": "linear model",
    NETWORK: "network",
}
COLUMNS = ("model", "error (RMSE)", "95 % interval")
_OFF = 0.03  # between the level of an interval and its measured coverage, above which the report says so


def rows(data: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The table of errors, in the columns `COLUMNS`; the interval is left out if there are too few windows for one."""
    if "targets" not in data:
        return _rows(data, data["errors"], "")
    return [row for each in data["targets"] for row in _rows(data, each["errors"], f"{each['target']}: ")]


def _rows(data: dict[str, Any], errors: dict[str, Any], of: str) -> list[tuple[str, str, str]]:
    """The rows of one target, each of which begins with `of`."""
    unit = f" {data['unit']}" if data["unit"] else ""
    found = []
    for name, score in errors["models"].items():
        label = of + MODELS[name]
        if name == "seasonal":
            label += f", period {data['period']['text']}"
        if name == NETWORK:
            both = "Bidirectional " if data["bidirectional"] else ""
            label += f" ({both}{data['cell']}, {' + '.join(map(str, data['units']))} units)"
        few = score["high"] is None or not errors["enough"]
        interval = "too few windows" if few else f"{score['low']:.4g} to {score['high']:.4g}"
        found.append((label, f"{score['rmse']:.4g}{unit}", interval))
    return found


def target_text(data: dict[str, Any]) -> str:
    """The target in quotes, or all of them."""
    return listed(map(repr, targets_of(data)))


def targets_of(data: dict[str, Any]) -> list[str]:
    """The names of the targets of a run."""
    return data["target"] if isinstance(data["target"], list) else [data["target"]]


def before(data: dict[str, Any]) -> list[str]:
    """The lines above the table."""
    parts, table, origins = data["windows"], data["table"], data.get("origins", 1)
    size = f"{counted(table['rows'], 'row')}, {counted(len(table['features']), 'column')}"
    ahead, window = counted(data["ahead"], "row"), counted(data["window"], "row")
    lines = [
        f"{table['name']}: {size}" + (f", {table['first']} to {table['last']}" if table["first"] else ""),
        f"Forecast of {target_text(data)}, {ahead} ahead, from a window of {window}.",
        f"Windows: {parts['train']:,} to train, {parts['validation']:,} to validate, {parts['test']:,} held out"
        + (f" in {origins} blocks; the models are fitted again before each." if origins > 1 else "."),
        *data["notes"],
    ]
    if data["period"] is None:
        lines.append("No period found, so there is no seasonal repeat.")
    return lines


def after(data: dict[str, Any]) -> list[str]:
    """The lines below it."""
    lines = [data["errors"]["verdict"], *_of_each(data), _training(data)]
    if (memory := data.get("memory")) is not None:
        lines.append(_memory(memory, data["window"]))
    if "model" in data:  # not in a run of an earlier elman
        lines += [_use(data), _coverage(data["intervals"]), data["next"]]
    if data["training"]["interrupted"]:
        lines.insert(1, "Training was interrupted; the same command resumes it.")
    return lines


def _of_each(data: dict[str, Any]) -> list[str]:
    """The verdict on each of several targets."""
    return [f"{each['target']}: {each['errors']['verdict']}" for each in data.get("targets", ())]


def _training(data: dict[str, Any]) -> str:
    training = data["training"]
    seconds = median(epoch["seconds"] for epoch in training["history"][1:])
    errors = data["errors"]["models"][NETWORK].get("by_seed", [])
    if len(errors) < 2:
        return (
            f"Trained {counted(training['epochs'], 'epoch')} of {seconds:.2g} s; the best was {training['best_epoch']}."
        )
    epochs = [each["epochs"] for each in training["trainings"]]
    return (
        f"Trained {len(epochs)} networks, {min(epochs)} to {max(epochs)} epochs of {seconds:.2g} s. The forecast is "
        f"the mean over {len(errors)} seeds; the error of a single one is {min(errors):.4g} to {max(errors):.4g}, "
        f"{sum(errors) / len(errors):.4g} on average"
        f"{', in standard deviations' if 'targets' in data else ''}."
    )


def _use(data: dict[str, Any]) -> str:
    name, errors = data["model"], data["errors"]
    if name != errors["use"]:
        return f"Forecasts come from {NAMES[name]}, as was asked."
    reason = "which won" if errors["winner"] else "the best baseline, since no winner is named"
    return f"Forecasts come from {NAMES[name]}, {reason}."


def _coverage(levels: list[dict[str, Any]]) -> str:
    """How often the intervals of forecasts held the value."""
    known = [each for each in levels if each["coverage"] is not None]
    if not known:
        return "Intervals: too few held-out windows to measure how often they hold the value."
    texts = [f"the {100 * each['level']:g} % interval held {100 * each['coverage']:.1f} %" for each in known]
    off = any(abs(each["coverage"] - each["level"]) > _OFF for each in known)
    more = " The windows are too few, or change too much, for the level that they name." if off else ""
    return f"Of later held-out values, {' and '.join(texts)}.{more}"


def _memory(memory: dict[str, Any], window: int) -> str:
    if not memory["horizon"]:
        return f"Memory: {memory['verdict']}. {memory['because']}"
    return f"Its state looks back {memory['horizon']} of {counted(window, 'row')}: {memory['verdict']}."


def text(data: dict[str, Any]) -> str:
    """The whole report as plain text."""
    return "\n".join([*before(data), "", *aligned([COLUMNS, *rows(data)]), "", *after(data)])


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table as plain text: its first column is text, and the others are numbers."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in table
    ]


def as_html(columns: Sequence[str], rows: Sequence[Sequence[str]], before: Sequence[str], after: Sequence[str]) -> str:
    """The whole report for a notebook."""
    cells = "".join(f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in row)}</tr>" for row in rows)
    text = [f"<p>{html.escape(line)}</p>" for line in (*before, *after)]
    head = f"<tr>{''.join(f'<th>{name}</th>' for name in columns)}</tr>"
    return f"{''.join(text[:1])}<table>{head}{cells}</table>{''.join(text[1:])}"
