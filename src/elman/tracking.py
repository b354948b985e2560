# SPDX-License-Identifier: Apache-2.0
"""Logs a run of elman with MLflow: its arguments, its figures and its files.

In: plain data. Out: a run of MLflow, where its own settings say: `MLFLOW_TRACKING_URI` and `MLFLOW_EXPERIMENT_NAME`, or
its functions. MLflow is imported here alone, when it is asked for.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_MOST = 500  # characters of a parameter
_ODD = re.compile(r"[^\w. /-]")  # characters that a name may not have


def check() -> None:
    """Checks that MLflow is there, before work begins.

    Raises:
        ImportError: If it is not installed.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise ImportError(
            "mlflow=True (--mlflow) needs MLflow, not installed here. Install with: python -m pip install "
            '"elman[mlflow]".'
        )


def log(
    name: str,
    arguments: Mapping[str, Any],
    figures: Mapping[str, float | None],
    tags: Mapping[str, str],
    files: Sequence[Path],
) -> None:
    """Logs one run. Where one of the caller is active, it is nested in that.

    Args:
        name: Of the run.
        arguments: Those that were given; `None` is left out.
        figures: By name; what is not a finite number is left out.
        tags: Texts, such as the verdict.
        files: Those that are kept; one that is not there is left out.
    """
    import mlflow

    params = {key: str(value)[:_MOST] for key, value in arguments.items() if value is not None}
    known = {
        _ODD.sub("_", key): float(value) for key, value in figures.items() if value is not None and math.isfinite(value)
    }
    with mlflow.start_run(run_name=name, nested=mlflow.active_run() is not None):
        mlflow.log_params(params)
        mlflow.log_metrics(known)
        mlflow.set_tags(dict(tags))
        for path in files:
            if path.exists():
                mlflow.log_artifact(str(path))
