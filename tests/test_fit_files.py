# SPDX-License-Identifier: Apache-2.0
"""Tables as people have them: every kind of file, and what is wrong with one in a sentence."""

import bz2
import codecs
import errno
import gzip
import io
import json
import lzma
import os
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from polars.testing import assert_frame_equal

import elman
from elman import DataError
from elman.forecasting import checks, marks, reading
from elman.forecasting.parts import parts_at_origins
from elman.forecasting.settings import Settings
from elman.forecasting.source import Form, open_table
from fit_cases import DAYS, LINES, NOISE, ROWS, SMALL, WAVE, csv_file, frame, replaced

TEXT = "\n".join(LINES) + "\n"
WANTED = np.column_stack([WAVE, NOISE]).astype("float32")
DATED = frame(day=DAYS).select("day", "temp", "wind")
pytestmark = pytest.mark.usefixtures("no_pictures")


def read(table, form=Form(), **asked):
    return reading.read(open_table(table, form), Settings(**{"target": "temp"} | asked))


def workbook(table, **options):
    content = io.BytesIO()
    table.write_excel(content, **options)
    return content.getvalue()


def zipped(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("_", "."), text)
    return content.getvalue()


def with_pandas(orient):
    return pd.DataFrame({"day": DAYS.astype(str), "temp": WAVE, "wind": NOISE}).to_json(orient=orient)


KINDS = {
    "Excel": ("data.xlsx", workbook(DATED)),
    "CSV in gzip": ("data.csv.gz", gzip.compress(DATED.write_csv().encode())),
    "CSV in ZIP": ("data.csv.zip", zipped(data_csv=DATED.write_csv())),
    "CSV in bzip2": ("data.csv.bz2", bz2.compress(DATED.write_csv().encode())),
    "CSV in xz": ("data.csv.xz", lzma.compress(DATED.write_csv().encode())),
    "JSON on lines": ("data.jsonl", DATED.write_ndjson()),
    "JSON": ("data.json", DATED.write_json()),
    "JSON of pandas": ("data.json", with_pandas("columns")),
    "JSON of pandas, split": ("data.json", with_pandas("split")),
    "JSON of pandas, table": ("data.json", with_pandas("table")),
    "JSON on lines in gzip": ("data.jsonl.gz", gzip.compress(DATED.write_ndjson().encode())),
    "UTF-16": ("data.csv", DATED.write_csv().encode("utf-16")),
    "UTF-32": ("data.csv", codecs.BOM_UTF32_LE + DATED.write_csv().encode("utf-32-le")),
    "blanks": ("data.txt", DATED.write_csv().replace(",", "   ")),
    "a name that says something else": ("data.parquet", DATED.write_csv()),
    "without a name": ("data", workbook(DATED)),
}


@pytest.mark.filterwarnings("ignore:'epoch' date format is deprecated")
@pytest.mark.parametrize("orient", ["columns", "split"])
@pytest.mark.parametrize("form", ["epoch", "iso"])
def test_the_times_of_an_index_of_pandas_are_read_from_json(tmp_path, orient, form):
    table = pd.DataFrame({"temp": WAVE}, index=pd.DatetimeIndex(DAYS))
    found = read(csv_file(tmp_path, table.to_json(orient=orient, date_format=form), "data.json"))
    assert found.rows[:, 0].tolist() == WAVE.astype("float32").tolist()
    assert (found.times == DAYS.astype("datetime64[us]").astype("int64")).all()
    assert found.chosen.features == ["temp"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"a": {"0": 1, "1": 2}, "b": {"1": 3, "0": 4}}', "names the rows of column 'b' otherwise"),
        ('{"columns": ["a"], "data": [[1], [2, 3]]}', "row 1 .counted from 0. has 2 cells, and there are 1 column"),
        ('{"columns": ["a", "a"], "data": [[1, 2]]}', "has the column 'a' 2 times"),
    ],
)
def test_json_whose_cells_do_not_fit_is_one_sentence(tmp_path, content, sentence):
    with pytest.raises(DataError, match=sentence):
        open_table(csv_file(tmp_path, content, "data.json"))


@pytest.mark.parametrize(("name", "content"), KINDS.values(), ids=KINDS)
def test_every_kind_of_file_is_the_same_table(name, content, tmp_path):
    found = read(csv_file(tmp_path, content, name))
    assert_array_equal(found.rows, WANTED)
    assert_array_equal(found.times.astype("int64").astype("datetime64[us]"), DAYS)


def test_arrow_is_read(tmp_path):
    DATED.write_ipc(tmp_path / "data.arrow")
    assert_array_equal(read(tmp_path / "data.arrow").rows, WANTED)


def test_a_workbook_has_rows_as_a_spreadsheet_counts_them(tmp_path):
    wrong = frame().with_columns(pl.col("wind").cast(pl.String))
    wrong[7, "wind"] = "oops"
    with pytest.raises(DataError, match="row 9, column 'wind': 'oops' is not a number"):
        read(csv_file(tmp_path, workbook(wrong), "data.xlsx"))
    import xlsxwriter

    with xlsxwriter.Workbook(tmp_path / "two.xlsx") as book:
        for name, rows in (("notes", []), ("values", [["temp", ""], *([value] for value in WAVE)]), ("more", [["x"]])):
            sheet = book.add_worksheet(name)
            for i, row in enumerate(rows):
                sheet.write_row(i, 0, row)
    found = read(tmp_path / "two.xlsx")
    assert_array_equal(found.rows[:, 0], WANTED[:, 0])
    assert found.notes[0] == "Read the sheet 'values'; the others (notes, more) are not used."


FILES = {
    "no workbook": (
        zipped(xl_workbook_xml="<a/>").replace(b"xl.workbook", b"xl/workbook"),
        "is not a readable workbook",
    ),
    "an old workbook": (b"\xd0\xcf\x11\xe0" + b"0" * 600, "is not a readable workbook"),
    "half of gzip": (gzip.compress(TEXT.encode())[:-30], "is a damaged gzip file .* Save or download it again"),
    "two in an archive": (zipped(a_csv="x", b_csv="y"), "holds 2 files: a.csv, b.csv; expected one table. Unpack it"),
    "none in an archive": (zipped(), "holds 0 files; expected one table"),
    "archives in archives": (
        gzip.compress(gzip.compress(gzip.compress(gzip.compress(TEXT.encode())))),
        "holds archives in archives",
    ),
    "JSON that is no table": ('{"temp": 1}', "is JSON, but not a table; expected a list of objects"),
    "JSON that is none": ('{"temp": [1, 2}', "is not correct JSON: .* Write it again"),
    "JSON of numbers": ("[1, 2, 3]", "is JSON, but not a table"),
    "JSON deep inside": ("[" * 100_000, "is not correct JSON"),
    "HTML": ("<!DOCTYPE html><html>", "is HTML or XML; expected a table as CSV"),
    "NetCDF": (b"CDF\x01\0\0\0\0", "is a NetCDF file; expected a table as CSV"),
    "SQLite": (b"SQLite format 3\0", "is an SQLite database; .*Export"),
    "NumPy": (b"\x93NUMPY\1\0", "is a NumPy file; .*numpy.load"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04", "is packed with zstd"),
    "no header": (
        "39.4,55.1\n39.5,54.9\n39.1,55.3\n39.3,55.0\n",
        r"starts with values \(39.4, 55.1\); expected a header",
    ),
    "other marks below the header": (
        "day,temp\n" + "".join(f"{day};39,{i % 10}\n" for i, day in enumerate(DAYS)),
        "has commas between the column names and semicolons between the cells below",
    ),
    "a quote that is not closed": (
        replaced(LINES, 50, '1,"2') + "1,2\n" * 70_000,
        r'row 50: a quote \("\) is opened and never closed. Close it',
    ),
    "an early quote": (replaced(LINES, 50, '1,"2" x'), "row 50"),
    "one column of blanks": ("temp wind\n1 2\n1 2 3\n", "columns are temp wind"),
    "an unknown mark in a header alone": ("temp:wind\n1:2\n3:4\n", "the columns are temp:wind"),
}


@pytest.mark.parametrize(("content", "sentence"), FILES.values(), ids=FILES)
def test_a_bad_file_is_one_short_sentence(content, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence) as raised:
        read(csv_file(tmp_path, content), target=None if "columns are" in sentence else "temp")
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("name", ["<TICKER>", "CDF"])
def test_a_name_that_begins_as_another_kind_of_file_is_a_name(tmp_path, name):
    found = read(csv_file(tmp_path, "\n".join([f"{name},temp", *LINES[1:]])))
    assert found.chosen.features == [name, "temp"]


def test_a_header_may_have_quotes_and_line_ends_in_a_name(tmp_path):
    names = ['te"mp', "wi\nnd; x", "", "[m/s]"]
    found = read(
        csv_file(tmp_path, pl.DataFrame({n: NOISE + i for i, n in enumerate(names)}).write_csv()), target="[m/s]"
    )
    assert found.chosen.features == names


def test_a_line_that_is_blank_has_its_number(tmp_path):
    dated = DATED.write_csv().splitlines()
    with pytest.raises(DataError, match="row 77 is blank; expected a row of values. Delete it"):
        read(csv_file(tmp_path, replaced(dated, 77, "")))
    trailing = "\n".join(f"{line}," for line in dated)  # a comma after the last cell
    assert_array_equal(read(csv_file(tmp_path, trailing)).rows, WANTED)


def test_a_workbook_without_fastexcel(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"fastexcel, which reads it, is not installed. Install elman\[cli\]"):
        read(csv_file(tmp_path, workbook(DATED), "data.xlsx"))


# --- what the user says of a file ------------------------------------------------------------------------------------


def test_a_separator_an_encoding_and_a_decimal_mark_may_be_named(tmp_path):
    path = csv_file(tmp_path, TEXT.replace(",", ":").replace("temp", "größe").encode("latin-1"))
    found = read(path, Form(sep=":", encoding="latin-1"), target="größe")
    assert_array_equal(found.rows, WANTED)
    cells = ["1.002", "998", "1.001,5", "-12.345", "7"]
    for decimal, values in ((",", cells), (".", [c.translate(str.maketrans(",.", ".,")) for c in cells])):
        found = read(csv_file(tmp_path, "temp\n" + "\n".join(f'"{value}"' for value in values)), Form(decimal=decimal))
        assert_array_equal(found.rows[:, 0], np.array([1002, 998, 1001.5, -12345, 7], "float32"))
    with pytest.raises(DataError, match="'1,5' is not a number with the decimal mark '.'"):
        read(csv_file(tmp_path, 'temp\n1.5\n2.5\n"1,5"\n'), Form(decimal="."))


def test_the_marks_of_a_run_hold_for_its_forecasts(tmp_path):
    columns = "day|temp|wind\n" + "".join(f"{d}|{a:.4f}|{b:.4f}\n" for d, a, b in zip(DAYS, WAVE, NOISE, strict=True))
    path = csv_file(tmp_path, columns.replace(".", ",").encode("utf-16-le"))
    form = {"sep": "|", "encoding": "utf-16-le", "decimal": ","}
    run = elman.fit(path, **SMALL | {"out": tmp_path / "run"} | form)
    assert_frame_equal(elman.predict(run, path), run.forecast)
    with pytest.raises(DataError, match="no column 'temp'"):
        elman.predict(run, path, sep=";")


ARGUMENTS = {
    "sep": ({"sep": "::"}, "sep is '::'; expected one character"),
    "encoding": ({"encoding": "latin-99"}, "encoding is 'latin-99', which Python does not know"),
    "decimal": ({"decimal": "'"}, 'decimal is "\'"; expected one of'),
    "exclude": ({"exclude": ["tmep"]}, "exclude is 'tmep', which is not a column.*Did you mean 'temp'"),
    "sort": ({"sort": 3}, "sort is 3; expected True or False"),
    "duplicates": ({"duplicates": "lats"}, "duplicates is 'lats'.*Did you mean 'last'"),
}


@pytest.mark.parametrize(("arguments", "sentence"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_a_bad_argument(arguments, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence):
        elman.fit(csv_file(tmp_path), "temp", out=tmp_path / "run", **arguments)


# --- cells -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", None])
@pytest.mark.parametrize("cells", [["998", "1.002", "999"], ["1.002", "5", "1.005"], ["12", "-1.234.567", "15"]])
def test_points_may_separate_thousands_in_any_file(cells, separator, tmp_path):
    path = tmp_path / "data.parquet"
    pl.DataFrame({"temp": cells}).write_parquet(path)
    if separator is not None:
        path = csv_file(tmp_path, "".join(f"d{separator}{cell}\n" for cell in ["temp", *cells]))
    with pytest.raises(DataError, match=r"may be a fraction or a number with a thousands separator. Name .*--decimal"):
        read(path)


UNITS = {
    "39.4 F": "row 2, column 'temp': '39.4 F' is a number with a unit; expected the number alone",
    "12 %": "is a number with a unit",
    "$5.20": "is a number with a unit",
    "39,400": "'39,400' is not a number. Name the decimal mark .*--decimal",
    "yes": "holds text such as 'yes'; expected numbers to forecast",
}


@pytest.mark.parametrize(("cell", "sentence"), UNITS.items())
def test_a_target_that_is_not_plain_numbers(cell, sentence, tmp_path):
    lines = ["temp,wind", *(f'"{cell}",{value}' for value in NOISE)]
    with pytest.raises(DataError, match=sentence):
        read(csv_file(tmp_path, "\n".join(lines)))


def test_numbers_with_units_are_left_out_with_a_note():
    found = read(frame(other=[f"{value:.2f} %" for value in NOISE], more=[f"{i},{i % 900 + 100}" for i in range(ROWS)]))
    assert "other (numbers with units, such as" in found.notes[-1]
    assert "more (numbers with thousands separators, such as" in found.notes[-1]


def test_marks_of_missing_values_are_noticed():
    values = np.where(np.arange(ROWS) % 20 == 3, -9999, 30 + WAVE)
    with pytest.raises(
        DataError, match=r"row 3 .* column 'temp' has no value: -9999, in 10 cells, is far from all other"
    ):
        read(frame(temp=values))
    found = read(frame(temp=values), fill="linear")
    assert (found.filled, found.rows[:, 0].min() > 0) == (10, True)
    assert "In column 'temp' missing values are marked: -9999 (10 cells)." in found.notes
    assert read(frame(temp=values), fill="keep").rows[:, 0].min() == -9999


@pytest.mark.parametrize(
    ("others", "mark"),
    [((0, 500), -999), ((-20, 40), -999), ((-20, 40), 999.9), ((0, 3), 99), ((100, 900), -9999), ((0, 1), 9.96921e36)],
)
def test_a_mark_is_far_from_the_other_values(others, mark):
    rows = np.linspace(*others, ROWS)[:, None].astype("float32")
    assert marks.found_in(rows, [0]) == []
    rows[[3, 9]] = mark
    assert [(value, cells) for _, value, cells in marks.found_in(rows, [0])] == [(np.float32(mark), 2)]


@pytest.mark.parametrize(("others", "value"), [((0, 1200), 999), ((980, 1020), 999), ((-150, 40), -99), ((90, 98), 99)])
def test_a_number_among_others_is_no_mark(others, value):
    rows = np.linspace(*others, ROWS)[:, None].astype("float32")
    rows[3] = value
    assert marks.found_in(rows, [0]) == []


# --- columns ---------------------------------------------------------------------------------------------------------


def test_a_constant_column_is_left_out_with_a_note():
    found = read(frame(flat=np.ones(ROWS), late=np.r_[np.ones(150), NOISE[:50]]))
    kept, mean, std = checks.moments(found, parts_at_origins(found, 1)[0])
    assert kept.chosen.features == ["temp", "wind"]
    assert_array_equal(kept.rows, WANTED)
    assert kept.notes == [
        "Left out, as constant over the training part, the first 55 % of the rows: flat (1), late (1)."
    ]
    assert len(mean) == len(std) == 2


def test_categories_are_features_that_forecasts_have_too(tmp_path):
    weather = np.array(["rain", "sun", "snow"])[(np.arange(ROWS) // 3) % 3]
    table = frame(weather=weather, wet=np.where(weather == "sun", "no", "yes"), flag=NOISE > 0).drop("wind")
    found = read(table)
    assert found.chosen.features == ["temp", *(f"weather = {w}" for w in ("rain", "snow", "sun")), "wet = yes", "flag"]
    assert_array_equal(found.rows[:, 1:4].argmax(1), np.searchsorted(["rain", "snow", "sun"], weather))
    assert found.notes == ["Categories: weather (rain, snow, sun), wet (no, yes)."]
    run = elman.fit(table, **SMALL | {"out": tmp_path / "run"})
    assert_frame_equal(elman.predict(run, table), run.forecast)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["table"]["categories"]["wet"] == ["no", "yes"]
    sunny = table.tail(12).with_columns(weather=pl.lit("sun"), wet=pl.lit("no"))
    linear = [elman.predict(run, each, model="linear")["temp"][0] for each in (table, sunny)]
    assert linear[0] != linear[1]
    strange = table.tail(12).with_columns(weather=pl.lit("hail"))
    with pytest.raises(
        DataError, match="'hail' is a category that the table of the run does not have; expected one of rain"
    ):
        elman.predict(run, strange)


def test_an_empty_category_is_filled_by_the_one_before():
    weather = ["rain" if i // 9 % 2 else "sun" for i in range(ROWS)]
    weather[50] = ""
    with pytest.raises(DataError, match="row 50 .*, column 'weather' is empty"):
        read(frame(weather=weather))
    assert set(read(frame(weather=weather), fill="linear").rows[:, 2]) == {0, 1}


def test_text_of_many_values_is_no_category():
    with pytest.raises(DataError, match="column 'name' has more than 20 different texts.*--exclude"):
        read(frame(name=[f"n{i % 30}" for i in range(ROWS)]), features=["name"])
    assert read(frame(name=[f"n{i % 30}" for i in range(ROWS)])).chosen.features == ["temp", "wind"]


# --- no room ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "the folder for temporary files .* is full.*TMPDIR"),
        (errno.ENOENT, "there is no folder for temporary"),
    ],
)
def test_no_room_for_temporary_files(code, sentence, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(DataError, match=sentence):
        read(csv_file(tmp_path, gzip.compress(TEXT.encode())))
    monkeypatch.setattr("elman.forecasting.table.IN_MEMORY", 100)
    with pytest.raises(DataError, match=sentence):
        read(frame())
