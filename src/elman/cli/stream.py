# SPDX-License-Identifier: Apache-2.0
"""`elman stream`: rows on standard input, a prediction for each on standard output; `elman.stream.process` does it."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Annotated

import typer

from elman.checks import did_you_mean
from elman.cli.help import option
from elman.cli.screen import usage_errors
from elman.stream import Stream
from elman.stream.lines import FORMATS
from elman.stream.process import Process, summary, to_standard_error

_option = functools.partial(option, "Options")
_KEY = "The column that names the source of each row, a sensor, say. Each source has a memory of its own."
_FORMAT = "Form of the rows: csv or ndjson.  [default: what the first line looks like]"
_CHECKPOINT = "Save the memory and the position in this file, and continue from it at the next start."
_SETTLE = "Begin as after many average rows, and not with an empty memory."


def stream(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A folder of elman fit, or a .keras or .safetensors file.")
    ],
    key: Annotated[str | None, _option("COLUMN", _KEY)] = None,
    form: Annotated[str | None, _option("FORMAT", _FORMAT, "--format", words=FORMATS)] = None,
    checkpoint: Annotated[Path | None, _option("FILE", _CHECKPOINT)] = None,
    every: Annotated[
        int, typer.Option(metavar="ROWS", min=1, help="How many rows to read between two saves of the checkpoint.")
    ] = 10_000,
    settle: Annotated[bool, _option(None, _SETTLE, "--settle")] = False,
    json_: Annotated[bool, _option(None, "Print the last line, on standard error, as JSON.", "--json")] = False,
) -> None:
    """Predict rows as they come on standard input.

    The predictions are written to standard output.

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
    if json_:
        typer.echo(json.dumps({"rows": process.rows, "wrong": process.wrong}), err=True)
    else:
        to_standard_error(summary(process))
