# SPDX-License-Identifier: Apache-2.0
"""The page of a comparison: plain data in, an HTML file that needs no other out. How it looks is in `elman.page`."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from elman import files, page
from elman.comparison import pictures, report

_TITLE = "Which model is worth having"

_FORECAST = {
    "RMSE": (
        "The root mean square error over all forecasts and steps ahead, in the target's units. Its interval is from a "
        "circular block bootstrap, which draws stretches of neighbouring forecasts together (Politis and Romano 1992)."
    ),
    "MASE": (
        "The mean absolute error divided by the mean absolute change over a period, or from row to row, in the "
        "training part (Hyndman and Koehler 2006). Below 1 is better than that repeat."
    ),
    "Skill": "1 - RMSE / RMSE of the reference: 0 is no better than it, 1 is perfect.",
    "Tied": (
        "Not told apart from the candidate with the least error by a Diebold-Mariano test of squared errors with the "
        "correction of Harvey, Leybourne and Newbold (1997). Its level is divided by the number of candidates "
        "(Bonferroni), so that the truly best one is among the tied in 95 of 100 comparisons."
    ),
    "Origins": (
        "Each candidate is fitted to the rows before an origin and forecasts the rows after it; then the origin rolls "
        "forward. What is learned from ends as many rows before each part as a forecast is long, so that no row is a "
        "target of both. Scales, window, period and the sizes of networks are decided on rows before the first or the "
        "fold's own origin."
    ),
}
_COMMON = {
    "Parameters, bytes": (
        "Numbers that were fitted, and the bytes of a C header that holds them and the state between rows, in float32. "
        "elman does not write boosted trees as C."
    ),
    "Training, a prediction": "Mean seconds of a fit on a fold, and the median time of one prediction in this process.",
    "Looks back": "The horizon of `elman diagnose`, on the last fold's held-out part.",
}
_CLASSIFY = {
    "Error, log loss": (
        "The share of sequences whose most probable class is wrong, and the mean of -ln of the probability of the "
        "right one. The intervals are from a bootstrap that draws whole groups of sequences; that of the error is at "
        "least Wilson's (1927)."
    ),
    "Skill": "1 - error / error of the most frequent class: 0 is no better than it, 1 is perfect.",
    "Tied": (
        "Not told apart from the candidate with the least error by a paired bootstrap of both on the same sequences. "
        "Its level is divided by the number of candidates (Bonferroni), so that the truly best one is among the tied "
        "in 95 of 100 comparisons."
    ),
    "Folds": (
        "Each fold holds out a part with the same share of each class, and learns from the others, which have a part "
        "of their own on which sizes and the end of training are decided. Scales and vocabularies are those of the "
        "training part."
    ),
}
_MEANINGS = {"forecast": _FORECAST | _COMMON, "classify": _CLASSIFY | _COMMON, "text": _CLASSIFY | _COMMON}


def write(data: dict[str, Any], path: Path) -> Path:
    """Writes the page, whole or not at all, and returns its path.

    Raises:
        elman.DataError: If it cannot be written.
    """
    files.write(path, html_of(data))
    return path


def html_of(data: dict[str, Any]) -> str:
    """The whole page."""
    versions, given = data["versions"], data["data"]
    about = f"{given['name']}, elman {versions['elman']}, seed {data['arguments']['seed']}"
    notes = [*data["notes"], f"Data: {given['sha256'][:16]} (SHA-256), NumPy {versions['numpy']}."]
    meanings = "".join(f"<dt>{html.escape(term)}</dt><dd>{text}</dd>" for term, text in _MEANINGS[data["task"]].items())
    recommended = f"Recommended: {data['recommended']}"
    parts = [
        f'<p class="about">{html.escape(about)}.</p>',
        f'<div class="verdict">{page.statement(recommended, data["reason"])}</div>',
        *(f"<p>{html.escape(line)}</p>" for line in (*data["about"], *report.after(data)[1:])),
        f"<h2>Candidates</h2>\n{page.table(*report.table(data), 'Candidates')}",
        "<p>* recommended, = tied with the best.</p>",
        f'<h2>Pictures</h2>\n<div class="charts">{"".join(page.figures(pictures.panels(data)))}</div>',
        f"<h2>Notes</h2>\n<ul>{page.items(notes)}</ul>",
        f"<h2>How each figure is measured</h2>\n<dl>{meanings}</dl>",
    ]
    return page.whole(_TITLE, f"{_TITLE}: {about}", "\n".join(parts))
