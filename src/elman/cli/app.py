# SPDX-License-Identifier: Apache-2.0
"""All commands. A command is a function in a module of the same name."""

from __future__ import annotations

from typing import Annotated

import typer

import elman
from elman.cli.bench import bench
from elman.cli.diagnose import diagnose
from elman.cli.export import export
from elman.cli.fit import fit
from elman.cli.info import info
from elman.cli.predict import predict
from elman.cli.stream import stream

# Plain help, and tracebacks as Python writes them: the same on a terminal, in a log and in a pipe.
app = typer.Typer(
    rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True, add_completion=False, name="elman"
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(elman.__version__)
        raise typer.Exit


@app.callback()
def elman_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Fast recurrent layers on the CPU, for NumPy, TensorFlow, JAX and PyTorch.

    \b
    elman fit --data walk   a forecaster from a table, judged
    elman diagnose RUN ...  how far back it remembers, and what to change
    elman export RUN FILE   its model for Keras, or alone
    elman info              what is installed, and where the native path works
    elman bench --quick     how fast it is here
    """


for command in (fit, predict, diagnose, export, stream, bench, info):
    app.command()(command)
