# SPDX-License-Identifier: Apache-2.0
"""`elman bench`: options in, `elman.bench.bench` or `train.bench` called, its report printed as tables or as JSON."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import elman.bench
from elman.bench import report as passes
from elman.bench import train
from elman.bench.run import TIMED
from elman.cli.help import option

_option = functools.partial(option, "Options")
_SHAPES = "The sizes to time: batch, time steps, features and units.  [default: a grid of them]"
_TRAIN = "Time training steps and epochs of a whole network, and not the passes of one layer."
_REPEATS = "How many rounds; each time is a median over rounds.  [default: by the shapes]"
_BACKENDS = "The frameworks to compare, of those that are installed."
_CELL = f"The layer: {', '.join(TIMED[:-1])} or {TIMED[-1]}."


def bench(
    cell: Annotated[  # --layer was its name before, and is taken for one release
        str, _option("NAME", _CELL, "--cell", "--layer", words=TIMED)
    ] = "simple_rnn",
    shapes: Annotated[str | None, _option("BxTxFxH,...", _SHAPES)] = None,
    backends: Annotated[str, _option("A,B,...", _BACKENDS)] = ",".join(elman.bench.BACKENDS),
    repeats: Annotated[int | None, typer.Option(metavar="N", min=1, help=_REPEATS)] = None,
    seed: Annotated[int, _option("N", "Start of the random numbers in the arrays.")] = 0,
    training: Annotated[bool, _option(None, _TRAIN, "--train")] = False,
    quick: Annotated[
        bool, _option(None, "Small shapes and few rounds: seconds instead of minutes.", "--quick")
    ] = False,
    json_: Annotated[bool, _option(None, "Print the times as JSON.", "--json")] = False,
) -> None:
    """Time elman's layers next to Keras and torch.nn.

    Results are compared before a time is shown; the status is 1 if any differ.

    \b
    elman bench --quick                       a first look
    elman bench --json > bench.json           everything, some minutes
    elman bench --shapes 8x50x3x64 --backends jax,torch
    elman bench --train                       training, of Network.fit and others
    """
    errors = Console(stderr=True, highlight=False)
    try:
        report = _run(
            cell,
            elman.bench.parse(shapes) if shapes else (),
            training,
            backends=[name.strip() for name in backends.split(",")],
            repeats=repeats,
            quick=quick,
            seed=seed,
            command=["elman", *sys.argv[1:]],
            # A line instead of a spinner: nothing may run while a call is timed.
            tell=lambda sentence: errors.print(f"elman bench: {sentence}") if errors.is_terminal else None,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    except RuntimeError as error:  # no native library, or a framework's process ended: the sentence is the answer
        errors.print(str(error), markup=False)
        raise typer.Exit(1) from error
    data = report.to_dict()
    if json_:
        typer.echo(json.dumps(data, indent=2))
    else:
        shown = train if training else passes
        _show(shown.tables(data), shown.lines(data))
    if report.refused:
        raise typer.Exit(1)


def _run(
    cell: str, shapes: Sequence[elman.bench.Shape], training: bool, **options: Any
) -> elman.bench.Report | train.TrainReport:
    """The report that was asked for.

    Raises:
        ValueError: If an option does not fit.
    """
    if not training:
        return elman.bench.bench(cell=cell, shapes=shapes, **options)
    if cell != "simple_rnn":
        raise ValueError(f"cell is {cell!r}; expected simple_rnn with --train. Leave out --cell, or --train.")
    return train.bench(sizes=[train.Size(shape) for shape in shapes], **options)


def _show(tables: Sequence[passes.Table], lines: Sequence[str]) -> None:
    """Tables and sentences; as wide as they need where no terminal sets a width."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=400)
    for each in tables:
        columns = list(zip(each.columns, *each.rows, strict=True))
        widths = [max(map(len, texts)) for texts in columns]
        if sum(widths) + len(widths) > console.width:  # break between words, and keep a number and its unit together
            widths = [max(8, *(len(word) for text in texts for word in text.split())) for texts in columns]
        table = Table(title=each.title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for number, (name, width) in enumerate(zip(each.columns, widths, strict=True)):
            table.add_column(name, justify="right" if number else "left", width=width)
        for cells in each.rows:
            table.add_row(*cells)
        console.print(table)
    for line in lines:
        console.print(line, markup=False)
