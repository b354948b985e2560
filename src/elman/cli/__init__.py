# SPDX-License-Identifier: Apache-2.0
"""The `elman` command: it parses and prints; the work is in the functions that it calls.

Typer and Rich come with `elman[cli]`; without them the command prints how to install them.
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys

NEEDS = ("typer", "rich", "polars", "matplotlib")


def main() -> None:
    """Runs the command with the arguments of the process."""
    if missing := [name for name in NEEDS if importlib.util.find_spec(name) is None]:
        print(
            f"The elman command needs {' and '.join(missing)}, not installed here. Install with:\n"
            '  python -m pip install "elman[cli]"',
            file=sys.stderr,
        )
        raise SystemExit(2)
    if isinstance(sys.stdout, io.TextIOWrapper):  # on Windows a pipe or a file may lack characters of a report
        sys.stdout.reconfigure(errors="backslashreplace")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # notes on TensorFlow's own build
    from elman.cli.app import app

    app(prog_name="elman")
