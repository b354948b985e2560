# SPDX-License-Identifier: Apache-2.0
"""How commands print: plain where there is no terminal, a wrong table or argument as one line and status 2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


def screen() -> Console:
    """Standard output; as wide as is needed where no terminal sets a width."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=400)


def say(console: Console, lines: Iterable[str]) -> None:
    """Prints sentences as they are."""
    for line in lines:
        console.print(line, markup=False)


def table_of(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose first column is text, and whose others are numbers."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


@contextmanager
def usage_errors() -> Iterator[None]:
    """Prints the sentence of what a user can mend, and ends with status 2."""
    try:
        yield
    except (ValueError, TypeError, ImportError) as error:
        typer.echo(f"elman: {error}", err=True)
        raise typer.Exit(2) from error
