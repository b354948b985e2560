# SPDX-License-Identifier: Apache-2.0
"""The page of a diagnosis, or of two: a `Content` in, HTML out. How a page looks is in `elman.page`."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from elman import charts, files, page

_MEANINGS = {
    "Change of the last output": (
        "The states of every recurrent layer are reset to the initial ones, K valid steps before the end; the input "
        "stays whole. The curve is the root mean square of the change of the last output, over examples and outputs, "
        "divided by the standard deviation of the full output over examples. The horizon is the smallest K above which "
        "it stays within 5 %."
    ),
    "Reach": (
        "|g(T-k)| / |g(T)|: the norm of the gradient with respect to all states jointly, k steps back, for a loss at "
        "the last step alone, in a random direction for each example. The curve is the median, the band 10 to 90 % "
        "(Pascanu et al. 2013)."
    ),
    "Exponent and half-life": (
        "The leading Lyapunov exponent along the real input: the slope of ln |g(T-k)| in k after the first steps, the "
        "mean over examples with its standard error. The half-life is ln 2 over its negative (Vogt et al. 2022)."
    ),
    "Forgetting": (
        "The distance between the states that follow from two initial states under the same input, relative to the "
        "distance at the start; the median over examples."
    ),
    "Saturated": "The share of values within 1 % of a limit of their activation, over valid steps of 64 examples.",
}


class Content(NamedTuple):
    """What a page shows.

    Attributes:
        title: The heading.
        about: What was measured, when, and by which version.
        statements: Verdicts, each a word and the sentence with the figures behind it.
        lines: Sentences that follow.
        advice: Changes to make, in order.
        panels: Pictures.
        columns: The heads of the table.
        rows: Its rows.
        notes: What else a reader must know.
    """

    title: str
    about: list[str]
    statements: list[tuple[str, str]]
    lines: list[str]
    advice: list[str]
    panels: list[charts.Panel]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: list[str]


def html_of(content: Content) -> str:
    """The whole page."""
    return page.whole(content.title, f"{content.title}: {', '.join(content.about)}", fragment(content))


def write(content: Content, path: str | Path) -> Path:
    """Writes the page, whole or not at all, and returns its path.

    Raises:
        elman.DataError: If it cannot be written.
    """
    to = Path(path)
    files.write(to, html_of(content))
    return to


def fragment(content: Content) -> str:
    """The page without its head and its heading; a notebook's cell shows it, too."""
    parts = [
        f'<p class="about">{html.escape(", ".join(content.about))}.</p>',
        f'<div class="verdict">{"".join(page.statement(*statement) for statement in content.statements)}</div>',
        *(f"<p>{html.escape(line)}</p>" for line in content.lines),
    ]
    if content.advice:
        parts.append(f"<h2>What to change</h2>\n<ol>{page.items(content.advice)}</ol>")
    if content.panels:
        parts.append(f'<h2>Curves</h2>\n<div class="charts">{"".join(page.figures(content.panels))}</div>')
    parts.append(f"<h2>Figures</h2>\n{page.table(content.columns, content.rows)}")
    if content.notes:
        parts.append(f"<h2>Notes</h2>\n<ul>{page.items(content.notes)}</ul>")
    parts.append(_definitions())
    return "\n".join(parts)


def _definitions() -> str:
    items = "".join(f"<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>" for term, text in _MEANINGS.items())
    return f"<h2>How each figure is measured</h2>\n<dl>{items}</dl>"
