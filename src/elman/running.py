# SPDX-License-Identifier: Apache-2.0
"""`python -m elman script.py`: runs a program with elman's layers under the frameworks' names, then says what they did.

In: the command line after `python -m elman`. Out: what the program does, its exit status and its tracebacks; at exit a
table on standard error. The seconds are those of forward calls. What runs in compiled code does not come through
Python: of Keras's layers the traces are counted, of modules that torch.compile took there is a row without calls.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import runpy
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from elman._hooks import when_imported
from elman.patching import patch

_OWN = ("runpy", "elman.running", "elman.__main__")  # the modules whose frames are not those of the program


class Calls:
    """The calls of each kind of layer, by the path that they took.

    Attributes:
        made: The layers that were made.
        rows: For each layer, path and reason the number of calls, the number of traces, and the seconds of the calls.
    """

    def __init__(self) -> None:
        self.made: set[str] = set()
        self.rows: dict[tuple[str, str, str], list[float]] = {}
        self._lock = threading.Lock()

    def add(self, layer: str, route: Any, seconds: float | None) -> None:
        """Counts a call; one without seconds was traced."""
        path, _, reason = route
        with self._lock:
            row = self.rows.setdefault((layer, path, reason or ""), [0, 0, 0.0])
            row[0 if seconds is not None else 1] += 1
            row[2] += seconds or 0.0

    def table(self) -> str:
        """The rows as text, those that took longest first."""
        silent = self.made - {layer for layer, _, _ in self.rows}
        rows = self.rows | {(layer, "-", "not called, or in compiled code alone"): [0, 0, 0.0] for layer in silent}
        if not rows:
            return "elman: the program made no layer that elman replaces."
        ordered = sorted(rows.items(), key=lambda row: -row[1][2])
        texts = [("layer", "path", "calls", "traced", "seconds", "reason")]
        for (layer, path, reason), (calls, traced, seconds) in ordered:
            texts.append((layer, path, f"{calls:,}", f"{traced:,}", f"{seconds:.3f}", reason))
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        lines = []
        for layer, path, *numbers, reason in texts:
            aligned = (text.rjust(width) for text, width in zip(numbers, widths[2:], strict=False))
            lines.append("  ".join((layer.ljust(widths[0]), path.ljust(widths[1]), *aligned, reason)).rstrip())
        return "\n".join(("elman: the recurrent layers of this program", *lines))


def main(arguments: Sequence[str]) -> None:
    """Runs a program as `python` would, under `elman.patch()`.

    Args:
        arguments: The path of a script, or `-m` and the name of a module; then the program's own arguments.

    Raises:
        SystemExit: With the program's status; 2 if there is no such program.
    """
    as_module = arguments[0] == "-m"
    program, *others = arguments[1:] if as_module else arguments
    if not as_module and not Path(program).is_file():
        print(f"{program} is not a file; expected a Python script. Correct the path.", file=sys.stderr)
        raise SystemExit(2)
    calls = Calls()
    atexit.register(lambda: print(calls.table(), file=sys.stderr))  # first, so that it prints after the program's own
    sys.excepthook = functools.partial(_without_own_frames, sys.excepthook)
    patch()
    when_imported("elman.torch", functools.partial(_watch_torch, calls))
    when_imported("elman.layers", functools.partial(_watch_keras, calls))
    sys.argv = [program, *others]
    if as_module:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        if not sys.flags.safe_path:
            sys.path[0] = str(Path(program).resolve().parent)
        runpy.run_path(program, run_name="__main__")


def _without_own_frames(
    hook: Callable[..., Any], kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Shows an error as if Python had run the program itself."""
    while trace is not None and getattr(trace.tb_frame.f_globals.get("__spec__"), "name", None) in _OWN:
        trace = trace.tb_next
    hook(kind, error.with_traceback(trace), trace)


def _watch_torch(calls: Calls) -> None:
    ours: Any = importlib.import_module("elman.torch")
    torch = sys.modules["torch"]
    kind = ours.RNN.__mro__[1]
    make, run = kind.__init__, kind.forward
    names: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()  # the text of a module takes a while

    @functools.wraps(make)
    def init(module: Any, *arguments: Any, **options: Any) -> None:
        make(module, *arguments, **options)
        calls.made.add(repr(module))

    @functools.wraps(run)
    def forward(module: Any, *arguments: Any, **options: Any) -> Any:
        if torch.compiler.is_compiling():
            return run(module, *arguments, **options)
        begin = time.perf_counter()
        result = run(module, *arguments, **options)
        seconds = time.perf_counter() - begin
        if module not in names:
            names[module] = repr(module)
        calls.add(names[module], module.route, seconds)
        return result

    kind.__init__, kind.forward = init, forward


def _watch_keras(calls: Calls) -> None:
    ours: Any = importlib.import_module("elman.layers")
    kind = ours.SimpleRNN.__mro__[1]
    run = kind.inner_loop

    @functools.wraps(run)
    def inner_loop(layer: Any, sequences: Any, *arguments: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        result = run(layer, sequences, *arguments, **options)
        traced = ours._ADAPTER is not None and ours._ADAPTER.is_traced(sequences)
        without_numbers = traced or getattr(sequences, "is_meta", False)
        name = f"{type(layer).__name__}({layer.units}) {layer.name}"
        calls.add(name, layer.route, None if without_numbers else time.perf_counter() - begin)
        return result

    kind.inner_loop = inner_loop
