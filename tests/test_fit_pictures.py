# SPDX-License-Identifier: Apache-2.0
"""The pictures of a run: whatever the names and the times of a table are, there is a picture, and names are not TeX."""

import datetime as dt
import io

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from PIL import Image

from elman.forecasting import pictures, reading
from elman.forecasting.forecast import last_forecast
from elman.forecasting.parts import parts_at_origins
from elman.forecasting.settings import Settings
from elman.forecasting.source import open_table
from elman.forecasting.windows import windows_of
from fit_cases import ROWS, WAVE


def zeros(rows):
    """A model that forecasts zeros."""
    return np.zeros((len(rows), 2))


def drawn(table, unit=None, **settings):
    """Both pictures of a run on a table."""
    read = reading.read(open_table(table), Settings(**settings))
    windows = windows_of(read, parts_at_origins(read, 1)[0], 4, 2)
    later, _ = last_forecast(zeros, read, 4, 2, 0)
    forecasts = {name: np.zeros((len(windows.starts["test"]), 2)) for name in ("linear", "network")}
    history = [{"epoch": i, "train": None, "validation": 1.0} for i in range(3)]
    data = {
        "target": read.chosen.target,
        "unit": unit,
        "errors": {"best_baseline": "linear"},
        "training": {"history": history, "best_epoch": 1},
    }
    found = [pictures.forecast(data, read, windows, forecasts, later), pictures.learning(data)]
    return [np.asarray(Image.open(io.BytesIO(content)).convert("L")) for content in found]


NAMES = ["cost_$_per_$x", "$_$", "$x^2$", "\\frac{", "a\nb\tc", "日本", "x" * 5000, "%s {0}", ""]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_not_a_formula(name):
    table = pl.DataFrame({name: WAVE, f"{name}g": [f"{name}1"] * ROWS, f"{name}t": np.arange(ROWS) * 3 % 7 + 10.0})
    for picture in drawn(table.drop(f"{name}t"), name, target=name, group=f"{name}g"):
        assert min(picture.shape) > 400
        assert len(np.unique(picture)) > 20


def test_a_name_is_not_a_formula_where_tex_is_on():
    with mpl.rc_context({"text.parse_math": True}):
        first = drawn(pl.DataFrame({"$x$": WAVE}))[0]
    second = drawn(pl.DataFrame({"$y$": WAVE}))[0]
    assert (first != second).any()


@pytest.mark.parametrize(
    "first", [dt.date(1, 1, 3), dt.date(1900, 1, 1), dt.date(2024, 1, 1), dt.date(9998, 6, 1), dt.date(9999, 6, 14)]
)
def test_dates_of_any_year_are_drawn(first):
    days = np.datetime64(first) + np.arange(ROWS)
    for picture in drawn(pl.DataFrame({"day": days, "temp": WAVE})):
        assert len(np.unique(picture)) > 20


def test_each_series_is_drawn_with_its_own_forecast():
    short = {"g": ["a"] * 100 + ["b"] * 100 + ["c"] * 3, "temp": [*WAVE, *WAVE[:3]]}
    for picture in drawn(pl.DataFrame(short), target="temp", group="g"):
        assert len(np.unique(picture)) > 20
