# SPDX-License-Identifier: Apache-2.0
"""Reading tables: every source gives the same rows, columns and times; gaps, fills, groups and segments."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from elman.forecasting import table as tables
from elman.forecasting.source import open_table
from fit_cases import DATED, DAYS, LINES, NOISE, ROWS, WAVE, csv_file, frame

WANTED = np.column_stack([WAVE, NOISE]).astype("float32")
TEXT = "\n".join(LINES) + "\n"


def read(table, fill=None, **asked):
    wanted = {"target": "temp", "features": None, "time": None, "group": None} | asked
    return tables.read(open_table(table), wanted, fill)


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


def test_columns_that_are_no_numbers_are_left_out_and_said_so():
    found = read(frame(flag=NOISE > 0, city=["a"] * ROWS, row=np.arange(ROWS)))
    assert found.chosen.features == ["temp", "wind", "flag"]
    assert found.chosen.time == "row"
    assert found.notes == ["Column 'row' is taken for the time.", "Left out: city (text)."]
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
    assert found.temporal
    assert_array_equal(found.times.astype("int64").astype("datetime64[us]").astype("datetime64[D]"), DAYS)


def test_an_index_of_pandas_is_the_time_in_utc():
    index = pd.date_range("2024-03-30", periods=ROWS, freq="h", tz="Europe/Berlin")  # over a change of the clocks
    found = read(pd.DataFrame({"temp": WAVE}, index=index))
    assert found.chosen.time == "time"
    assert_array_equal(np.diff(found.times), 3600e6)
    assert tables.time_text(found.times[0], temporal=True) == "2024-03-29 23:00:00"


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
    monkeypatch.setattr(tables, "IN_MEMORY", 100)
    monkeypatch.setattr(tables, "CHUNK", 7)
    monkeypatch.setattr("elman.forecasting.source._BATCH", 16)
    table = frame(g=["b", "a"] * (ROWS // 2))
    found = read(table, group="g")
    assert isinstance(found.rows, np.memmap)
    assert_array_equal(found.rows, np.concatenate([WANTED[::2], WANTED[1::2]]))
    assert isinstance(read(frame()).rows, np.memmap)
