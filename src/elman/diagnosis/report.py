# SPDX-License-Identifier: Apache-2.0
"""What a diagnosis found: plain data, and the same as sentences, a table, pictures and a page.

In: figures. Out: text; pictures and pages are made by the modules named for them, when they are asked for.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from elman.diagnosis.horizon import TOLERANCE
from elman.diagnosis.layer import Advice, Layer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from elman.diagnosis.compare import Compared

COLUMNS = ("layer", "half-life", "exponent per step", "reach above 1 %", "saturated")


@dataclasses.dataclass(frozen=True)
class Report:
    """How far back a model remembers, and what to change.

    Attributes:
        model: Its name.
        examples: How many were measured.
        of: How many there were.
        steps: Time steps of a sequence.
        horizon: The smallest number of valid steps from which on the last output stays within 5 % of the one with
            nothing forgotten; `steps + 1` if it never does, `None` if there are NaN or infinities.
        horizon_low: Of the horizon, the lower end of a 95 % interval by bootstrap over examples.
        horizon_high: The upper end.
        lags: Numbers of steps kept, from 0, at which the next two are measured.
        deviation: The change of the last output: root mean square over examples and outputs, over the full output's
            standard deviation.
        loss: The loss, where targets were given.
        full_loss: The loss with nothing forgotten.
        loss_name: Which one.
        need: How many steps back the data itself tells something of the targets, as far as single steps tell it.
        layers: The figures of each recurrent layer, by its name.
        verdict: One of "healthy", "vanishing", "exploding", "saturated", "memory unused", "diverged", "underfits" and
            "data short of memory".
        because: The figures that it rests on.
        advice: At most three changes, the likeliest first.
        notes: What else is to be known.
    """

    model: str
    examples: int
    of: int
    steps: int
    horizon: int | None
    horizon_low: int | None
    horizon_high: int | None
    lags: list[int]
    deviation: list[float]
    loss: list[float] | None
    full_loss: float | None
    loss_name: str | None
    need: int | None
    layers: dict[str, Layer]
    verdict: str
    because: str
    advice: list[Advice]
    notes: list[str]

    tolerance: ClassVar[float] = TOLERANCE

    def to_dict(self) -> dict[str, Any]:
        """The same keys, as JSON can hold them: infinities and NaN are `None`, objects are texts."""
        return {name: _plain(value) for name, value in dataclasses.asdict(self).items()}

    def lines(self) -> list[str]:
        """What is to be said, a sentence a line."""
        drawn = f"{self.examples} of {self.of:,}" if self.of > self.examples else f"{self.examples}"
        said = [f"{self.model}: {drawn} examples of {self.steps} steps."]
        if self.horizon is not None:
            interval = (
                ""
                if self.horizon_low == self.horizon_high
                else f", 95 % interval {self.horizon_low} to {self.horizon_high}"
            )
            said.append(
                f"The last output stays within {100 * self.tolerance:.0f} % if only the last {self.horizon} of "
                f"{self.steps} steps are kept{interval}."
            )
        if self.full_loss is not None:
            said.append(f"The loss ({self.loss_name}) is {self.full_loss:.4g}.")
        said.append(f"Verdict: {self.verdict}. {self.because}")
        said += [f"{number}. {each.text}" for number, each in enumerate(self.advice, start=1)]
        return said + self.notes

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

        return pictures.figure(self)

    def to_html(self, path: str | Path) -> Path:
        """Writes one page that needs nothing else.

        Raises:
            elman.DataError: If the file cannot be written.
        """
        from elman.diagnosis import page

        return page.write(self, path)

    def compare(self, other: Report) -> Compared:
        """This report and one after a change, side by side."""
        from elman.diagnosis.compare import Compared

        return Compared(self, other)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        from elman.diagnosis import page

        return page.fragment(self)


def _reaching(layer: Layer) -> str:
    """Up to which lag the median gradient is above 1 % of that at the last step."""
    below = next((lag for lag, value in zip(layer.lags, layer.reach, strict=True) if not value >= 0.01), None)
    return f"all {len(layer.lags)} steps" if below is None else f"{below} steps"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
