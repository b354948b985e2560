# SPDX-License-Identifier: Apache-2.0
"""`elman export`: calls `elman.export` with two paths."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elman.cli.screen import say, screen, usage_errors
from elman.exporting import export as export_model


def export(
    model: Annotated[Path, typer.Argument(help="Folder that elman fit wrote, .safetensors or .keras.")],
    out: Annotated[Path, typer.Argument(help="File to write: .onnx, .h, .keras or .safetensors.")],
    step: Annotated[bool, typer.Option(help=".onnx: a graph of one step, without recurrent nodes.")] = False,
    state: Annotated[bool, typer.Option(help=".onnx: with initial and final states.")] = False,
    int8: Annotated[bool, typer.Option(help=".h: integer weights with a scale for each output.")] = False,
    name: Annotated[str | None, typer.Option(help=".h: what its names begin with.")] = None,
) -> None:
    """Write a model as a file of another kind, and compare what the file computes with the model.

    \b
    elman fit --data walk --out my-run
    elman export my-run walk.keras
    """
    with usage_errors():
        found = export_model(model, out, step=step, state=state, int8=int8, name=name)
    say(screen(), str(found).splitlines())
