# SPDX-License-Identifier: Apache-2.0
"""How elman's charts look: three colours, and lines that differ by dash, so that they can be told apart in grey.

A chart is a panel: a title, a caption and a function that draws on Matplotlib axes. Panels make a figure, or each one
by itself. No screen is needed, and pyplot's state is not touched. Matplotlib is imported when a figure is made.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, GREY, ACCENT = "#111111", "#8a8a8a", "#0b5fa5"
_WIDTH, _HEIGHT = 4.6, 3.1  # inches of a panel
_LINES = ((INK, "-"), (ACCENT, "--"), (GREY, "-."), (INK, ":"))


class Panel(NamedTuple):
    """One picture.

    Attributes:
        title: What is shown.
        caption: What is to be seen in it, in a sentence.
        draw: Draws it on axes.
        height: In inches.
    """

    title: str
    caption: str
    draw: Callable[[Any], None]
    height: float = _HEIGHT


def lines() -> Iterator[tuple[str, str]]:
    """Colours and dashes of lines, repeated without end."""
    return itertools.cycle(_LINES)


def literal(text: str) -> str:
    """Text that Matplotlib shows as it is: a name with two dollar signs is not a formula."""
    return text.replace("$", r"\$")


def finish(axes: Any) -> None:
    """Draws a light grid on Matplotlib axes, and removes the upper and the right frame line."""
    axes.grid(color=GREY, alpha=0.35, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def figure(shown: Sequence[Panel], title: str) -> Figure:
    """Panels side by side, two in a row."""
    from matplotlib.figure import Figure

    rows = max(1, -(-len(shown) // 2))
    made = Figure(figsize=(10, 0.4 + _HEIGHT * rows), layout="constrained")
    made.suptitle(literal(title), fontsize=12)
    for place, panel in enumerate(shown, start=1):
        draw(panel, made.add_subplot(rows, 2, place))
    return made


def figure_of(panel: Panel) -> Figure:
    """One panel, for a page."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(_WIDTH, panel.height), layout="constrained")
    draw(panel, made.add_subplot())
    return made


def draw(panel: Panel, axes: Any) -> None:
    """Draws one panel, with title, grid and legend."""
    panel.draw(axes)
    axes.set_title(literal(panel.title), loc="left", fontsize=10.5)
    finish(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8.5)
