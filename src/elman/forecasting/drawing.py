# SPDX-License-Identifier: Apache-2.0
"""Draws the pictures of a finished run and writes them; one that fails is reported, and the run stays finished.

Matplotlib is imported here, so that a broken installation of it does not cost a run either.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from elman import files
from elman.forecasting.run import FORECAST_PICTURE, LEARNING_PICTURE

# What Matplotlib raises if it cannot draw a number, a date or a name, and `files` if a picture cannot be written.
_FAILURES = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


def draw(folder: Path, data: dict[str, Any], *shown: Any) -> None:
    """Writes `forecast.png` and `learning.png`.

    Args:
        folder: The folder of the run, whose metrics are written.
        data: The metrics.
        shown: What `pictures.forecast` draws as well.
    """
    for name, given in ((FORECAST_PICTURE, (data, *shown)), (LEARNING_PICTURE, (data,))):
        try:
            from elman.forecasting import pictures

            picture = pictures.forecast if name == FORECAST_PICTURE else pictures.learning
            files.write(folder / name, picture(*given))
        except _FAILURES as error:
            (folder / name).unlink(missing_ok=True)  # of an earlier run
            logging.getLogger("elman").warning(
                "%s was not drawn: %s. The run is finished without it.", folder / name, error or type(error).__name__
            )
