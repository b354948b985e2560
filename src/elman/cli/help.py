# SPDX-License-Identifier: Apache-2.0
"""The help of a command with many options: in groups that have a heading, and not as one long list.

Texts that several commands have stand here as well.

In: an option's `rich_help_panel`, which Typer prints only in its boxes. Out: plain text, the same in a pipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from elman import datasets

TABLE = "The table, oldest row first: a file of CSV, Excel, Parquet or JSON, also packed as .gz or .zip."
RECORDING = f"Use a recording that ships with elman instead of DATA: {' or '.join(datasets.names())}."
REPEATED = "Which of several rows of one time counts: first, last, or the mean of all.  [default: stop]"
SEP = "What separates the columns of a text file, such as ';' or tab or ' '.  [default: found in the header]"
ENCODING = "The encoding of a text file, such as latin-1.  [default: UTF-8]"
DECIMAL = "The decimal mark of numbers, . or ,; the other one separates thousands then.  [default: found]"
CALENDAR = "Forecast from the time of day, the day of the week and the time of the year as well."
KNOWN = (
    "Columns whose values are known before, such as a price or the weather forecast. A forecast uses those of the rows "
    "ahead, which stand below the last row, with an empty target."
)
EXCLUDE = "Columns that are left out."
SORT = "Sort the rows by time first."


def option(group: str, metavar: str | None, text: str, *names: str, words: Sequence[str] = ()) -> Any:
    """An option of a command.

    Args:
        group: The heading that it stands under.
        metavar: What its value is called, in capitals; `None` for a switch.
        text: What it does.
        names: Its names, where they are not made from the parameter's.
        words: Its values, if there are few, for the shell to complete.
    """
    complete = (lambda: list(words)) if words else None
    return typer.Option(*names, metavar=metavar, help=text, autocompletion=complete, rich_help_panel=group)


class GroupedCommand(TyperCommand):
    """A command whose options are listed under the headings that they name, in the order of the first of each."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the arguments and the groups of options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                usual = "Arguments" if param.param_type_name == "argument" else "Options"
                groups.setdefault(getattr(param, "rich_help_panel", None) or usual, []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)
