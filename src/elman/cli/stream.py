# SPDX-License-Identifier: Apache-2.0
"""`elman stream`: rows on standard input, a prediction for each on standard output; `elman.stream.process` does it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from elman.checks import did_you_mean
from elman.cli.screen import usage_errors
from elman.stream import Stream
from elman.stream.lines import FORMATS
from elman.stream.process import Process, summary, to_standard_error


def stream(
    model: Annotated[Path, typer.Argument(help="Folder that elman fit wrote, .safetensors or .keras.")],
    key: Annotated[str | None, typer.Option(help="Column whose values have a state each.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="csv or ndjson; by default what the first line looks like.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="File for states and position; a restart goes on.")] = None,
    every: Annotated[int, typer.Option(help="Rows between two checkpoints.", min=1)] = 10_000,
    settle: Annotated[bool, typer.Option("--settle", help="Begin as after many mean rows, not from zeros.")] = False,
) -> None:
    """Predict row by row, from standard input to standard output.

    \b
    elman stream net.safetensors < rows.csv > out.csv
    elman stream net.safetensors --key sensor < rows.csv > out.csv
    """
    with usage_errors():
        if form is not None and form not in FORMATS:
            raise ValueError(
                f"--format is {form!r};{did_you_mean(form, FORMATS)} expected one of {', '.join(FORMATS)}."
            )
        process = Process(Stream(model, settle=settle), key, form, checkpoint, every, to_standard_error)
        try:
            process.run(0, 1)
        except BrokenPipeError:  # nobody reads on, as in `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    to_standard_error(summary(process))
