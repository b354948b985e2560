# SPDX-License-Identifier: Apache-2.0
"""How commands print: without colour where there is no terminal; a wrong table or argument as one line and status 2.

Names come from the user's files. They are printed as they are: Rich reads neither [markup] nor :emoji: in them, and
control characters, which could change a terminal, are written as escapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text


def screen() -> Console:
    """Standard output, as wide as is needed where no terminal sets a width."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=400)


def printable(text: str) -> str:
    """A text on one line, with control characters as Python escapes them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(console: Console, lines: Iterable[str]) -> None:
    """Prints sentences as they are."""
    for line in lines:
        console.print(printable(line), markup=False, emoji=False)


def table_of(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose first column is text, and whose others are numbers."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, name in enumerate(columns):
        table.add_column(Text(printable(name)), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


@contextmanager
def usage_errors() -> Iterator[None]:
    """Prints the sentence of an error that the user can correct, on one line, and ends with status 2."""
    try:
        yield
    except (ValueError, TypeError, ImportError) as error:
        typer.echo(printable(f"elman: {' '.join(str(error).split())}"), err=True)
        raise typer.Exit(2) from error
