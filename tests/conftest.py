# SPDX-License-Identifier: Apache-2.0
"""What every test shares: the state of the library is put back after each, and the header tells what ran."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

import elman
from elman import _native


def pytest_report_header() -> str:
    native = _native.obstacle()
    if native is None:
        library = _native.library()
        native = f"{library.elman_isa().decode()} of {library.elman_isas().decode()}"
    return (
        f"elman {elman.__version__} ({native}), NumPy {np.__version__}, KERAS_BACKEND={os.environ.get('KERAS_BACKEND')}"
    )


@pytest.fixture(autouse=True)
def default_threads() -> Iterator[None]:
    """A test may set the number of threads; the next one has the default again."""
    yield
    elman.set_num_threads(None)
