# SPDX-License-Identifier: Apache-2.0
"""A report or a comparison as one HTML page that needs nothing else: no network, no script.

In: a `Report` or a `Compared`. Out: HTML. Pictures are inline SVG whose ink is the page's own colour, so that they are
read in the dark as well; the page is one column, for a phone.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

from elman import files
from elman.diagnosis import compare, pictures, report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {pictures.INK: "currentColor", pictures.ACCENT: "var(--accent, #0b5fa5)", "#000000": "currentColor"}

_STYLE = """
:root { color-scheme: light dark; --accent: #0b5fa5; --line: #cccccc; --soft: #f3f5f7; }
@media (prefers-color-scheme: dark) { :root { --accent: #7db8ef; --line: #4a4f55; --soft: #22262b; }
  body { background: #14171a; color: #e8e8e8; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; line-height: 1.25; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.verdict { border-left: .3rem solid var(--accent); background: var(--soft); padding: .6rem .9rem; }
.verdict strong { font-size: 1.15rem; }
figure { margin: 1.2rem 0; } figcaption { font-size: .9rem; }
svg { width: 100%; height: auto; max-width: 34rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .92rem; min-width: 24rem; }
th, td { overflow-wrap: normal; text-align: left; padding: .3rem .8rem .3rem 0; }
tr { border-bottom: 1px solid var(--line); }
dt { font-weight: 600; margin-top: .6rem; } dd { margin: 0; }
"""

_MEANINGS = {
    "Change of the last output": (
        "The states of every recurrent layer are set back to the initial ones, K valid steps before the end, with the "
        "full input. What is shown is the root mean square of the change of the last output, over examples and "
        "outputs, divided by the standard deviation of the full output over examples. The horizon is the smallest K "
        "from which on it stays within 5 %."
    ),
    "Reach": (
        "|g(T-k)| / |g(T)|: the norm of the gradient with respect to all states jointly k steps back, of a loss at the "
        "last step alone, in a random direction for each example; the median, and the 10 to 90 % band (Pascanu et al. "
        "2013)."
    ),
    "Exponent and half-life": (
        "The leading Lyapunov exponent along the real input: the mean over examples of the slope of ln |g(T-k)| in k, "
        "behind the first steps, with its standard error. The half-life is ln 2 over its negative (Vogt et al. 2022)."
    ),
    "Forgetting": (
        "The distance between the states that follow from two initial states under the same input, over the distance "
        "at first; the median."
    ),
    "Saturated": "The share of values within 1 % of where the activation ends, over valid steps of 64 examples.",
}


def html_of(shown: report.Report | compare.Compared) -> str:
    """The whole page."""
    title = f"{_name(shown)}: what it remembers"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{html.escape(title)}</h1>\n{fragment(shown)}\n"
        "</main>\n</body>\n</html>\n"
    )


def write(shown: report.Report | compare.Compared, path: str | Path) -> Path:
    """Writes the page, whole or not at all, and returns where.

    Raises:
        elman.DataError: If it cannot be written.
    """
    to = Path(path)
    files.write(to, html_of(shown))
    return to


def fragment(shown: report.Report | compare.Compared) -> str:
    """What stands on the page, for a notebook's cell too."""
    if isinstance(shown, compare.Compared):
        return _compared(shown)
    lines = [line for line in shown.lines() if not line.startswith("Verdict: ")]
    given = [each.text for each in shown.advice]
    told = [line for line in lines if line not in shown.notes and not re.match(r"\d\. ", line)]
    parts = [
        f'<div class="verdict"><strong>{html.escape(shown.verdict)}</strong><br>{html.escape(shown.because)}</div>',
        *(f"<p>{html.escape(line)}</p>" for line in told),
    ]
    if given:
        parts.append(f"<h2>What to change</h2>\n<ol>{_items(given)}</ol>")
    parts.append("<h2>Curves</h2>")
    parts += _figures(pictures.panels(shown))
    parts.append(f"<h2>Layers</h2>\n{_table(report.COLUMNS, shown.rows())}")
    if shown.notes:
        parts.append(f"<h2>Notes</h2>\n<ul>{_items(shown.notes)}</ul>")
    parts.append(_definitions())
    return "\n".join(parts)


def _compared(shown: compare.Compared) -> str:
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in shown.lines())
    drawn = pictures.panels_of_two(shown.before, shown.after)
    return "\n".join(
        [f'<div class="verdict">{lines}</div>', _table(compare.COLUMNS, shown.rows()), *_figures(drawn), _definitions()]
    )


def _figures(drawn: Iterable[pictures.Panel]) -> Iterator[str]:
    for number, panel in enumerate(drawn):
        label = f"{panel.title}. {panel.says}"
        caption = f"<figcaption>{html.escape(label)}</figcaption>"
        yield f"<figure>{_svg(pictures.alone(panel), f'p{number}', label)}{caption}</figure>"


def _name(shown: report.Report | compare.Compared) -> str:
    """Of the model, or of both."""
    if isinstance(shown, report.Report):
        return shown.model
    return f"{' and '.join(dict.fromkeys((shown.before.model, shown.after.model)))}, before and after"


def _items(texts: Iterable[str]) -> str:
    return "".join(f"<li>{html.escape(text)}</li>" for text in texts)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _definitions() -> str:
    items = "".join(f"<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>" for term, text in _MEANINGS.items())
    return f"<h2>How each figure is measured</h2>\n<dl>{items}</dl>"


def _svg(figure: Figure, prefix: str, label: str) -> str:
    """A figure as SVG to stand in HTML, beside others: ids of its own, colours of the page, text as text."""
    content = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "elman"}):
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    text = content.getvalue()
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for colour, own in _COLOURS.items():
        svg = svg.replace(colour, own)
    # Text without a fill of its own is black.
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" fill="currentColor" ', 1)
