# SPDX-License-Identifier: Apache-2.0
"""`elman info`: calls `elman.info.collect` and prints the answer as a table or as JSON."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from elman.info import Info, collect

TITLES = {"numpy": "NumPy", "tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def info(json_: Annotated[bool, typer.Option("--json", help="Print the same as JSON.")] = False) -> None:
    """Show what is installed here, and where the native code runs.

    Versions, instruction set, threads, and whether the native path works under each framework.

    Each framework runs a small forward and backward in a process of its own, and is compared with the reference.

    \b
    elman info          a table
    elman info --json   the same for a program
    """
    found = collect()
    if json_:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        terminal = Console(highlight=False)
        show(found, terminal if terminal.is_terminal else Console(highlight=False, width=400))


def show(found: Info, console: Console) -> None:
    """Prints an `Info`."""
    keras = f", Keras {found.keras}" if found.keras else ""
    lines = [f"elman {found.elman}, Python {found.python}{keras}", found.platform]
    if library := found.library:
        lines.append(f"{library.isa} in use, of {', '.join(library.isas)}; {library.threads} threads")
    table = Table("framework", "version", "native path", box=None, pad_edge=False)
    for framework in found.frameworks:
        status = "works" if framework.native else framework.reason
        table.add_row(TITLES[framework.name], framework.version or "-", Text(status or ""))
    console.print(*lines, table, sep="\n", markup=False)
