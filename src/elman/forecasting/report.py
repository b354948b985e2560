# SPDX-License-Identifier: Apache-2.0
"""The report of a run, as a dictionary, and the same as tables and sentences.

In: scores, the history, facts. Out: plain data that JSON can hold. The lines that are printed are made from that data
alone, so that a finished run reads as it did when it ended. Only the verdict is computed here.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from elman.forecasting.scores import Bootstrap
from elman.forecasting.words import counted

NETWORK = "network"
MODELS = {
    "last_value": "same as the last value",
    "seasonal": "seasonal repeat",
    "linear": "linear model",
    NETWORK: "network",
}
COLUMNS = ("model", "error (RMSE)", "95 % interval")
_SAME = 5e-4  # relative; a network that stays the linear model differs from it by rounding
_BASELINES = {"last_value": "the last value", "seasonal": "the seasonal repeat", "linear": "the linear model"}


def errors(squares: dict[str, Any], ahead: int) -> dict[str, Any]:
    """The scores of all models, and whether the network and the best baseline can be told apart.

    Args:
        squares: For each model `(windows, ahead)` squared errors.
        ahead: Steps.
    """
    bootstrap = Bootstrap(len(squares[NETWORK]), ahead)
    scores = {name: bootstrap.score(values)._asdict() for name, values in squares.items()}
    best = min((name for name in scores if name != NETWORK), key=lambda name: scores[name]["rmse"])
    difference = bootstrap.difference(squares[NETWORK], squares[best])
    return {
        "windows": len(squares[NETWORK]),
        "block": bootstrap.block,
        "enough": bootstrap.enough,
        "models": scores,
        "best_baseline": best,
        "difference": difference._asdict(),
        "verdict": _verdict(scores, best, distinct=difference.distinct, enough=bootstrap.enough),
    }


def _verdict(scores: dict[str, Any], best: str, *, distinct: bool, enough: bool) -> str:
    network, baseline = scores[NETWORK]["rmse"], scores[best]["rmse"]
    if abs(network - baseline) <= _SAME * baseline:
        return f"The network is not better: its error is that of {_BASELINES[best]}. Use the simpler one."
    change = abs(network / baseline - 1) if baseline else None
    direction = "below" if network < baseline else "above"
    than = (
        f"its error is {100 * change:.1f} % {direction} that of {_BASELINES[best]}"
        if change is not None
        else (f"its error is {network:.4g}, and that of {_BASELINES[best]} is 0")
    )
    if not enough:
        return (
            f"Too few held-out windows to say which model is better: {than}, the best baseline, but that can be "
            "chance. Hold out more rows, with a longer table or a smaller ahead."
        )
    if distinct and network < baseline:
        baselines = "all three baselines" if len(scores) == len(MODELS) else "both baselines"
        return (
            f"The network beats {baselines}: {than}, the best of them, and the 95 % interval of the difference "
            "excludes zero."
        )
    if distinct:
        return f"The network is not better: {than}. Use that."
    return (
        f"The network is not better: {than}, and the 95 % interval of the difference includes zero. Use the simpler "
        "one."
    )


def rows(data: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The table of errors, in the columns `COLUMNS`; the interval is left out if there are too few windows for one."""
    unit = f" {data['unit']}" if data["unit"] else ""
    found = []
    for name, score in data["errors"]["models"].items():
        label = MODELS[name]
        if name == "seasonal":
            label += f", period {data['period']['text']}"
        if name == NETWORK:
            both = "Bidirectional " if data["bidirectional"] else ""
            label += f" ({both}{data['cell']}, {' + '.join(map(str, data['units']))} units)"
        interval = f"{score['low']:.4g} to {score['high']:.4g}" if data["errors"]["enough"] else "too few windows"
        found.append((label, f"{score['rmse']:.4g}{unit}", interval))
    return found


def before(data: dict[str, Any]) -> list[str]:
    """The lines above the table."""
    parts, table = data["windows"], data["table"]
    size = f"{counted(table['rows'], 'row')}, {counted(len(table['features']), 'column')}"
    ahead, window = counted(data["ahead"], "row"), counted(data["window"], "row")
    lines = [
        f"{table['name']}: {size}" + (f", {table['first']} to {table['last']}" if table["first"] else ""),
        f"Forecast of {data['target']!r}, {ahead} ahead, from a window of {window}.",
        f"Windows: {parts['train']:,} to train, {parts['validation']:,} to validate, {parts['test']:,} held out.",
        *data["notes"],
    ]
    if data["period"] is None:
        lines.append("No period found, so there is no seasonal repeat.")
    return lines


def after(data: dict[str, Any]) -> list[str]:
    """The lines below it."""
    training = data["training"]
    seconds = median(epoch["seconds"] for epoch in training["history"][1:])
    lines = [
        data["errors"]["verdict"],
        f"Trained {counted(training['epochs'], 'epoch')} of {seconds:.2g} s; the best was {training['best_epoch']}.",
    ]
    if (memory := data.get("memory")) is not None:
        lines.append(_memory(memory, data["window"]))
    if training["interrupted"]:
        lines.insert(1, "Training was interrupted; the same command resumes it.")
    return lines


def _memory(memory: dict[str, Any], window: int) -> str:
    if memory["horizon"] == 0:
        return "The recurrent state plays no part in the forecast: the linear path next to it makes all of it."
    if memory["horizon"] is None:
        return f"Memory: {memory['verdict']}. {memory['because']}"
    return f"Its state looks back {memory['horizon']} of {counted(window, 'row')}: {memory['verdict']}."


def text(data: dict[str, Any]) -> str:
    """The whole report as plain text."""
    table = [COLUMNS, *rows(data)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in table
    ]
    return "\n".join([*before(data), "", *lines, "", *after(data)])
