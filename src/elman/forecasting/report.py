# SPDX-License-Identifier: Apache-2.0
"""What a run says at its end, as a dictionary, and the same as tables and sentences.

In: scores, an outcome, facts. Out: plain data that JSON can hold; and from that data alone the lines that are printed,
so that a finished run reads as it did when it ended. Nothing is computed but the verdict.
"""

from __future__ import annotations

from typing import Any

from elman.forecasting.scores import Bootstrap

NETWORK = "network"
MODELS = {
    "last_value": "same as the last value",
    "seasonal": "seasonal repeat",
    "linear": "linear model",
    NETWORK: "network",
}
_SAME = 5e-4  # of an error; a network that stays the linear model differs from it by rounding
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
        "models": scores,
        "best_baseline": best,
        "difference": difference._asdict(),
        "verdict": _verdict(scores, best, distinct=difference.distinct),
    }


def _verdict(scores: dict[str, Any], best: str, *, distinct: bool) -> str:
    change = scores[NETWORK]["rmse"] / scores[best]["rmse"] - 1 if scores[best]["rmse"] else 0.0
    if abs(change) < _SAME:
        return f"The network is not better: its error is that of {_BASELINES[best]}. Use the simpler one."
    than = f"its error is {abs(100 * change):.1f} % {'below' if change < 0 else 'above'} that of {_BASELINES[best]}"
    if distinct and change < 0:
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
    """The table of errors: model, RMSE, 95 % interval."""
    unit = f" {data['unit']}" if data["unit"] else ""
    found = []
    for name, score in data["errors"]["models"].items():
        label = MODELS[name]
        if name == "seasonal":
            label += f", period {data['period']['text']}"
        if name == NETWORK:
            both = "Bidirectional " if data["bidirectional"] else ""
            label += f" ({both}{data['layer']}, {' + '.join(map(str, data['units']))} units)"
        found.append((label, f"{score['rmse']:.4g}{unit}", f"{score['low']:.4g} to {score['high']:.4g}"))
    return found


def before(data: dict[str, Any]) -> list[str]:
    """What stands above the table."""
    parts = data["windows"]
    lines = [
        f"{data['table']['name']}: {data['table']['rows']:,} rows, {len(data['table']['features'])} columns"
        + (f", {data['table']['first']} to {data['table']['last']}" if data["table"]["first"] else ""),
        f"Forecast of {data['target']!r}, {_rows(data['ahead'])} ahead, from a window of {_rows(data['window'])}.",
        f"Windows: {parts['train']:,} to train, {parts['validation']:,} to stop by, {parts['test']:,} held out.",
        *data["notes"],
    ]
    if data["period"] is None:
        lines.append("No period found, so there is no seasonal repeat.")
    return lines


def after(data: dict[str, Any]) -> list[str]:
    """What stands below it."""
    training, seconds, route = data["training"], data["seconds_per_epoch"], data["route"]
    ran = f"native ({route['detail']})" if route["path"] == "native" else f"Keras's own operations: {route['reason']}"
    difference = f"{data['difference_from_stock']:.2g}" + (f" {data['unit']}" if data["unit"] else "")
    lines = [
        data["errors"]["verdict"],
        f"Trained {training['epochs']} epochs, the best was {training['best_epoch']}; route: {ran}.",
        f"{seconds['elman']:.3g} s per epoch, {seconds['stock']:.3g} s in stock Keras; outputs within {difference}.",
    ]
    if (memory := data.get("memory")) is not None:
        lines.append(_memory(memory, data["window"]))
    if training["interrupted"]:
        lines.insert(1, "Training was interrupted; the same command goes on with it.")
    return lines


def _memory(memory: dict[str, Any], window: int) -> str:
    if memory["horizon"] == 0:
        return "Its state plays no part in the forecast: the linear path beside it does all."
    if memory["horizon"] is None:
        return f"Memory: {memory['verdict']}. {memory['because']}"
    return f"Its state looks back {memory['horizon']} of {_rows(window)}: {memory['verdict']}."


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
