# SPDX-License-Identifier: Apache-2.0
"""`elman export`: calls `elman.export` with two paths."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elman.cli.screen import usage_errors
from elman.exporting import export as export_model


def export(
    model: Annotated[Path, typer.Argument(help="Folder that elman fit wrote, .safetensors or .keras.")],
    out: Annotated[Path, typer.Argument(help="File to write: .keras or .safetensors.")],
) -> None:
    """Write a model as a file of another kind.

    \b
    elman fit --data walk --out my-run
    elman export my-run walk.keras
    """
    with usage_errors():
        export_model(model, out)
