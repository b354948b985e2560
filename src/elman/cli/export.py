# SPDX-License-Identifier: Apache-2.0
"""`elman export`: calls `elman.export` with two paths."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.help import option
from elman.cli.screen import say, screen, usage_errors
from elman.exporting import export as export_model

_option = functools.partial(option, "Options")
_STEP = "For .onnx: a graph of one time step, for runtimes without recurrent operators."
_STATE = "For .onnx: the states of the layers are inputs and outputs."
_INT8 = "For .h: weights of 8 bits, a quarter of the size, with a scale for each output."
_NAME = "For .h: what the names of its functions begin with.  [default: the file's name]"


def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A folder of elman fit, or a .keras or .safetensors file.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write: .onnx, .h (C), .keras, .safetensors.")
    ],
    step: Annotated[bool, _option(None, _STEP, "--step")] = False,
    state: Annotated[bool, _option(None, _STATE, "--state")] = False,
    int8: Annotated[bool, _option(None, _INT8, "--int8")] = False,
    name: Annotated[str | None, _option("NAME", _NAME)] = None,
    json_: Annotated[bool, _option(None, "Print the file, its size and its error as JSON.", "--json")] = False,
) -> None:
    """Write a model as a file that other programs run.

    What the file computes is compared with the model; a file that differs is
    removed.

    \b
    elman fit --data walk --out my-run
    elman export my-run walk.onnx
    """
    with usage_errors():
        found = export_model(model, out, step=step, state=state, int8=int8, name=name)
    if json_:
        typer.echo(json.dumps({**found._asdict(), "path": str(found.path)}))
        return
    say(screen(), str(found).splitlines())
