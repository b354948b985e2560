# SPDX-License-Identifier: Apache-2.0
"""Names of lines, written above or below them with a thin line to the place where each is clear of the others.

In: axes and lines with the same places. Out: texts in room that is made above and below all lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

_ROOM = 0.17  # above and below, as a share of the height of the lines
_APART = 0.27  # of the width, between the middles of two names
_EDGE = 0.13  # of the width, where the middle of a name would push it out of the picture


class Line(NamedTuple):
    """A line that gets its name.

    Attributes:
        name: The text.
        y: Its heights.
        colour: That of the line.
    """

    name: str
    y: np.ndarray
    colour: str


def name_lines(axes: Any, x: np.ndarray, lines: Sequence[Line], style: dict[str, Any]) -> None:
    """Makes room on the axes, and writes the name of each line.

    Args:
        axes: Matplotlib axes whose limits hold all that is drawn.
        x: The places of the lines' points.
        lines: Heights at these places.
        style: How texts are written.
    """
    low, high = axes.get_ylim()
    room = _ROOM * (high - low)
    axes.set_ylim(low - room, high + room)
    left, right = axes.get_xlim()
    share = (np.asarray(axes.convert_xunits(x), "float64") - left) / (right - left)
    taken: list[tuple[bool, float]] = []
    for line, others in _with_others(lines):
        at, above = _clearest(share, line.y, others, taken)
        taken.append((above, share[at]))
        axes.annotate(
            line.name,
            (x[at], line.y[at]),
            xytext=(x[at], high + 0.45 * room if above else low - 0.45 * room),
            color=line.colour,
            fontsize=9.5,
            ha="center",
            va="bottom" if above else "top",
            arrowprops={"arrowstyle": "-", "color": line.colour, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 2},
            **style,
        )


def _with_others(lines: Sequence[Line]) -> Iterator[tuple[Line, np.ndarray]]:
    """Each line, and the heights of the others, `(others, places)`."""
    for i, line in enumerate(lines):
        yield line, np.array([other.y for j, other in enumerate(lines) if j != i])


def _clearest(
    share: np.ndarray, y: np.ndarray, others: np.ndarray, taken: list[tuple[bool, float]]
) -> tuple[int, bool]:
    """The place where a line is farthest above or below all others, away from names that stand on the same side."""
    inside = (share > _EDGE) & (share < 1 - _EDGE)
    best: tuple[float, int, bool] = (-np.inf, len(y) // 2, True)
    for above in (True, False):
        free = inside & np.all([abs(share - at) > _APART for side, at in taken if side == above] or [inside], axis=0)
        gap = y - others.max(0) if above else others.min(0) - y
        clear = np.where(free, np.nan_to_num(gap, nan=-np.inf), -np.inf)
        if clear.max() > best[0]:
            best = (float(clear.max()), int(clear.argmax()), above)
    return best[1], best[2]
