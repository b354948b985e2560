# SPDX-License-Identifier: Apache-2.0
"""Shows how far a long call is: a bar on a terminal or in a notebook, else lines on standard error.

In: stages, each a name and how much of the whole is done. Out: what the user sees. Rich draws the bar of a terminal; a
notebook draws its own.
"""

from __future__ import annotations

import html
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from elman.errors import DataError

SHOWN = ("auto", 0, 1, 2)


class Stage(NamedTuple):
    """What is done now.

    Attributes:
        name: In a few words.
        done: What is done of the whole.
        total: The whole, in the same unit; `None` if it is not known yet.
    """

    name: str
    done: float
    total: float | None


Show = Callable[[Stage], None]


@contextmanager
def shown(title: str, verbose: int | str = "auto") -> Iterator[Show]:
    """Yields the function to call with each stage.

    Args:
        title: The name of the call, which begins each line.
        verbose: 0: nothing is shown. 1: a bar on a terminal or in a notebook, else a line for each stage. 2: lines.
            `"auto"`: a bar on a terminal or in a notebook, else nothing.

    Raises:
        DataError: If `verbose` is something else.
    """
    if verbose not in SHOWN:
        raise DataError(f"verbose is {verbose!r}; expected one of {', '.join(map(repr, SHOWN))}.")
    if verbose in {"auto", 1} and _in_notebook():
        yield _notebook_bar()
    elif verbose in {"auto", 1} and sys.stderr.isatty() and importlib.util.find_spec("rich") is not None:
        with _terminal_bar() as show:
            yield show
    else:
        yield _lines(title) if verbose in {1, 2} else lambda stage: None


def _in_notebook() -> bool:
    """Whether a notebook's kernel runs this process, and not IPython on a terminal."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"


def _lines(title: str) -> Show:
    """A line whenever the stage has another name."""
    last: list[str] = []

    def show(stage: Stage) -> None:
        if last != [stage.name]:
            last[:] = [stage.name]
            print(f"{title}: {stage.name}", file=sys.stderr)

    return show


@contextmanager
def _terminal_bar() -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda stage: progress.update(task, description=stage.name, completed=stage.done, total=stage.total)


def _notebook_bar() -> Show:
    """A bar in the output of a notebook's cell, which stays there."""
    from IPython.display import HTML, display

    handle: Any = display(HTML(""), display_id=True)
    last: list[tuple[str, int]] = []

    def show(stage: Stage) -> None:
        percent = int(100 * stage.done / stage.total) if stage.total else 0
        if last != [(stage.name, percent)]:
            last[:] = [(stage.name, percent)]
            bar = f'<progress value="{percent}" max="100"></progress>'
            handle.update(HTML(f"{bar} {percent} %, {html.escape(stage.name)}"))

    return show
