# SPDX-License-Identifier: Apache-2.0
"""How elman's charts look: three colours, and lines that differ by dash, so that they can be told apart in grey."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

INK, GREY, ACCENT = "#111111", "#8a8a8a", "#0b5fa5"
_LINES = ((INK, "-"), (ACCENT, "--"), (GREY, "-."), (INK, ":"))


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
