# SPDX-License-Identifier: Apache-2.0
"""Times as people write them: every form is the same moments; what cannot be read or told apart is one sentence."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal

import elman
from elman import DataError
from elman.forecasting import reading
from elman.forecasting.settings import Settings
from elman.forecasting.source import open_table
from fit_cases import DAYS, NOISE, ROWS, SMALL, WAVE, csv_file, frame

HOURS = pd.date_range("2010-01-01", periods=ROWS, freq="h")
MONTHS = pd.date_range("1991-07-01", periods=ROWS, freq="MS")
QUARTERS = pd.date_range("1970-01-01", periods=ROWS, freq="QS")
WEEKS = pd.date_range("2010-01-04", periods=ROWS, freq="7D")
_DAYS = pd.DatetimeIndex(DAYS)


def read(table, **asked):
    return reading.read(open_table(table), Settings(**{"target": "temp"} | asked))


def moments(found):
    return found.times.astype("int64").astype("datetime64[us]")


def table_of(folder, texts, name="date"):
    lines = [f"{name},temp", *(f'"{text}",{value}' for text, value in zip(texts, WAVE, strict=False))]
    return csv_file(folder, "\n".join(lines))


FORMS = {
    "American, twelve hours": (HOURS, "%m/%d/%y %I:%M %p"),
    "American, seconds": (HOURS, "%m/%d/%Y %I:%M:%S %p"),
    "a month's name first": (HOURS, "%b %d %Y %H:%M"),
    "a month's name with a comma": (HOURS, "%B %d, %Y %H:%M"),
    "Excel's": (_DAYS, "%d-%b-%y"),
    "Excel's long": (_DAYS, "%A, %d %B %Y"),
    "a blank between": (_DAYS, "%d %b %Y"),
    "ctime": (HOURS, "%a %b %d %H:%M:%S %Y"),
    "of a mail": (HOURS, "%a, %d %b %Y %H:%M:%S"),
    "nanoseconds": (HOURS, "%Y-%m-%dT%H:%M:%S.000000000"),
    "compact with a time": (HOURS, "%Y%m%dT%H%M%S"),
    "compact hours": (HOURS, "%Y%m%d%H"),
    "compact minutes": (HOURS, "%Y%m%d%H%M"),
    "compact seconds": (HOURS, "%Y%m%d%H%M%S"),
    "a compact day with a point": (_DAYS, "%Y%m%d.0"),
    "points, year first": (_DAYS, "%Y.%m.%d"),
    "British, two digits": (_DAYS, "%d/%m/%y"),
    "American, two digits": (_DAYS, "%m/%d/%y"),
    "Japanese, two digits": (_DAYS, "%y/%m/%d"),
    "hyphens, two digits": (_DAYS, "%y-%m-%d"),
    "German, two digits": (_DAYS, "%d.%m.%y"),
    "R's months": (MONTHS, "%Y %b"),
    "months": (MONTHS, "%Y-%m"),
    "Excel's months": (MONTHS, "%b-%y"),
    "long months": (MONTHS, "%B %Y"),
    "compact months": (MONTHS, "%Y%m"),
    "Stata's months": (MONTHS, "%YM%m"),
    "weeks": (WEEKS, "%G-W%V"),
    "weeks as R has them": (WEEKS, "%G W%V"),
    "the weeks of pandas": (WEEKS, "%Y-%m-%d/2099-01-01"),
}


@pytest.mark.parametrize(("times", "form"), FORMS.values(), ids=FORMS)
def test_every_form_gives_the_same_moments(times, form, tmp_path):
    found = read(table_of(tmp_path, times.strftime(form)))
    assert found.chosen.time == "date"
    assert_array_equal(moments(found), times.to_numpy())


@pytest.mark.parametrize("form", ["{0.year} Q{0.quarter}", "{0.year}Q{0.quarter}", "Q{0.quarter} {0.year}"])
def test_quarters(form, tmp_path):
    found = read(table_of(tmp_path, [form.format(time) for time in QUARTERS]))
    assert_array_equal(moments(found), QUARTERS.to_numpy())
    assert found.clock.period_text(found.times, 4) == "1 year"


def test_a_year_of_two_digits_is_of_this_century_below_69(tmp_path):
    texts = [f"01-Jan-{year:02d}" for year in (68, 69, 70, 99)]
    assert [str(day)[:4] for day in moments(read(table_of(tmp_path, texts), sort=True, fill="keep"))] == [
        "1969",
        "1970",
        "1999",
        "2068",
    ]


def test_the_end_of_a_day_may_be_hour_24(tmp_path):
    texts = [f"2010-01-0{1 + i // 24} {i % 24 + 1:02d}:00" for i in range(100)]
    assert_array_equal(moments(read(table_of(tmp_path, texts))), HOURS[:100].to_numpy() + np.timedelta64(1, "h"))


def test_the_day_numbers_of_excel_are_dates(tmp_path):
    found = read(table_of(tmp_path, range(45292, 45292 + ROWS)))
    assert_array_equal(moments(found), DAYS)
    assert "Column 'date' holds the day numbers of Excel; they are shown as dates." in found.notes


UNREAD = {
    "day and month": ([f"0{1 + i}/02/2024" for i in range(9)], "day and month cannot be told apart"),
    "day, month and year": ([f"0{1 + i}/02/03" for i in range(9)], "day, month and year cannot be told apart"),
    "in no order": (
        np.random.default_rng(0).permutation(_DAYS[:12].strftime("%d/%m/%Y")),
        "day and month cannot be told apart. Write them as 2024-01-31",
    ),
    "no year": (
        [f"Jan {1 + i:02d}" for i in range(31)],
        "looks like times, such as 'Jan 01', which cannot be read.*--exclude",
    ),
    "a zone by name": (HOURS.strftime("%Y-%m-%d %H:%M PST"), "looks like times, such as '2010-01-01 00:00 PST'"),
    "no date": (HOURS.strftime("%H:%M"), "times of day, such as '00:00', and no column has the date.*--exclude"),
    "a day that is none": (
        ["2023-02-27", "2023-02-28", "2023-02-29", "2023-03-01"],
        "row 4, column 'date': '2023-02-29'",
    ),
    "an hour that is none": (
        ["2023-02-27 10:00", "2023-02-27 11:00", "2023-02-27 25:00"],
        "row 4.*25:00' is not a time",
    ),
}


@pytest.mark.parametrize(("texts", "sentence"), UNREAD.values(), ids=UNREAD)
def test_times_that_cannot_be_read_are_an_error(texts, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence):
        read(table_of(tmp_path, texts))


def test_times_that_cannot_be_read_may_be_excluded(tmp_path):
    path = table_of(tmp_path, HOURS.strftime("%H:%M"))
    assert read(path, exclude=["date"]).times is None
    with pytest.raises(DataError, match="exclude has 'temp', which target names as well"):
        read(path, exclude=["temp"])


# --- of several columns ----------------------------------------------------------------------------------------------

_PARTS = {part: getattr(HOURS, part) for part in ("year", "month", "day", "hour", "minute")}
SEVERAL = {
    "date and time": ({"date": HOURS.strftime("%d.%m.%Y"), "clock": HOURS.strftime("%H:%M:%S")}, HOURS),
    "date and twelve hours": ({"date": HOURS.strftime("%m/%d/%y"), "clock": HOURS.strftime("%I:%M %p")}, HOURS),
    "date and hour": ({"date": HOURS.strftime("%Y-%m-%d"), "hour": HOURS.hour}, HOURS),
    "down to the hour": ({name: _PARTS[name] for name in ("year", "month", "day", "hour")}, HOURS),
    "down to the minute, with a count": ({"No": np.arange(ROWS)} | {n.upper(): v for n, v in _PARTS.items()}, HOURS),
    "year, month and day": ({"yr": _DAYS.year, "mo": _DAYS.month, "dy": _DAYS.day}, _DAYS),
    "year and month": ({"YEAR": MONTHS.year, "MONTH": MONTHS.month}, MONTHS),
    "year and a month's name": ({"Year": MONTHS.year, "Month": MONTHS.strftime("%B")}, MONTHS),
    "year and quarter as floats": (
        {"year": QUARTERS.year.astype(float), "quarter": QUARTERS.quarter.astype(float)},
        QUARTERS,
    ),
}


@pytest.mark.parametrize(("columns", "times"), SEVERAL.values(), ids=SEVERAL)
def test_a_time_may_be_in_several_columns(columns, times, tmp_path):
    table = pl.DataFrame({name: np.asarray(cells) for name, cells in columns.items()} | {"temp": WAVE})
    for each in (table, csv_file(tmp_path, table.write_csv())):
        found = read(each)
        assert_array_equal(moments(found), times.to_numpy())
        assert found.chosen.features == ["temp"]
        assert "The time is made of the columns" in found.notes[0]


def test_the_columns_of_a_time_may_be_named():
    table = pl.DataFrame({"when": list(HOURS.strftime("%Y-%m-%d")), "at": list(HOURS.strftime("%H:%M")), "temp": WAVE})
    for time in ("when, at", ["when", "at"]):
        assert_array_equal(moments(read(table, time=time)), HOURS.to_numpy())


def test_columns_of_the_calendar_beside_a_time_are_left_out():
    table = frame(day=DAYS, month=_DAYS.month, year=_DAYS.year, quarter=np.arange(ROWS) % 4 + 1)
    found = read(table)
    assert found.chosen.features == ["temp", "wind", "quarter"]  # which is not that of the date
    assert "month (the time says as much), year (the time says as much)" in found.notes[-1]


# --- order -----------------------------------------------------------------------------------------------------------


def test_rows_are_sorted_if_asked():
    order = np.random.default_rng(1).permutation(ROWS)
    table = frame(day=DAYS)[order]
    with pytest.raises(DataError, match=r"Sort the rows with sort=True \(--sort\)"):
        read(table)
    found = read(table, sort=True)
    assert_array_equal(moments(found), DAYS)
    assert_array_equal(found.rows[:, 0], WAVE.astype("float32"))
    assert "Rows are sorted by 'day'." in found.notes
    groups = pl.DataFrame({"g": ["b", "a"] * ROWS, "day": np.repeat(DAYS[::-1], 2), "temp": np.repeat(WAVE, 2)})
    assert read(groups, group="g", sort=True).segments.tolist() == [[0, ROWS], [ROWS, 2 * ROWS]]
    with pytest.raises(DataError, match="sort needs a column of times"):
        read(frame(), sort=True)


@pytest.mark.parametrize(("which", "value"), [("first", 1), ("last", 4), ("mean", 2.5)])
def test_one_of_several_rows_of_a_time(which, value):
    table = pl.DataFrame({"day": np.r_[DAYS[:5], DAYS[4:9]], "temp": [1.5, 2.5, 3.5, 4.5, 1, 4, 1.5, 2, 3, 4.0]})
    with pytest.raises(DataError, match=r"row 5 .*2024-01-05 again.*duplicates='first' \(--duplicates first\)"):
        read(table)
    found = read(table, duplicates=which)
    assert found.rows[4, 0] == value
    assert_array_equal(moments(found), DAYS[:9])
    assert f"1 row of a time that was there already: {which}." in found.notes


# --- months and zones ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("freq", ["MS", "ME", "QS", "QE", "YE", "YS"])
def test_months_are_months(freq):
    times = pd.date_range("1970-01-01", periods=ROWS + 20, freq=freq)
    table = pl.DataFrame({"date": times[:ROWS].to_numpy(), "temp": WAVE})
    found = read(table)
    assert_array_equal(
        found.clock.later(found.times, 20), times[ROWS:].to_numpy().astype("datetime64[us]").astype("int64")
    )
    months = {"M": 1, "Q": 3, "Y": 12}[freq[0]]
    years = 12 * months // 12
    assert found.clock.period_text(found.times, 12) == ("1 year" if years == 1 else f"{years} years")
    holes = np.delete(np.arange(ROWS), [50, 51, 90])
    with pytest.raises(DataError, match=r"a gap from .* where rows are (1 month|3 months|1 year) apart"):
        read(table[holes])
    filled = read(table[holes], fill="linear")
    assert_array_equal(moments(filled), times[:ROWS].to_numpy())


@pytest.mark.parametrize(
    ("zone", "shown", "sentence"),
    [
        ("Etc/GMT+8", "Etc/GMT+8", "Times have the offset -08:00."),
        ("America/Los_Angeles", "America/Los_Angeles", "Times are in the zone America/Los_Angeles."),
        ("Europe/Rome", "Europe/Berlin", "Times are in the zone Europe/Berlin."),
        ("Asia/Kolkata", "Asia/Kolkata", "Times are in the zone Asia/Kolkata."),
        ("UTC", "UTC", "Times are in UTC."),
    ],
)
def test_times_with_an_offset_are_shown_as_they_came(zone, shown, sentence, tmp_path):
    times = pd.date_range("2010-03-05", periods=24 * 30, freq="h", tz=zone)
    lines = ["date,temp", *(f"{time.isoformat(sep=' ')},{i % 7}.5" for i, time in enumerate(times))]
    found = read(csv_file(tmp_path, "\n".join(lines)))
    assert found.clock.zone == shown
    assert sentence in found.notes
    assert [found.clock.text(found.times[i]) for i in (0, -1)] == [times[i].isoformat(sep=" ") for i in (0, -1)]


def test_days_in_a_zone_whose_clocks_change_are_filled_at_midnight():
    days = pd.date_range("2024-03-01", periods=60, freq="D", tz="Europe/Berlin")
    kept = np.delete(np.arange(60), [30, 31])
    found = read(pd.DataFrame({"temp": WAVE[:60][kept]}, index=days[kept]), fill="linear")
    assert_array_equal(moments(found), days.tz_convert("UTC").tz_localize(None).to_numpy())


def test_noise_is_not_a_time():
    table = frame(code=[f"{'xyz'[i % 3]}{i}" for i in range(ROWS)], number=NOISE)
    assert read(table).times is None


# --- the calendar ----------------------------------------------------------------------------------------------------


CYCLES = {"min": ["hour", "day"], "h": ["day", "week"], "D": ["week", "year"], "MS": ["year"]}


@pytest.mark.parametrize(("freq", "cycles"), CYCLES.items())
def test_features_of_the_calendar(freq, cycles):
    rows = 500 if freq == "MS" else 1500
    times = pd.date_range("2024-01-01", periods=rows, freq=freq, tz="Europe/Berlin")
    table = pd.DataFrame({"temp": np.resize(WAVE, rows)}, index=times)
    found = read(table, calendar=True)
    assert found.chosen.features == ["temp", *(f"calendar {c}, {s}" for c in cycles for s in ("sine", "cosine"))]
    assert f"Features of the calendar: {', '.join(cycles)}." in found.notes
    shown = times.tz_localize(None)
    places = {
        "hour": shown.minute / 60,
        "day": (shown.hour + shown.minute / 60) / 24,
        "week": (shown.day_of_week + shown.hour / 24) / 7,
        "year": (shown.day_of_year - 1 + shown.hour / 24) / np.where(shown.is_leap_year, 366, 365),
    }
    for i, cycle in enumerate(cycles):
        angle = 2 * np.pi * places[cycle].to_numpy()
        np.testing.assert_allclose(
            found.rows[:, [1 + 2 * i, 2 + 2 * i]], np.c_[np.sin(angle), np.cos(angle)], atol=2e-6
        )


@pytest.mark.usefixtures("no_pictures")
def test_a_forecast_has_the_calendar_of_its_run(tmp_path):
    table = frame(day=DAYS).drop("wind")
    run = elman.fit(table, **SMALL | {"out": tmp_path / "run", "calendar": True})
    assert run.metrics["table"]["features"] == ["temp", "calendar week, sine", "calendar week, cosine"]
    assert elman.predict(run, table.tail(30))["temp"].to_list() == pytest.approx(
        run.forecast["temp"].to_list(), rel=1e-5
    )
    for refused in (frame(), frame(day=np.arange(ROWS))):
        with pytest.raises(DataError, match="calendar needs a column of dates or times"):
            read(refused, calendar=True)
