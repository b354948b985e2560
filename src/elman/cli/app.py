# SPDX-License-Identifier: Apache-2.0
"""All commands. A command is a function in a module of the same name."""

from __future__ import annotations

from typing import Annotated

import typer

import elman
from elman.cli.bench import bench
from elman.cli.claims import claims
from elman.cli.compare import compare
from elman.cli.diagnose import diagnose
from elman.cli.export import export
from elman.cli.fit import fit
from elman.cli.help import GroupedCommand
from elman.cli.info import info
from elman.cli.predict import predict
from elman.cli.runs import runs
from elman.cli.stream import stream

# Plain help, and tracebacks as Python writes them: the same on a terminal, in a log and in a pipe.
app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    name="elman",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"elman {elman.__version__}")
        raise typer.Exit


@app.callback()
def elman_command(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Forecasts from tables, and fast recurrent layers on the CPU.

    \b
    elman fit --data walk    learn to forecast a table, and judge the forecasts
    elman info               what is installed here, and what runs natively
    elman COMMAND --help     the options of a command, each explained
    """


for command in (fit, predict, runs, compare, diagnose, export, stream, claims, bench, info):
    app.command(cls=GroupedCommand)(command)
