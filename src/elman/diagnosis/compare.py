# SPDX-License-Identifier: Apache-2.0
"""Two reports side by side: before a change and after it.

In: reports, whose layers may have other names (a SimpleRNN that became an LSTM). Out: rows, a picture, a page.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elman.diagnosis.layer import Layer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from elman.diagnosis.report import Report

COLUMNS = ("figure", "before", "after")

_FIGURES: dict[str, Callable[[Layer], str]] = {
    "half-life": lambda layer: f"{layer.half_life:.3g} steps",
    "exponent per step": lambda layer: f"{layer.lyapunov:+.3f}",
    "reach at the first step": lambda layer: f"{layer.reach[-1]:.2g}" if layer.reach else "none",
    "saturated": lambda layer: f"{100 * max(layer.saturation.values()):.0f} %",
}


@dataclasses.dataclass(frozen=True)
class Compared:
    """What a change came to.

    Attributes:
        before: The report before it.
        after: The report after it.
    """

    before: Report
    after: Report

    def rows(self) -> list[tuple[str, str, str]]:
        """Figure, before, after."""
        rows = [
            ("verdict", self.before.verdict, self.after.verdict),
            ("horizon", _horizon(self.before), _horizon(self.after)),
        ]
        if any(report.full_loss is not None for report in (self.before, self.after)):
            rows.append(("loss", _loss(self.before), _loss(self.after)))
        for old, new in self._pairs():
            name = " → ".join(dict.fromkeys(name for name, _ in (old, new) if name))
            for label, told in _FIGURES.items():
                before, after = (told(layer) if layer else "" for _, layer in (old, new))
                rows.append((f"{name}: {label}", before, after))
        return rows

    def _pairs(self) -> list[tuple[tuple[str, Layer | None], tuple[str, Layer | None]]]:
        """Layers of the same name, and the others in their order."""
        old, new = self.before.layers, self.after.layers
        same = [((name, old[name]), (name, new[name])) for name in old if name in new]
        rest = itertools.zip_longest(
            [(name, layer) for name, layer in old.items() if name not in new],
            [(name, layer) for name, layer in new.items() if name not in old],
            fillvalue=("", None),
        )
        return [*same, *rest]

    def lines(self) -> list[str]:
        """The verdicts in sentences."""
        return [
            f"Before: {self.before.verdict}. {self.before.because}",
            f"After: {self.after.verdict}. {self.after.because}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Both reports, as JSON can hold them."""
        return {"before": self.before.to_dict(), "after": self.after.to_dict()}

    def plot(self) -> Figure:
        """Both in one Matplotlib figure."""
        from elman.diagnosis import pictures

        return pictures.compared(self.before, self.after)

    def to_html(self, path: str | Path) -> Path:
        """Writes one page that needs nothing else.

        Raises:
            elman.DataError: If the file cannot be written.
        """
        from elman.diagnosis import page

        return page.write(self, path)

    def __str__(self) -> str:
        return "\n".join([*self.lines(), *("  ".join(row) for row in self.rows())])

    def _repr_html_(self) -> str:
        from elman.diagnosis import page

        return page.fragment(self)


def _horizon(report: Report) -> str:
    return "none" if report.horizon is None else f"{report.horizon} of {report.steps} steps"


def _loss(report: Report) -> str:
    return "" if report.full_loss is None else f"{report.full_loss:.4g}"
