# SPDX-License-Identifier: Apache-2.0
"""What `elman.diagnose` returns: plain data, and the same as sentences, a table, pictures and a page; and two of them
side by side, before a change and after it.

In: figures and a verdict. Out: text. Pictures and pages are made by `pictures` and `page` when they are asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elman import charts
from elman.diagnosis.figures import Advice, Figures, LayerFigures
from elman.plain_values import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from elman.diagnosis.page import Content

COLUMNS = ("layer", "half-life", "exponent per step", "reach above 1 %", "saturated")
COMPARED_COLUMNS = ("figure", "before", "after")


@dataclasses.dataclass(frozen=True)
class Report(Figures):
    """How far back a model remembers, and what to change.

    Attributes:
        model: Its name.
        examples: How many examples were measured.
        of: How many examples there were.
        steps: Time steps of a sequence.
        horizon: The smallest number of valid steps such that the last output stays within 5 % of the one with nothing
            forgotten if at least so many are kept; `steps + 1` if it never does, `None` if there are NaN or infinities.
        horizon_low: The lower end of a 95 % interval of the horizon, by bootstrap over examples.
        horizon_high: The upper end.
        lags: Numbers of steps kept, from 0, at which `deviation` and `loss` are measured.
        deviation: The change of the last output: root mean square over examples and outputs, over the full output's
            standard deviation.
        loss: The loss if only so many steps are kept; `None` without targets.
        full_loss: The loss with nothing forgotten.
        loss_name: The name of the loss.
        need: How many steps back a single step of the input still carries information on the targets, or `None`.
        layers: The figures of each recurrent layer, by its name.
        verdict: One of "healthy", "no fault found" (without targets nothing more can be known), "no memory used" (a
            path next to the recurrent layers makes the output), "vanishing", "exploding", "saturated", "memory
            unused", "diverged", "underfits" and "data short of memory".
        because: The figures behind it.
        notes: What else a reader must know.
        date: The day of the measurement, `YYYY-MM-DD`.
        version: The version of elman that measured.
        advise: The function that finds the advice; `advice` calls it once.
    """

    verdict: str
    because: str
    notes: list[str]
    date: str = dataclasses.field(compare=False)
    version: str = dataclasses.field(compare=False)
    advise: Callable[[], list[Advice]] = dataclasses.field(compare=False, repr=False)

    @functools.cached_property
    def advice(self) -> list[Advice]:
        """At most three changes, the likeliest first. They are found when they are first asked for."""
        return self.advise()

    def __getstate__(self) -> dict[str, Any]:
        """A copy and a pickled report hold the advice, and no longer the model that it is about."""
        advice = self.advice
        return {**vars(self), "advise": advice.copy, "advice": advice}

    def to_dict(self) -> dict[str, Any]:
        """The figures, verdict, advice and notes as JSON can hold them: infinities and NaN are `None`, objects are
        texts."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name != "advise"}
        layers = {name: dataclasses.asdict(layer) for name, layer in self.layers.items()}
        return plain({**values, "layers": layers, "advice": [dataclasses.asdict(each) for each in self.advice]})

    def lines(self) -> list[str]:
        """The report in sentences, one a line."""
        return [*self._measured(), f"Verdict: {self.verdict}. {self.because}", *self._numbered(), *self.notes]

    def _measured(self) -> list[str]:
        """What was measured."""
        drawn = f"{self.examples} of {self.of:,}" if self.of > self.examples else f"{self.examples}"
        lines = [f"{self.model}: {drawn} examples of {self.steps} steps."]
        if self.horizon:
            same = self.horizon_low == self.horizon_high
            interval = "" if same else f", 95 % interval {self.horizon_low} to {self.horizon_high}"
            lines.append(
                f"The last output stays within {100 * self.tolerance:.0f} % if only the last {self.horizon} of "
                f"{self.steps} steps are kept{interval}."
            )
        if self.full_loss is not None:
            lines.append(f"The loss ({self.loss_name}) is {self.full_loss:.4g}.")
        return lines

    def _numbered(self) -> list[str]:
        return [f"{number}. {change.text}" for number, change in enumerate(self.advice, start=1)]

    def rows(self) -> list[tuple[str, ...]]:
        """The table of layers, in the columns `COLUMNS`."""
        return [
            (
                f"{name} ({layer.kind}, {layer.units})",
                f"{layer.half_life:.3g} steps" if math.isfinite(layer.half_life) else "does not shrink",
                f"{layer.lyapunov:+.3f} ± {layer.lyapunov_error:.3f}",
                _reaching(layer),
                ", ".join(f"{gate} {100 * share:.0f} %" for gate, share in layer.saturation.items()),
            )
            for name, layer in self.layers.items()
        ]

    def plot(self) -> Figure:
        """The curves as one Matplotlib figure."""
        from elman.diagnosis import pictures

        return charts.figure(pictures.panels(self), f"{self.model}: {self.verdict}")

    def to_html(self, path: str | Path, *, source: str | None = None) -> Path:
        """Writes one page that needs no other file.

        Args:
            path: Where to.
            source: What was measured, for the page's heading: the names of a file and of its data, say.

        Raises:
            elman.DataError: If the file cannot be written.
        """
        from elman.diagnosis import page

        return page.write(self._content(source), path)

    def compare(self, other: Report) -> Compared:
        """This report and one after a change, side by side.

        Args:
            other: The report after the change, of the same data.

        Returns:
            Both, with `rows`, `lines`, `to_dict`, `plot` and `to_html`. `print` shows them.
        """
        return Compared(self, other)

    def _content(self, source: str | None = None) -> Content:
        """What the page shows."""
        from elman.diagnosis import page, pictures

        return page.Content(
            title=f"What {_called(self)} remembers",
            about=_about(self, source),
            statements=[(self.verdict, self.because)],
            lines=self._measured(),
            advice=[change.text for change in self.advice],
            panels=pictures.panels(self),
            columns=COLUMNS,
            rows=self.rows(),
            notes=self.notes,
        )

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        from elman.diagnosis import page

        return page.fragment(self._content())


def _called(report: Report) -> str:
    """A model in the middle of a sentence: a Keras model has a name, a Network has none."""
    return "the network" if report.model == "network" else report.model


def _about(report: Report, source: str | None) -> list[str]:
    """What was measured, when, and by which version."""
    return [*([source] if source else []), f"measured on {report.date}", f"elman {report.version}"]


def _reaching(layer: LayerFigures) -> str:
    """Up to which lag the median gradient is above 1 % of that at the last step."""
    below = next((lag for lag, value in zip(layer.lags, layer.reach, strict=True) if not value >= 0.01), None)
    return f"all {len(layer.lags)} steps" if below is None else f"{below} steps"


# --- two reports -----------------------------------------------------------------------------------------------------

_ROWS: dict[str, Callable[[LayerFigures], str]] = {
    "half-life": lambda layer: f"{layer.half_life:.3g} steps",
    "exponent per step": lambda layer: f"{layer.lyapunov:+.3f}",
    "reach at the first step": lambda layer: f"{layer.reach[-1]:.2g}" if layer.reach else "none",
    "saturated": lambda layer: f"{100 * max(layer.saturation.values()):.0f} %",
}


@dataclasses.dataclass(frozen=True)
class Compared:
    """What a change did.

    Attributes:
        before: The report before it.
        after: The report after it. Its layers may have other names, as those of an LSTM that replaced a SimpleRNN.
    """

    before: Report
    after: Report

    def rows(self) -> list[tuple[str, str, str]]:
        """The table of figures, in the columns `COMPARED_COLUMNS`."""
        rows = [
            ("verdict", self.before.verdict, self.after.verdict),
            ("horizon", _horizon(self.before), _horizon(self.after)),
        ]
        if any(report.full_loss is not None for report in (self.before, self.after)):
            rows.append(("loss", _loss(self.before), _loss(self.after)))
        for old, new in self._pairs():
            name = " → ".join(dict.fromkeys(name for name, _ in (old, new) if name))
            for label, text_of in _ROWS.items():
                before, after = (text_of(layer) if layer else "" for _, layer in (old, new))
                rows.append((f"{name}: {label}", before, after))
        return rows

    def _pairs(self) -> list[tuple[tuple[str, LayerFigures | None], tuple[str, LayerFigures | None]]]:
        """Layers of the same name, then the others in their order."""
        old, new = self.before.layers, self.after.layers
        same = [((name, old[name]), (name, new[name])) for name in old if name in new]
        others = itertools.zip_longest(
            [(name, layer) for name, layer in old.items() if name not in new],
            [(name, layer) for name, layer in new.items() if name not in old],
            fillvalue=("", None),
        )
        return [*same, *others]

    def lines(self) -> list[str]:
        """The verdicts in sentences."""
        return [f"{when}. {because}" for when, because in self._statements()]

    def _statements(self) -> list[tuple[str, str]]:
        both = (("Before", self.before), ("After", self.after))
        return [(f"{when}: {report.verdict}", report.because) for when, report in both]

    def to_dict(self) -> dict[str, Any]:
        """Both reports, as JSON can hold them."""
        return {"before": self.before.to_dict(), "after": self.after.to_dict()}

    def plot(self) -> Figure:
        """Both in one Matplotlib figure."""
        from elman.diagnosis import pictures

        return charts.figure(pictures.panels_of_two(self.before, self.after), "before and after")

    def to_html(self, path: str | Path, *, source: str | None = None) -> Path:
        """Writes one page that needs no other file.

        Args:
            path: Where to.
            source: What was measured, for the page's heading: the names of files and of their data, say.

        Raises:
            elman.DataError: If the file cannot be written.
        """
        from elman.diagnosis import page

        return page.write(self._content(source), path)

    def _content(self, source: str | None = None) -> Content:
        """What the page shows."""
        from elman.diagnosis import page, pictures

        names = list(dict.fromkeys(map(_called, (self.before, self.after))))
        verb = "remembers" if len(names) == 1 else "remember"
        return page.Content(
            title=f"What {' and '.join(names)} {verb}, before and after",
            about=_about(self.after, source),
            statements=self._statements(),
            lines=[],
            advice=[],
            panels=pictures.panels_of_two(self.before, self.after),
            columns=COMPARED_COLUMNS,
            rows=self.rows(),
            notes=[],
        )

    def __str__(self) -> str:
        return "\n".join([*self.lines(), *("  ".join(row) for row in self.rows())])

    def _repr_html_(self) -> str:
        from elman.diagnosis import page

        return page.fragment(self._content())


def _horizon(report: Report) -> str:
    return "none" if report.horizon is None else f"{report.horizon} of {report.steps} steps"


def _loss(report: Report) -> str:
    return "" if report.full_loss is None else f"{report.full_loss:.4g}"
