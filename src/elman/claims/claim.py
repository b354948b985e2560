# SPDX-License-Identifier: Apache-2.0
"""What an experiment is, what it finds, and the `Claim` that a reader gets: plain data, sentences, and a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from elman.claims.estimates import Estimate
from elman.plain_values import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from elman.charts import Panel

COLUMNS = ("figure", "estimate", "95 % interval")
HOLDS, FAILS, ONLY_IF = "holds", "fails", "holds only if"


class Line(NamedTuple):
    """A curve of estimates.

    Attributes:
        x: Where.
        points: The estimate at each x.
    """

    x: list[float]
    points: list[Estimate]


class Chart(NamedTuple):
    """What is drawn.

    Attributes:
        x: Label of the x axis.
        y: Label of the y axis.
        lines: Curves by name.
        log_x: Whether the x axis is logarithmic.
        log_y: Whether the y axis is.
    """

    x: str
    y: str
    lines: Mapping[str, Line]
    log_x: bool = False
    log_y: bool = False


class Findings(NamedTuple):
    """What an experiment found.

    Attributes:
        verdict: "holds", "fails" or "holds only if ...".
        because: The figures that decided, in a sentence.
        figures: Estimates over seeds.
        chart: What to draw; `None`: the figures.
        skipped: What was left out, and why.
    """

    verdict: str
    because: str
    figures: list[Estimate]
    chart: Chart | None = None
    skipped: tuple[str, ...] = ()


class Experiment(NamedTuple):
    """A claim before it is measured.

    Attributes:
        title: The claim in a few words.
        statement: What is said.
        prediction: What must be seen if it is true.
        rule: How the verdict is found.
        measure: `measure(runs, **options)` returns `Findings`. Its docstring describes the set-up.
    """

    title: str
    statement: str
    prediction: str
    rule: str
    measure: Callable[..., Findings]


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim that was measured.

    Attributes:
        number: Its number.
        title: The claim in a few words.
        statement: What is said.
        prediction: What must be seen if it is true.
        rule: How the verdict is found.
        setup: The options of the experiment, by name.
        seeds: The seeds.
        figures: Estimates with 95 % intervals over the seeds.
        verdict: "holds", "fails" or "holds only if ...".
        because: The figures that decided, in a sentence.
        skipped: What was left out, and why.
        chart: What `plot` draws; `None`: the figures.
        seconds: How long it took.
        version: The version of elman that measured.
    """

    number: int
    title: str
    statement: str
    prediction: str
    rule: str
    setup: dict[str, Any]
    seeds: tuple[int, ...]
    figures: list[Estimate]
    verdict: str
    because: str
    skipped: tuple[str, ...]
    chart: Chart | None = dataclasses.field(repr=False)
    seconds: float = dataclasses.field(compare=False)
    version: str = dataclasses.field(compare=False)

    def lines(self) -> list[str]:
        """The claim in sentences, one a line, without the table of figures."""
        return [
            f"Claim {self.number}: {self.statement}",
            f"Prediction: {self.prediction}",
            f"Rule: {self.rule}",
            f"Set-up: {self.described_setup()}.",
        ]

    def described_setup(self) -> str:
        """The options as text."""
        options = [f"{name}={_short(value)}" for name, value in self.setup.items()]
        return ", ".join([f"{len(self.seeds)} seeds from {self.seeds[0]}", *options])

    def rows(self) -> list[tuple[str, str, str]]:
        """The table of figures, in the columns `COLUMNS`."""
        return [figure.cells() for figure in self.figures]

    def panel(self) -> Panel:
        """The picture, for a page."""
        from elman.claims import pictures

        return pictures.panel(self)

    def plot(self) -> Figure:
        """The picture as a Matplotlib figure."""
        from elman import charts

        return charts.figure([self.panel()], f"Claim {self.number}: {self.verdict}")

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it: infinities and NaN are `None`."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["setup"] = {name: _data(value) for name, value in self.setup.items()}
        values["figures"] = [figure._asdict() for figure in self.figures]
        if self.chart is not None:
            lines = {
                name: {"x": line.x, "points": [point._asdict() for point in line.points]}
                for name, line in self.chart.lines.items()
            }
            values["chart"] = self.chart._asdict() | {"lines": lines}
        return plain(values)

    def __repr__(self) -> str:
        rows = [
            f"  {name}: {estimate}{f' ({interval})' if interval else ''}" for name, estimate, interval in self.rows()
        ]
        return "\n".join([*self.lines(), *rows, f"Verdict: {self.verdict}. {self.because}", *self.skipped])


def _data(value: Any) -> Any:
    """An option as JSON can hold it: a function is its name."""
    return getattr(value, "__name__", repr(value)) if callable(value) else value


def _short(value: Any) -> str:
    text = _data(value) if callable(value) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
