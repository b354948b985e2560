# SPDX-License-Identifier: Apache-2.0
"""The pictures of a run: whatever the names and the times of a table are, there is a picture, and names are not TeX."""

import datetime as dt
import io

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from matplotlib.text import Text
from PIL import Image

from elman.forecasting import pictures, reading
from elman.forecasting.forecast import last_forecast
from elman.forecasting.parts import parts_at_origins
from elman.forecasting.settings import Settings
from elman.forecasting.source import open_table
from elman.forecasting.windows import windows_of
from fit_cases import DAYS, ROWS, WAVE, frame

_ENDS = (("lower", -1), ("upper", 1))


VERDICT = "The network is not better: its error is 25.0 % above that of the linear model. Use that."


def given(table, unit=None, ahead=2, **settings):
    """What the picture of forecasts is drawn from, of a run on a table: models that forecast 0 and 0.5."""
    read = reading.read(open_table(table), Settings(**settings))
    windows = windows_of(read, parts_at_origins(read, 1)[0], 4, ahead)
    later, _ = last_forecast(lambda rows: np.zeros((len(rows), ahead)), read, 4, ahead, 0)
    shape = len(windows.starts["test"]), ahead
    forecasts = {"linear": np.full(shape, 0.5), "network": np.zeros(shape)}
    history = [{"epoch": i, "train": None, "validation": 1.0} for i in range(3)]
    data = {
        "target": read.chosen.target,
        "unit": unit,
        "table": {"name": "waves"},
        "errors": {
            "best_baseline": "linear",
            "models": {"linear": {"rmse": 0.8}, "network": {"rmse": 1.0}},
            "verdict": VERDICT,
        },
        "training": {"history": history, "best_epoch": 1},
    }
    return data, read, windows, forecasts, later


def drawn(table, unit=None, **settings):
    """Both pictures of a run on a table."""
    data, *rest = given(table, unit, **settings)
    found = [pictures.forecast(data, *rest), pictures.learning(data)]
    return [np.asarray(Image.open(io.BytesIO(content)).convert("L")) for content in found]


def texts(figure):
    """Everything that a figure says."""
    figure.draw_without_rendering()
    return " ".join(text.get_text().replace("\n", " ") for text in figure.findobj(Text) if text.get_visible())


NAMES = ["cost_$_per_$x", "$_$", "$x^2$", "\\frac{", "a\nb\tc", "日本", "x" * 5000, "%s {0}", ""]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_not_a_formula(name):
    table = pl.DataFrame({name: WAVE, f"{name}g": [f"{name}1"] * ROWS, f"{name}t": np.arange(ROWS) * 3 % 7 + 10.0})
    for picture in drawn(table.drop(f"{name}t"), name, target=name, group=f"{name}g"):
        assert min(picture.shape) > 400
        assert len(np.unique(picture)) > 20


@pytest.mark.slow
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


def test_the_picture_can_be_sent_alone():
    figure = pictures.forecast_figure(*given(frame(day=DAYS), "m/s^2", target="temp"))
    said = texts(figure)
    for words in (
        "temp of waves: forecasts 2 rows ahead",
        VERDICT,
        "1 m/s² (network), 0.8 m/s² (linear model)",
        "temp [m/s²]",
        "day",
        "2024",
        "actual",
        "network from each circle",
        "forecast",
    ):
        assert words in said


@pytest.mark.parametrize("ahead", [2, 5])
def test_forecasts_begin_at_marks_and_the_last_one_is_joined_to_the_last_value(ahead):
    (axes,) = pictures.forecast_figure(*given(pl.DataFrame({"temp": WAVE}), ahead=ahead)).axes
    (marks,) = [line for line in axes.lines if line.get_marker() == "o" and line.get_markerfacecolor() == "white"]
    assert np.array_equal(WAVE[marks.get_xdata()].astype("float32"), marks.get_ydata())
    forecasts = [line for line in axes.lines if len(line.get_xdata()) == ahead + 1 and line.get_linewidth() < 1.5]
    assert sorted({int(line.get_xdata()[0]) for line in forecasts}) == list(marks.get_xdata())
    assert len(forecasts) == 2 * len(marks.get_xdata())
    (last,) = [line for line in axes.lines if line.get_linewidth() == 1.8]
    assert last.get_xdata()[0] == ROWS - 1
    assert last.get_ydata()[0] == np.float32(WAVE[-1])


def test_the_intervals_are_drawn_where_there_are_some():
    data, *rest, later = given(pl.DataFrame({"temp": WAVE}))
    assert not pictures.forecast_figure(data, *rest, later).axes[0].collections
    ends = {f"{end}_{level}": sign * width for level, width in ((80, 1.0), (95, 2.0)) for end, sign in _ENDS}
    later = later.with_columns(**{name: pl.col("temp") + change for name, change in ends.items()})
    figure = pictures.forecast_figure(data, *rest, later)
    wide, narrow = (each.get_paths()[0].vertices[:, 1] for each in figure.axes[0].collections)
    assert (wide.min(), wide.max(), narrow.min(), narrow.max()) == (-2, 2, -1, 1)
    assert "forecast, 80 % and 95 % intervals" in texts(figure)
    without = later.with_columns(upper_95=float("inf"))
    assert len(pictures.forecast_figure(data, *rest, without).axes[0].collections) == 1


def test_models_that_forecast_the_same_are_one_line():
    data, table, windows, forecasts, later = given(pl.DataFrame({"temp": WAVE}))
    forecasts["linear"] = forecasts["network"] + 1e-6
    assert "network, and linear model from each circle" in texts(
        pictures.forecast_figure(data, table, windows, forecasts, later)
    )


@pytest.mark.parametrize("ahead", [1, 2, 20])
def test_names_of_lines_do_not_cover_each_other_or_leave_the_picture(ahead):
    figure = pictures.forecast_figure(*given(frame(day=DAYS), ahead=ahead, target="temp"))
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 4
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_the_model_that_the_run_uses_is_the_one_that_is_drawn():
    data, *rest = given(pl.DataFrame({"temp": WAVE}))
    figure = pictures.forecast_figure(data | {"model": "linear"}, *rest)
    assert "linear model from each circle" in texts(figure)
    assert "0.8 (linear model), 1 (network)" in texts(figure)
