# SPDX-License-Identifier: Apache-2.0
"""Reading tables: every source gives the same rows, columns and times; gaps, fills, groups and segments."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from elman import DataError
from elman.forecasting import reading
from elman.forecasting.parts import parts_at_origins
from elman.forecasting.settings import Settings
from elman.forecasting.source import open_table
from elman.forecasting.windows import windows_of
from fit_cases import DATED, DAYS, LINES, NOISE, ROWS, WAVE, csv_file, frame

WANTED = np.column_stack([WAVE, NOISE]).astype("float32")
TEXT = "\n".join(LINES) + "\n"


def read(table, fill=None, **asked):
    return reading.read(open_table(table), Settings(**{"target": "temp", "fill": fill} | asked))


FILES = {
    "UTF-8": TEXT.encode(),
    "a mark before it": TEXT.encode("utf-8-sig"),
    "CR LF": TEXT.replace("\n", "\r\n").encode(),
    "semicolons and decimal commas": TEXT.replace(",", ";").replace(".", ",").encode(),
    "tabs": TEXT.replace(",", "\t").encode(),
    "quotes": "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in LINES).encode(),
    "blanks around": TEXT.replace("\n", " \n")
    .replace("wind ", "wind")
    .replace(",", ", ")
    .replace(" wind", "wind")
    .encode(),
    "empty lines at the end": TEXT.encode() + b"\n\n",
    "no line end": TEXT.encode().rstrip(),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_csv_file_is_read_however_it_is_written(content, tmp_path):
    found = read(csv_file(tmp_path, content))
    assert found.chosen.features == ["temp", "wind"]
    assert_array_equal(found.rows, WANTED)


def test_parquet_and_tables_in_memory_are_the_same(tmp_path):
    path = tmp_path / "data.parquet"
    frame().write_parquet(path)
    structured = np.array(list(zip(WAVE, NOISE, strict=True)), dtype=[("temp", "f8"), ("wind", "f8")])
    nullable = pd.DataFrame({"temp": pd.array(WAVE, dtype="Float64"), "wind": NOISE})
    for table in (path, str(path), frame(), frame().lazy(), structured, nullable):
        assert_array_equal(read(table).rows, WANTED)
    for array in (WANTED, np.asfortranarray(WANTED), WANTED.astype("float64").tolist()):
        assert_array_equal(read(np.asarray(array), target="x0").rows, WANTED)


def test_columns_that_are_not_numbers_are_left_out_with_a_note():
    names = [f"name {i}" for i in NOISE]
    found = read(frame(flag=NOISE > 0, city=["a"] * ROWS, name=names, row=np.arange(ROWS), nothing=[None] * ROWS))
    assert found.chosen.features == ["temp", "wind", "flag"]
    assert found.chosen.time == "row"
    assert found.notes == [
        "Column 'row' is taken for the time.",
        "Left out: name (text), nothing (empty), city (always 'a').",
    ]
    assert set(found.rows[:, 2]) == {0, 1}


TIMES = {
    "ISO": "%Y-%m-%d",
    "ISO with a T and a zone": "%Y-%m-%dT00:00:00Z",
    "with seconds": "%Y-%m-%d 00:00:00",
    "German": "%d.%m.%Y",
    "American": "%m/%d/%Y",
    "British": "%d/%m/%Y",
}


@pytest.mark.parametrize("form", TIMES.values(), ids=TIMES)
def test_times_are_read_however_they_are_written(form, tmp_path):
    days = [day.astype(object).strftime(form) for day in DAYS]
    found = read(csv_file(tmp_path, "\n".join(["day,temp", *(f"{d},{a}" for d, a in zip(days, WAVE, strict=True))])))
    assert found.clock.temporal
    assert_array_equal(found.times.astype("int64").astype("datetime64[us]").astype("datetime64[D]"), DAYS)


def test_the_file_that_is_named_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "~" / "a=1").mkdir(parents=True)
    (tmp_path / "home" / "a=1").mkdir(parents=True)
    for name in ("data[1]", "d*", "d?", "~/data", "~/a=1/data"):
        for other in ("data1", "data", "home/data", "home/a=1/data"):
            frame(temp=WAVE + 9).write_csv(tmp_path / f"{other}.csv")
            frame(temp=WAVE + 9).write_parquet(tmp_path / f"{other}.parquet")
        frame().write_csv(f"./{name}.csv")
        frame().write_parquet(tmp_path / f"{name}.parquet")
        for suffix in ("csv", "parquet"):
            found = read(f"{name}.{suffix}")
            assert found.chosen.features == ["temp", "wind"]
            assert_array_equal(found.rows, WANTED)


def numbered(cells, separator=";"):
    return f"day{separator}temp\n" + "".join(f"d{i}{separator}{cell}\n" for i, cell in enumerate(cells))


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize(
    "cells",
    [
        ["998", "1,002", "1,005"],
        ["1,002", "1,005", "1,010"],
        ["998.5", "1,002", "999.5"],
        ["1,234,567", "12", "15"],
        ["998", "1.002", "999"],
        ["0,5", "1.002", "2,5"],
    ],
)
def test_what_may_be_a_fraction_or_thousands_is_refused(cells, separator, tmp_path):
    with pytest.raises(DataError, match=r"row \d, column 'temp': '1[.,]\S+' may be a fraction or a number with a thou"):
        read(csv_file(tmp_path, numbered(cells, separator)))


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["0,998", "1,002", "1,005"], [0.998, 1.002, 1.005]),
        (["1,002", "12,50", "1,005"], [1.002, 12.5, 1.005]),
        (["1234,567", "1,005", "-3,125"], [1234.567, 1.005, -3.125]),
        (["0.998", "1.002", "1.005"], [0.998, 1.002, 1.005]),
        (["1.002", "1500", "3"], [1.002, 1500, 3]),
        (["12.345", "13.500", "14.125"], [12.345, 13.5, 14.125]),
    ],
)
def test_a_cell_that_shows_what_the_mark_is_decides(cells, values, tmp_path):
    assert_array_equal(read(csv_file(tmp_path, numbered(cells))).rows[:, 0], np.array(values, "float32"))


def test_one_cell_decides_for_all_that_follow_it(tmp_path, monkeypatch):
    monkeypatch.setattr("elman.forecasting.csv_files.BATCH", 2)
    cells = ["12,5", "13,5", "1,002", "1,005", "1,010"]
    assert_array_equal(read(csv_file(tmp_path, numbered(cells))).rows[2:, 0], np.array([1.002, 1.005, 1.01], "float32"))


def test_dates_of_eight_digits_are_times(tmp_path):
    days = [int(day.astype(object).strftime("%Y%m%d")) for day in DAYS]
    for table in (frame(day=days), csv_file(tmp_path, frame(day=days).write_csv())):
        found = read(table)
        assert found.chosen.time == "day"
        assert_array_equal(found.times.astype("int64").astype("datetime64[us]").astype("datetime64[D]"), DAYS)
    assert read(frame(code=19_000_000 + np.arange(ROWS) * 791_907 % 1_999_999)).chosen.features == [
        "temp",
        "wind",
        "code",
    ]


@pytest.mark.parametrize("kind", ["categories", "enumeration"])
def test_text_that_is_stored_as_categories_is_text(kind, tmp_path):
    text = frame(day=DAYS).with_columns(pl.all().cast(pl.String))
    words = pl.Enum(pl.concat([text[name] for name in text.columns]).unique())
    path = tmp_path / "data.parquet"
    text.with_columns(pl.all().cast(pl.Categorical if kind == "categories" else words)).write_parquet(path)
    for table in (path, pl.read_parquet(path)):
        found = read(table)
        assert found.chosen.time == "day"
        assert_array_equal(found.rows, WANTED)
    pandas = pd.DataFrame(text.to_dict(as_series=False)).astype("category")
    assert_array_equal(read(pandas).rows, WANTED)


@pytest.mark.parametrize("names", [("0", "1"), ("400.5", "401.0"), ("2024-01-01", "2024-01-02"), ("", "0")])
def test_names_may_be_numbers_or_dates(names, tmp_path):
    lines = [",".join(names), *LINES[1:]]
    assert read(csv_file(tmp_path, "\n".join(lines)), target=names[1]).chosen.features == list(names)


def test_a_time_column_without_a_name_is_the_time(tmp_path):
    path = csv_file(tmp_path, frame(**{"": DAYS}).select("", "temp", "wind").write_csv())
    assert read(path).chosen.time == ""
    with pytest.raises(DataError, match="column '' .the time.: a gap"):
        read(csv_file(tmp_path, frame(**{"": np.where(np.arange(ROWS) < 9, DAYS, DAYS + 7)}).write_csv()))


def test_an_index_of_pandas_is_the_time_in_its_zone():
    index = pd.date_range("2024-03-30", periods=ROWS, freq="h", tz="Europe/Berlin")  # over a change of the clocks
    found = read(pd.DataFrame({"temp": WAVE}, index=index))
    assert found.chosen.time == "time"
    assert_array_equal(np.diff(found.times), 3600e6)
    assert found.clock.text(found.times[0]) == "2024-03-30 00:00:00+01:00"


def test_an_index_of_pandas_may_be_called_as_a_column():
    found = read(pd.DataFrame({"temp": WAVE, "time": NOISE}, index=pd.DatetimeIndex(DAYS)))
    assert (found.chosen.time, found.chosen.features) == ("time_", ["temp", "time"])
    with pytest.raises(DataError, match="the table has the column 'temp' 2 times; expected distinct names"):
        read(pd.DataFrame({"temp": WAVE}, index=pd.DatetimeIndex(DAYS, name="temp")))


def test_a_clock_that_jitters_is_the_time():
    clock = np.arange(ROWS) * 0.02 + np.where(np.arange(ROWS) % 2, 0.002, 0)
    assert read(frame(seconds=clock)).chosen.time == "seconds"


@pytest.mark.parametrize("fill", ["linear", "previous"])
def test_fill(fill, tmp_path):
    lines = [DATED[0], *(line for i, line in enumerate(DATED[1:]) if i not in {100, 101})]
    lines[50] = lines[50].partition(",")[0] + ","
    found = read(csv_file(tmp_path, "\n".join(lines)), fill)
    assert (len(found.rows), found.filled) == (ROWS, 3)
    wave = WAVE.astype("float32")
    between = {"linear": (wave[48] + wave[50]) / 2, "previous": wave[48]}[fill]
    np.testing.assert_allclose(found.rows[49, 0], between, rtol=1e-6)
    assert_array_equal(np.delete(found.rows[:, 0], [49, 100, 101]), np.delete(wave, [49, 100, 101]))
    assert_array_equal(np.diff(found.times), 86_400e6)


@pytest.mark.parametrize("fill", ["linear", "previous"])
def test_no_window_ends_in_a_row_that_was_filled_by_what_is_to_be_forecast(fill):
    empty = {20, 21, 150, 199}
    found = read(frame(temp=[None if i in empty else v for i, v in enumerate(WAVE)]), fill)
    (part,) = parts_at_origins(found, 1)
    starts = np.concatenate([*windows_of(found, part, 4, 2).starts.values()])
    ends = set((starts + 3).tolist())
    assert set(range(60, 100)) <= ends
    assert bool(ends & {20, 21, 150}) == (fill == "previous")
    assert set(np.flatnonzero(found.made)) == empty


def test_a_table_whose_end_is_filled_cannot_be_judged():
    found = read(frame(temp=[v if i < 130 else None for i, v in enumerate(WAVE)]), "previous")
    with pytest.raises(DataError, match="every held-out value of 'temp' was empty and is filled, so that no forecast"):
        windows_of(found, parts_at_origins(found, 1)[0], 4, 2)


def test_a_table_with_an_empty_cell_in_most_rows_is_not_interpolated():
    found = read(frame(wind=[v if i % 4 == 0 else None for i, v in enumerate(NOISE)]), "linear")
    (part,) = parts_at_origins(found, 1)
    assert len(windows_of(found, part, 4, 2).starts["test"])
    found = read(
        frame(
            temp=[v if i % 2 else None for i, v in enumerate(WAVE)],
            wind=[v if i % 2 == 0 else None for i, v in enumerate(NOISE)],
        ),
        "linear",
    )
    with pytest.raises(
        DataError, match="fill is 'linear', which reads the value after an empty cell, and 100 % of the rows"
    ):
        windows_of(found, part, 4, 2)


def test_split_cuts_at_gaps_and_empty_cells(tmp_path):
    lines = [DATED[0], *(line for i, line in enumerate(DATED[1:]) if i not in {100, 101})]
    lines[50] = lines[50].partition(",")[0] + ","
    found = read(csv_file(tmp_path, "\n".join(lines)), "split")
    assert found.segments.tolist() == [[0, 49], [49, 99], [99, ROWS - 3]]


def test_keep_takes_rows_as_they_come():
    kept = DAYS[(np.arange(ROWS) % 7) < 5]  # a week of five days
    found = read(pl.DataFrame({"day": kept, "temp": WAVE[: len(kept)]}), "keep")
    assert found.segments.tolist() == [[0, len(kept)]]


def test_series_side_by_side_are_put_one_after_the_other():
    table = pl.DataFrame({"g": ["b", "a"] * ROWS, "day": np.repeat(DAYS, 2), "temp": np.repeat(WAVE, 2)})
    found = read(table, group="g")
    assert found.group_names == ["b", "a"]
    assert found.segments.tolist() == [[0, ROWS], [ROWS, 2 * ROWS]]
    assert_array_equal(found.rows[:ROWS, 0], WAVE.astype("float32"))


def test_rows_that_do_not_fit_into_memory_are_mapped(monkeypatch):
    monkeypatch.setattr("elman.forecasting.table.IN_MEMORY", 100)
    monkeypatch.setattr("elman.forecasting.table.CHUNK", 7)
    monkeypatch.setattr("elman.forecasting.other_files.BATCH", 16)
    found = read(frame(g=["b", "a"] * (ROWS // 2)), group="g")
    assert isinstance(found.rows, np.memmap)
    assert_array_equal(found.rows, np.concatenate([WANTED[::2], WANTED[1::2]]))
    assert isinstance(read(frame()).rows, np.memmap)
