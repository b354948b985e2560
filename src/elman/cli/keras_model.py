# SPDX-License-Identifier: Apache-2.0
"""Writes the `model.keras` of a run in a process of its own, where Keras is installed.

Importing Keras and its backend takes seconds. The process starts to import them when `elman fit` starts to read the
table, so that the command hardly waits, and `elman fit` itself imports no framework.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from elman.cli.screen import printable
from elman.forecasting import folder as run_folder
from elman.forecasting.run import KERAS_MODEL
from elman.system import APART

# The file is the same on each. Keras's Normalization imports TensorFlow wherever it is installed, so that comes first.
_BACKENDS = ("tensorflow", "jax", "torch")
_ENCODING = "utf-8:surrogateescape"  # of the process, so that any path can be passed to it
_CODE = """
import sys
import keras
import elman
if asked := sys.stdin.read():  # nothing, if the command was killed
    elman.export(*asked.split("\\0"))
"""


def backend() -> str | None:
    """The backend to import Keras with; `None` if Keras is not installed."""
    if importlib.util.find_spec("keras") is None:
        return None
    return next((name for name in _BACKENDS if importlib.util.find_spec(name) is not None), None)


@contextmanager
def keras_model() -> Iterator[Callable[[Path], None]]:
    """Yields a function that writes the `model.keras` of a run's folder if it is not there and Keras is installed. A
    file of this name that no run of elman wrote is renamed."""
    chosen = backend()
    if chosen is None:
        yield lambda folder: None
        return
    # Not on a GPU, and not in reach of the terminal's Ctrl-C.
    own = {"KERAS_BACKEND": chosen, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "PYTHONIOENCODING": _ENCODING}
    with subprocess.Popen(
        [sys.executable, "-c", _CODE],
        env=os.environ | own,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
        **APART,
    ) as process:
        try:
            yield functools.partial(_write, process)
        finally:
            process.kill()


def _write(process: subprocess.Popen[str], folder: Path) -> None:
    path = folder.absolute() / KERAS_MODEL
    if run_folder.has_keras_model(path.parent):
        return
    _, errors = process.communicate(f"{folder.absolute()}\0{path}")
    if process.returncode:
        reason = printable(errors.strip().rpartition("\n")[2])
        typer.echo(f"elman: {path} was not written: {reason} Try elman export.", err=True)
