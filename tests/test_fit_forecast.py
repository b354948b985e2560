# SPDX-License-Identifier: Apache-2.0
"""Forecasts as a table and as a CSV file: the times that follow, names that collide, names that are formulas."""

import datetime as dt
import zoneinfo

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal

import elman
from elman.forecasting import reading
from elman.forecasting.clock import Clock
from elman.forecasting.forecast import as_frame, forecasts_of, from_csv, last_forecast, last_windows, to_csv
from elman.forecasting.settings import Settings
from elman.forecasting.source import open_table
from fit_cases import WAVE

HOURS = [dt.datetime(2024, 1, 1) + dt.timedelta(hours=i) for i in range(40)]


def last_value(rows):
    """A model that repeats the last value twice."""
    return np.repeat(rows[:, -1, :1], 2, axis=1)


def forecast(table, **settings):
    read = reading.read(open_table(table), Settings(**settings))
    return last_forecast(last_value, read, 4, 2, 0)


# --- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "settings", "names"),
    [
        ({"temp": WAVE[:40]}, {}, ["after", "ahead", "temp"]),
        ({"ahead": WAVE[:40]}, {}, ["after", "ahead_", "ahead"]),
        ({"after": WAVE[:40]}, {}, ["after_", "ahead", "after"]),
        ({"ahead": HOURS, "temp": WAVE[:40]}, {"target": "temp"}, ["after", "ahead", "ahead_", "temp"]),
        ({"": HOURS, "temp": WAVE[:40]}, {"target": "temp"}, ["after", "", "ahead", "temp"]),
        (
            {"ahead": ["a"] * 20 + ["b"] * 20, "temp": WAVE[:40]},
            {"target": "temp", "group": "ahead"},
            ["ahead", "after", "ahead_", "temp"],
        ),
        (
            {"after": ["a"] * 20 + ["b"] * 20, "t": HOURS, "after_": WAVE[:40]},
            {"target": "after_", "group": "after"},
            ["after", "after__", "t", "ahead", "after_"],
        ),
    ],
)
def test_no_column_of_the_table_is_lost(columns, settings, names):
    found, _ = forecast(pl.DataFrame(columns), **settings)
    assert found.columns == names
    groups = 2 if settings.get("group") else 1
    assert found.height == 2 * groups
    if settings.get("group"):
        assert found[settings["group"]].to_list() == ["a", "a", "b", "b"]


def test_where_every_series_is_too_short_there_is_no_forecast():
    table = pl.DataFrame({"g": ["a", "b"] * 3, "temp": WAVE[:6]})
    found, short = forecast(table, target="temp", group="g")
    assert (found.height, short) == (0, ["a", "b"])
    assert found.columns == ["g", "after", "ahead", "temp"]


@pytest.mark.parametrize(
    ("table", "settings", "rows"),
    [
        ({"g": ["a", "b"] * 9}, {"group": "g"}, [18, 18, 19, 19]),  # in turn, so that they are put in another order
        ({"wind": [None, *WAVE[:17]]}, {"fill": "split"}, [19, 19]),
    ],
)
def test_a_forecast_without_times_names_the_row_that_it_follows(table, settings, rows, tmp_path):
    path = tmp_path / "data.csv"
    pl.DataFrame(table | {"temp": WAVE[:18]}).write_csv(path)
    read = reading.read(open_table(path), Settings(target="temp", **settings))
    assert last_forecast(last_value, read, 4, 2, 2)[0]["after"].to_list() == rows


def test_no_windows_have_no_forecasts():
    read = reading.read(open_table(WAVE[:6]), Settings())
    assert forecasts_of(last_value, read, np.zeros(0, "int64"), 4, 2).shape == (0, 2)


def test_times_of_one_row_are_written_alike():
    found, _ = forecast(pl.DataFrame({"t": HOURS[:24], "temp": WAVE[:24]}), target="temp")
    assert found["after"].to_list() == [HOURS[23]] * 2
    assert found["t"].to_list() == [dt.datetime(2024, 1, 2), dt.datetime(2024, 1, 2, 1)]
    assert found["t"].dtype == found["after"].dtype


# --- times -----------------------------------------------------------------------------------------------------------


def microseconds(times):
    return np.array([np.datetime64(t.replace(tzinfo=None), "us") for t in times]).astype("int64").astype("float64")


def utc(times):
    return microseconds([t.astimezone(dt.UTC) for t in times])


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
DAYS = [dt.datetime(2024, 3, d, tzinfo=BERLIN) for d in range(20, 32)] + [dt.datetime(2024, 4, 1, tzinfo=BERLIN)]
QUARTER_HOURS = [dt.datetime(2024, 10, 27, tzinfo=dt.UTC) + dt.timedelta(minutes=15 * i) for i in range(9)]
MONTHS = [dt.datetime(2024, 1 + i, 1, tzinfo=BERLIN) for i in range(5)]


@pytest.mark.parametrize(
    ("times", "known"), [(DAYS, 2), (DAYS, 12), (QUARTER_HOURS, 2), (QUARTER_HOURS, 6), (MONTHS, 3)]
)
def test_times_that_follow_in_a_zone_whose_clocks_change(times, known):
    later = Clock(True, "Europe/Berlin").later(utc(times[:known]), len(times) - known)
    assert_array_equal(later, utc(times[known:]))


def test_a_time_that_clocks_never_show_is_not_forecast():
    times = [dt.datetime(2024, 3, d, 2, 30, tzinfo=BERLIN) for d in (28, 29, 30)]
    assert Clock(True, "Europe/Berlin").later(utc(times), 1) is None


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_times_beyond_the_year_9999_are_left_out(zone):
    times = microseconds([dt.datetime(9999, 12, d) for d in (27, 28, 29)])
    assert len(Clock(True, zone).later(times, 1)) == 1
    assert Clock(True, zone).later(times, 5) is None


def test_irregular_times_have_no_next_one():
    assert Clock(False).later(np.array([1.0, 2, 4]), 1) is None
    assert Clock(True).later(microseconds([HOURS[0], HOURS[1], HOURS[5]]), 1) is None
    assert Clock(False).later(np.array([1.0]), 1) is None


@pytest.mark.parametrize(
    ("times", "rows", "text"),
    [
        (MONTHS, 2, "2 months"),
        (DAYS, 7, "7 d"),
        (QUARTER_HOURS, 4, "1 h"),
    ],
)
def test_a_period_has_its_length(times, rows, text):
    assert Clock(True, "Europe/Berlin").period_text(utc(times), rows) == text
    assert Clock(False).period_text(np.arange(9.0), 3) == ""


@pytest.mark.parametrize(
    ("offset", "hour"), [("+09:00", "+0900"), ("+0900", "+0900"), ("Z", "+0000"), ("-03", "-0300"), ("+05:30", "+0530")]
)
def test_the_forecast_of_times_with_an_offset_is_in_it(tmp_path, offset, hour):
    lines = [f"{h:%Y-%m-%dT%H:%M:%S}{offset},{v}" for h, v in zip(HOURS, WAVE, strict=False)]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["t,temp", *lines]))
    found, _ = forecast(path, target="temp")
    table = pl.read_csv(path)["t"].str.to_datetime("%Y-%m-%dT%H:%M:%S%#z")
    assert found["t"][0] == table[-1] + dt.timedelta(hours=1)
    assert hour in to_csv(found).splitlines()[1]
    to = tmp_path / "forecast.csv"
    to.write_text(to_csv(found))
    assert from_csv(to, found["t"].dtype.time_zone).equals(found)


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Europe/Berlin", "UTC"])
def test_the_forecast_of_a_frame_with_a_zone_is_in_it(zone):
    times = pl.Series(HOURS).dt.replace_time_zone(zone)
    polars = pl.DataFrame({"t": times, "temp": WAVE[:40]})
    pandas = pd.DataFrame({"t": times.to_list(), "temp": WAVE[:40]})
    for table in (polars, pandas):
        found, _ = forecast(table, target="temp")
        assert found["t"].dtype.time_zone == zone
        assert found["t"][0] == times[-1] + dt.timedelta(hours=1)


# --- the file --------------------------------------------------------------------------------------------------------

FORMULAS = ["=1+1", "+cmd", "-cmd", "@sum", "\t=1", "\r=1", " =1", "\uff1d1", "'=1", "''+x"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_is_a_formula_and_all_of_it_comes_back(text, tmp_path):
    frame = pl.DataFrame({text: [1.5, 2.5], "g": [text, "plain"]})
    written = to_csv(frame)
    header, first, _ = pl.read_csv(written.encode(), has_header=False, infer_schema=False).rows()
    assert (header[0], first[1]) == (f"'{text}", f"'{text}")
    path = tmp_path / "forecast.csv"
    path.write_text(written, newline="")
    assert from_csv(path, None).equals(frame)


@pytest.mark.parametrize("names", [["2020-01-01", "2021-01-01"], ["1", "007"]])
def test_names_of_groups_stay_text(names, tmp_path):
    frame = pl.DataFrame({"=g": names, "temp": [1.5, 2.5]})
    path = tmp_path / "forecast.csv"
    path.write_text(to_csv(frame))
    assert from_csv(path, None, ["=g"]).equals(frame)


def test_numbers_and_other_text_are_written_as_they_are():
    frame = pl.DataFrame({"g": ["-5", "+1.5e3", "a=b", "it's", "x", "'quoted'"], "temp": [-1.5, 2, 3, 4, 5, 6]})
    assert to_csv(frame) == frame.write_csv()


def test_a_damaged_file_is_one_sentence(tmp_path):
    path = tmp_path / "forecast.csv"
    with pytest.raises(elman.DataError, match="forecast.csv is missing or damaged"):
        from_csv(path, None)
    path.write_bytes(b"a,b\n1,2,3\n")
    with pytest.raises(elman.DataError, match="forecast.csv is missing or damaged"):
        from_csv(path, None)


def test_last_windows_are_the_last_of_each_series():
    table = pl.DataFrame({"g": ["a"] * 9 + ["b"] * 2, "temp": WAVE[:11]})
    read = reading.read(open_table(table), Settings(target="temp", group="g"))
    starts, short = last_windows(read, 4)
    assert (starts.tolist(), short) == ([5], ["b"])
    assert as_frame(read, starts, 4, np.ones((1, 2)), 0)["g"].to_list() == ["a", "a"]


def test_a_series_without_a_complete_row_has_no_forecast():
    table = pl.DataFrame({"g": ["a"] * 9 + ["b"] * 9, "temp": [*WAVE[:9], *[None] * 9]})
    found, short = forecast(table, target="temp", group="g", fill="split")
    assert (found["g"].to_list(), short) == (["a", "a"], ["b"])
