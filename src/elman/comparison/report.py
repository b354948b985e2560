# SPDX-License-Identifier: Apache-2.0
"""The report of a comparison as sentences and as a table of texts, from its plain data."""

from __future__ import annotations

from typing import Any

from elman.forecasting.words import counted, listed

_MEASURES = {"forecast": "error (RMSE)", "classify": "error", "text": "error"}


def before(data: dict[str, Any]) -> list[str]:
    """The lines above the table: what was compared."""
    return [*data["about"], *data["notes"]]


def after(data: dict[str, Any]) -> list[str]:
    """The lines below it: the recommendation first."""
    lines = [data["reason"]]
    if len(data["tied"]) > 1:
        lines.append(
            f"Tied with the best, {100 * data['sure']:.0f} % sure that the truly best is among them: "
            f"{listed(data['tied'])}."
        )
    if data["history"] is not None:
        lines.append(_history(data))
    return lines


def _history(data: dict[str, Any]) -> str:
    history = data["history"]
    horizons = [f"{row['name']} {row['horizon']}" for row in data["rows"] if row.get("horizon")]
    looks = f" Steps that the recurrent networks look back: {listed(horizons)}." if horizons else ""
    enough = counted(history["enough"], "step")
    if history["enough"] < history["steps"][-1]:
        return f"A history of {enough} is enough: a longer one hardly helps.{looks}"
    return f"The longest history, {enough}, is the best; a longer one may help more (--window).{looks}"


def table(data: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The heads of the table and its rows, as texts."""
    forecast = data["task"] == "forecast"
    head = (
        "candidate", _MEASURES[data["task"]], "95 % interval", "MASE" if forecast else "log loss",
        f"skill against {data['reference']}" if data["reference"] else "skill", "parameters", "training",
        "a prediction", "as a C header", "looks back",
    )  # fmt: skip
    return head, [_row(row, data) for row in data["rows"]]


def _row(row: dict[str, Any], data: dict[str, Any]) -> tuple[str, ...]:
    if row["status"] != "compared":
        return (row["name"], row["status"], row["why"], "", "", "", "", "", "", "")
    forecast, unit = data["task"] == "forecast", f" {data['unit']}" if data["unit"] else ""
    scale = 1 if forecast else 100
    percent = "" if forecast else " %"
    mark = "* " if row["name"] == data["recommended"] else "= " if row["name"] in data["tied"] else ""
    skill = row["skill"]
    return (
        f"{mark}{row['name']}",
        f"{scale * row['error']:.4g}{percent}{unit}",
        f"{scale * row['low']:.4g} to {scale * row['high']:.4g}",
        f"{row['mase' if forecast else 'log_loss']:.3g}",
        "" if skill is None else f"{skill:.3f} ({row['skill_low']:.3f} to {row['skill_high']:.3f})",
        f"{row['parameters']:,}",
        f"{row['seconds']:.2g} s",
        f"{row['microseconds']:,.0f} us",
        "" if row["header_bytes"] is None else f"{row['header_bytes']:,} bytes",
        "" if row["horizon"] is None else counted(row["horizon"], "step"),
    )
