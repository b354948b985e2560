# SPDX-License-Identifier: Apache-2.0
"""One HTML page that needs no other file: no network, no script.

In: a `Content`. Out: HTML. Pictures are inline SVG whose ink is the page's own colour, so that they can be read on a
dark page as well. On a wide screen two pictures stand in a row, on a phone one.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import matplotlib

from elman import charts, files
from elman.diagnosis import pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {charts.INK: "currentColor", charts.ACCENT: "var(--accent, #0b5fa5)", "#000000": "currentColor"}

# A table that is too wide for the screen has a shadow at the edge where more of it is, and a line that says so.
_STYLE = """
:root { color-scheme: light dark; --accent: #0b5fa5; --line: #cccccc; --soft: #f3f5f7; --paper: #ffffff;
  --shade: #0004; }
@media (prefers-color-scheme: dark) { :root { --accent: #7db8ef; --line: #4a4f55; --soft: #22262b; --paper: #14171a;
  --shade: #fff6; } body { color: #e8e8e8; } }
body { background: var(--paper); font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto;
  padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; line-height: 1.25; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p, ol, ul, dl { max-width: 46rem; }
.about { margin-top: 0; font-size: .9rem; }
.verdict { border-left: .3rem solid var(--accent); background: var(--soft); padding: .6rem .9rem; max-width: 46rem; }
.verdict strong { font-size: 1.15rem; } .verdict p { margin: .3rem 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 0 2rem;
  align-items: start; }
figure { margin: 1rem 0; max-width: 36rem; } figcaption { font-size: .9rem; }
svg { width: 100%; height: auto; }
.hint { display: none; font-size: .9rem; margin-bottom: 0; }
@media (max-width: 40rem) { .hint { display: block; } }
.wide { overflow-x: auto; background: linear-gradient(to right, var(--paper) 2rem, transparent) left / 4rem 100% local,
  linear-gradient(to left, var(--paper) 2rem, transparent) right / 4rem 100% local,
  linear-gradient(to right, var(--shade), transparent) left / .8rem 100% scroll,
  linear-gradient(to left, var(--shade), transparent) right / .8rem 100% scroll; background-repeat: no-repeat; }
table { border-collapse: collapse; font-size: .92rem; min-width: 34rem; }
th, td { overflow-wrap: normal; text-align: left; padding: .3rem .8rem .3rem 0; }
tr { border-bottom: 1px solid var(--line); }
dt { font-weight: 600; margin-top: .6rem; } dd { margin: 0; }
"""

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
    panels: list[pictures.Panel]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: list[str]


def html_of(content: Content) -> str:
    """The whole page."""
    title = html.escape(f"{content.title}: {', '.join(content.about)}")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{html.escape(content.title)}</h1>\n"
        f"{fragment(content)}\n</main>\n</body>\n</html>\n"
    )


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
        f'<div class="verdict">{"".join(_statement(*statement) for statement in content.statements)}</div>',
        *(f"<p>{html.escape(line)}</p>" for line in content.lines),
    ]
    if content.advice:
        parts.append(f"<h2>What to change</h2>\n<ol>{_items(content.advice)}</ol>")
    if content.panels:
        parts.append(f'<h2>Curves</h2>\n<div class="charts">{"".join(_figures(content.panels))}</div>')
    parts.append(f"<h2>Figures</h2>\n{_table(content.columns, content.rows)}")
    if content.notes:
        parts.append(f"<h2>Notes</h2>\n<ul>{_items(content.notes)}</ul>")
    parts.append(_definitions())
    return "\n".join(parts)


def _statement(word: str, sentence: str) -> str:
    return f"<p><strong>{html.escape(word)}</strong><br>{html.escape(sentence)}</p>"


def _figures(panels: Iterable[pictures.Panel]) -> Iterator[str]:
    for number, panel in enumerate(panels):
        picture = _svg(pictures.figure_of(panel), f"p{number}", f"{panel.title}. {panel.caption}")
        yield f"<figure>{picture}<figcaption>{html.escape(panel.caption)}</figcaption></figure>"


def _items(texts: Iterable[str]) -> str:
    return "".join(f"<li>{html.escape(text)}</li>" for text in texts)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        '<p class="hint">Scroll the table sideways to see every column.</p>\n'
        '<div class="wide" role="region" aria-label="Figures" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _definitions() -> str:
    items = "".join(f"<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>" for term, text in _MEANINGS.items())
    return f"<h2>How each figure is measured</h2>\n<dl>{items}</dl>"


def _svg(figure: Figure, prefix: str, label: str) -> str:
    """A figure as SVG inside HTML: ids that no other figure has, colours of the page, text as text."""
    content = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "elman"}):
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    text = content.getvalue()
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for colour, own in _COLOURS.items():
        svg = svg.replace(colour, own)
    # Text that has no fill of its own would be black.
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" fill="currentColor" ', 1)
