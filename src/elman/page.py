# SPDX-License-Identifier: Apache-2.0
"""One HTML page that needs no other file: no network, no script.

In: text, tables and panels. Out: HTML. Pictures are inline SVG whose ink is the page's own colour, so that they can be
read on a dark page as well. On a wide screen two pictures stand in a row, on a phone one.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import matplotlib

from elman import charts

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


def whole(heading: str, title: str, body: str) -> str:
    """The page.

    Args:
        heading: Its first line, as text.
        title: What a browser's tab shows, as text.
        body: What follows the heading, as HTML.
    """
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{html.escape(heading)}</h1>\n"
        f"{body}\n</main>\n</body>\n</html>\n"
    )


def statement(word: str, sentence: str) -> str:
    """A verdict, and the sentence with the figures behind it."""
    return f"<p><strong>{html.escape(word)}</strong><br>{html.escape(sentence)}</p>"


def figures(panels: Iterable[charts.Panel], prefix: str = "p") -> Iterator[str]:
    """Pictures with captions. Ids inside a picture begin with `prefix`, which no other picture of the page may have."""
    for number, panel in enumerate(panels):
        picture = _svg(charts.figure_of(panel), f"{prefix}{number}", f"{panel.title}. {panel.caption}")
        yield f"<figure>{picture}<figcaption>{html.escape(panel.caption)}</figcaption></figure>"


def items(texts: Iterable[str]) -> str:
    """The items of a list."""
    return "".join(f"<li>{html.escape(text)}</li>" for text in texts)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], label: str = "Figures") -> str:
    """A table that scrolls sideways where the screen is narrow.

    Args:
        columns: Its heads.
        rows: Its rows.
        label: What a screen reader calls it.
    """
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        '<p class="hint">Scroll the table sideways to see every column.</p>\n'
        f'<div class="wide" role="region" aria-label="{html.escape(label)}" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


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
