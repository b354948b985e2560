# SPDX-License-Identifier: Apache-2.0
"""`Comparison`: what `elman.compare` returns, made of plain data alone, so that a stored one reads as it did.

In: the data. Out: the recommendation, the table, lines for a screen, a page.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from elman.comparison import report


class Comparison:
    """Which model is worth having.

    Args:
        data: As `to_dict` returns it.
        folder: The folder of the run.

    Attributes:
        recommended: Name of the smallest candidate that is tied with the best.
        reason: Why, in one sentence.
        tied: Names of the candidates that cannot be told apart from the best, itself among them.
        rows: A dictionary for each candidate, from the least error; those that were skipped or failed are last.
    """

    def __init__(self, data: dict[str, Any], folder: Path) -> None:
        self._data, self.folder = data, folder
        self.recommended: str = data["recommended"]
        self.reason: str = data["reason"]
        self.tied: list[str] = data["tied"]
        self.rows: list[dict[str, Any]] = data["rows"]

    @property
    def task(self) -> str:
        """`"forecast"`, `"classify"` or `"text"`."""
        return self._data["task"]

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return self._data

    def lines(self) -> list[str]:
        """What was compared, and what was found, in sentences."""
        return [*report.before(self._data), *report.after(self._data)]

    def to_html(self, path: Any) -> Path:
        """Writes a page that needs no other file, and returns its path.

        Args:
            path: Where to.

        Raises:
            elman.DataError: If it cannot be written.
        """
        from elman.comparison import page

        return page.write(self._data, Path(path))

    def __repr__(self) -> str:
        return f"<elman.Comparison: {self.recommended!r} recommended, {len(self.tied)} tied of {len(self.rows)}>"

    def _repr_html_(self) -> str:
        def cells(row: tuple[str, ...], kind: str) -> str:
            return f"<tr>{''.join(f'<{kind}>{html.escape(text)}</{kind}>' for text in row)}</tr>"

        columns, rows = report.table(self._data)
        text = [f"<p>{html.escape(line)}</p>" for line in self.lines()]
        return f"<table>{cells(columns, 'th')}{''.join(cells(row, 'td') for row in rows)}</table>{''.join(text)}"
