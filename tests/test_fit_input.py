# SPDX-License-Identifier: Apache-2.0
"""Bad input to elman.fit: one sentence that names the row and the column, before training, and no folder."""

import errno
import importlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from typer.testing import CliRunner

import elman
from elman.cli.app import app
from elman.forecasting import folder
from fit_cases import DATED, DAYS, LINES, NOISE, ROWS, WAVE, csv_file, frame, replaced

TEXT = "\n".join(LINES) + "\n"
fitting = importlib.import_module("elman.forecasting.fit")  # the package has a function of this name


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory, in which no run may begin."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not Path("elman-runs").exists()


class Begun(Exception):
    """Raised at the first step of training: all checks passed."""


def begin(*arguments, **options):
    """A run that stops at its first step."""

    def tell(_):
        raise Begun

    with pytest.raises(Begun):
        elman.fit(*arguments, **options, tell=tell)


FILES = {
    "empty": (b"", "data.csv is empty"),
    "a header alone": (b"temp,wind\n", "has a header and no rows"),
    "blank lines": (b"\n\n", "no column names"),
    "no header": ("\n".join(DATED[1:]), r"starts with values \(2024-01-01, .*\); expected a header"),
    "text far down": (replaced(LINES, 150, "1.5,oops"), "row 150, column 'wind': 'oops' is not a number"),
    "an empty cell": (replaced(LINES, 50, ",1.2"), "row 50, column 'temp' is empty.*--fill"),
    "a blank line": (replaced(LINES, 77, ""), "row 77, column 'temp' is empty"),
    "a longer row": (replaced(LINES, 77, "1,2,3"), "row 77 has 3 fields, the header has 2"),
    "a shorter row": (replaced(LINES, 77, "1"), "row 77 has 1 field, the header has 2"),
    "Latin-1": (replaced(LINES, 90, "1,é").encode("latin-1"), "row 90: byte 0xe9 is not UTF-8"),
    "Latin-1, which is named": (replaced(LINES, 90, "1,é").encode("latin-1"), "--encoding latin-1"),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), "is not text"),
    "half an archive": (b"PK\3\4\0\0\1", "is a damaged ZIP archive .*Save or download it again"),
    "half a character": (TEXT.encode() + "é".encode()[:1], "ends inside a UTF-8 character"),
    "CR alone": (TEXT.replace("\n", "\r"), "ends its rows with CR alone"),
    "no Parquet": (b"PAR1 and no more", "is not a readable Parquet file"),
    "a name twice": (TEXT.replace("wind", "temp"), "has the column 'temp' 2 times"),
    "infinity": (replaced(LINES, 33, "inf,1"), "row 33, column 'temp': inf is beyond float32"),
    "beyond float64": (replaced(LINES, 33, "1,1e400"), "row 33, column 'wind': inf is beyond float32"),
    "beyond float32": (replaced(LINES, 33, "-1e39,1"), "row 33, column 'temp': -1e\\+39 is beyond float32"),
    "a thousands comma": (
        replaced(LINES, 9, '"1,234",1'),
        "row 9, column 'temp': '1,234' is not a number. Name the decimal mark .* without a thousands separator",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), FILES.values(), ids=FILES)
def test_a_bad_file(content, sentence, tmp_path):
    with pytest.raises(elman.DataError, match=sentence):
        elman.fit(csv_file(tmp_path, content), "temp")


def test_a_missing_file_offers_the_nearest(tmp_path):
    csv_file(tmp_path, name="beach.csv")
    with pytest.raises(elman.DataError, match=r"beech.csv does not exist. Did you mean 'beach.csv'\?"):
        elman.fit(tmp_path / "beech.csv", "temp")
    with pytest.raises(elman.DataError, match="is a folder"):
        elman.fit(tmp_path)


def test_a_shorter_row_is_not_filled(tmp_path):
    with pytest.raises(elman.DataError, match="row 77 has 1 field"):
        elman.fit(csv_file(tmp_path, replaced(LINES, 77, "1")), "temp", fill="linear")


def test_what_can_be_read_only_once_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(
            elman.DataError, match="is a pipe or a device, which can be read only once; expected a table"
        ):
            elman.fit(path)
    with pytest.raises(elman.DataError, match="https://example.org/a.csv is a web address.*Download it first"):
        elman.fit("https://example.org/a.csv")


TIMES = {
    "again": (replaced(DATED, 102, DATED[100]), "row 102, column 'day'.*2024-04-09 again.*--group"),
    "backwards": ("\n".join([DATED[0], *DATED[:0:-1]]), "row 3, column 'day'.*2024-07-17 after 2024-07-18"),
    "a gap": ("\n".join(DATED[:101] + DATED[104:]), "row 102, column 'day'.*gap from 2024-04-09 to 2024-04-13.*--fill"),
    "no time": (replaced(DATED, 123, "soon,1"), "row 123, column 'day': 'soon' is not a time"),
    "none": (replaced(DATED, 123, ",1"), r"row 123, column 'day' \(the time\) is empty"),
}


@pytest.mark.parametrize(("content", "sentence"), TIMES.values(), ids=TIMES)
def test_a_bad_time(content, sentence, tmp_path):
    with pytest.raises(elman.DataError, match=sentence):
        elman.fit(csv_file(tmp_path, content), "temp")


def test_times_that_are_none_or_ambiguous(tmp_path):
    weekdays = csv_file(tmp_path, "\n".join([DATED[0], *(f"day {i},{a}" for i, a in enumerate(WAVE))]))
    with pytest.raises(elman.DataError, match="column 'day' has times such as 'day 0'; expected dates as 2024-01-31"):
        elman.fit(weekdays, "temp", time="day")
    either = csv_file(tmp_path, "\n".join([DATED[0], *(f"0{1 + i % 9}/02/2024,{a}" for i, a in enumerate(WAVE))]))
    with pytest.raises(elman.DataError, match="day and month cannot be told apart"):
        elman.fit(either, "temp")


TABLES = {
    "a constant target": (lambda: frame(temp=np.ones(ROWS)), "column 'temp' is constant.*It is the target"),
    "counts beyond float32": (lambda: frame(id=1.7e9 + 10 * NOISE), "column 'id' goes up to.*Subtract a constant"),
    "large integers": (lambda: frame(id=2**60 + np.arange(ROWS) ** 2), "column 'id' goes up to.*Subtract a constant"),
    "too large a change": (lambda: frame(large=1e20 * NOISE), "column 'large' varies by .*in which it varies by less"),
    "a year of five digits": (
        lambda: frame(day=DAYS + np.timedelta64(9000 * 365, "D")),
        "column 'day': .* is not within the years 1 to 9999",
    ),
    "hardly a change": (lambda: frame(small=1e-9 * NOISE), "column 'small' varies by"),
    "the future": (
        lambda: pl.DataFrame({"temp": NOISE[:-3], "leak": 2 * NOISE[3:] + 1}),
        "column 'leak' contains the target 'temp' from 3 rows ahead",
    ),
    "a group without a name": (
        lambda: frame(g=["a"] * 100 + [None] * 100),
        r"row 100 \(counted from 0\), column 'g' \(the group\) is empty",
    ),
    "an empty cell in one group": (
        lambda: pl.DataFrame({"g": ["a", "b"] * 100, "temp": [None if i == 151 else v for i, v in enumerate(WAVE)]}),
        r"row 151 \(counted from 0\), column 'temp' is empty",
    ),
    "three dimensions": (lambda: np.zeros((3, 3, 3)), r"shape \(3, 3, 3\)"),
    "complex numbers": (lambda: np.zeros((30, 2), complex), "column 'x0' holds complex128"),
    "a dictionary": (lambda: {"temp": WAVE}, "table is dict; expected"),
    "no columns": (pl.DataFrame, "no column names"),
    "no rows": (lambda: frame().clear(), "no rows"),
    "lists": (lambda: pl.DataFrame({"temp": [[1.0], [2.0]]}), "column 'temp' holds List"),
}


@pytest.mark.parametrize(("table", "sentence"), TABLES.values(), ids=TABLES)
def test_a_bad_table(table, sentence):
    with pytest.raises(elman.DataError, match=sentence):
        elman.fit(table(), "temp", group="g" if "group" in sentence or "151" in sentence else None)


ARGUMENTS = {
    "target": ({"target": "tmep"}, "target is 'tmep', which is not a column.*Did you mean 'temp'"),
    "features": ({"features": ["wnid"]}, "features is 'wnid', which is not a column.*Did you mean 'wind'"),
    "time": ({"time": "when"}, "time is 'when', which is not a column"),
    "time twice": ({"time": "temp"}, "expected different columns"),
    "time in features": ({"time": "wind", "features": ["wind"]}, "features has 'wind', the column of the time"),
    "no target": ({"target": None}, "2 columns of numbers: temp, wind"),
    "units": ({"units": 0}, "units is 0"),
    "a list of targets": ({"target": []}, "target is .*; expected the name of a column, or a list of different ones"),
    "an array as target": ({"target": WAVE}, "target is ndarray; expected the name of one column"),
    "features that are not a list": ({"features": 3.5}, "features is float; expected a list of column names"),
    "a number as unit": ({"unit": 3}, "unit is 3; expected text"),
    "more units than memory": ({"units": 1_000_000}, "units of 1000000 .* GB to train, and this machine has"),
    "more layers than memory": ({"units": [8, 900_000], "cell": "LSTM"}, "units of 8, 900000 .* Choose fewer units"),
    "units without end": ({"units": 10**20}, "units is 100000000000000000000; expected a positive integer up to 214"),
    "a window without end": ({"window": 10**20}, "window is 1000.* up to 2147483647"),
    "ahead without end": ({"ahead": 10**20}, "ahead is 1000.* up to 2147483647"),
    "the largest window": ({"window": 2**31 - 1}, "window of 2147483647 .* leaves none for the train part"),
    "the largest ahead": ({"ahead": 2**31 - 1}, "2147483647 ahead leaves none for the train part"),
    "negative units": ({"units": [8, -3]}, "units is -3"),
    "no units": ({"units": []}, "units is empty"),
    "ahead": ({"ahead": 0}, "ahead is 0"),
    "ahead beyond the end": ({"ahead": 50}, "200 rows, .* 50 ahead leaves none .* about 335 rows"),
    "window": ({"window": True}, "window is True"),
    "window beyond the table": ({"window": 500}, "window of 500 .* leaves none for the train part"),
    "epochs": ({"epochs": 0}, "epochs is 0"),
    "seed": ({"seed": -1}, "seed is -1"),
    "cell": ({"cell": "SimpelRNN"}, "cell is 'SimpelRNN'.*Did you mean 'SimpleRNN'"),
    "fill": ({"fill": "liner"}, "fill is 'liner'.*Did you mean 'linear'"),
    "learning rate": ({"learning_rate": float("nan")}, "learning_rate is nan"),
    "batch size": ({"batch_size": 0}, "batch_size is 0"),
}


@pytest.mark.parametrize(("arguments", "sentence"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_a_bad_argument(arguments, sentence):
    with pytest.raises(elman.DataError, match=sentence):
        elman.fit(frame(), **({"target": "temp"} | arguments))


@pytest.mark.parametrize("rows", [1, 5])
def test_too_few_rows(rows):
    with pytest.raises(elman.DataError, match="rows without a gap are needed"):
        elman.fit(WAVE[:rows])


def test_a_ramp_and_a_slow_wave_are_not_taken_for_leakage():
    slow = np.sin(np.arange(2000) / 500)
    table = pl.DataFrame({"temp": slow, "cos": np.cos(np.arange(2000) / 500), "ramp": np.arange(2000) ** 1.1})
    begin(table, "temp", out="run")


def test_numbers_of_numpy_and_columns_named_by_numbers_are_taken(tmp_path):
    table = pd.DataFrame({0: WAVE, 1: NOISE})
    sizes = {"units": np.array([4, 3]), "window": np.int64(6), "seed": np.uint8(3), "learning_rate": np.float32(0.5)}
    begin(table, 0, features=[1], bidirectional=np.bool_(True), out="run", **sizes)
    config = json.loads(Path("run/run.json").read_text(encoding="utf-8"))
    assert (config["target"], config["features"], config["units"]) == ("0", ["1"], [4, 3])


def test_the_former_name_of_cell_is_taken_with_a_warning():
    with pytest.warns(FutureWarning, match="is now cell"), pytest.raises(elman.DataError, match="cell is 'GURU'"):
        elman.fit(frame(), "temp", layer="GURU")


@pytest.mark.parametrize("name", ["model.keras", "metrics.json", "forecast.csv", "checkpoint.safetensors", "run.json"])
def test_a_file_of_somebody_else_is_left_alone_whatever_its_name(name, tmp_path):
    csv_file(tmp_path, "{}", name)
    with pytest.raises(elman.DataError, match=f"{name}.*expected.*--out.*rename those files with fresh"):
        elman.fit(frame(), "temp", out=tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "{}")]


@pytest.mark.parametrize("name", ["metrics.json", "checkpoint.safetensors", "run.json"])
def test_fresh_renames_a_file_of_somebody_else(name, tmp_path):
    config = {"sha256": "", "elman": "", "target": "temp"}
    for content in ("first", "second"):
        csv_file(tmp_path, content, name)
        csv_file(tmp_path, "notes", "notes.txt")
        with folder.held(tmp_path, config, fresh=True) as run:
            assert run is None
        (tmp_path / "run.json").unlink()  # so that the next one finds a folder that is not elman's
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {f"{name}.before": "first", f"{name}.before-1": "second", "notes.txt": "notes"}


def test_a_keras_model_of_somebody_else_stays_until_a_run_writes_its_own(tmp_path):
    path = csv_file(tmp_path, "three weeks", "model.keras")

    def begin_again():
        with folder.held(tmp_path, {"sha256": "", "elman": "", "target": "temp"}, fresh=True):
            folder.remove_keras_model(tmp_path)

    for _ in range(2):  # the second time the folder is elman's
        begin_again()
        assert path.read_text() == "three weeks"
    assert not folder.has_keras_model(tmp_path)
    assert (tmp_path / "model.keras.before").read_text() == "three weeks"
    path.write_text("of this run")
    assert folder.has_keras_model(tmp_path)
    begin_again()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras.before", "run.json"]


@pytest.mark.parametrize("content", ["[]", "null", "3", "[" * 100_000, "", '{"tool": "another"}', '{"sha256": 1'])
def test_a_run_json_that_is_not_elmans_protects_the_folder(content, tmp_path):
    csv_file(tmp_path, content, "run.json")
    csv_file(tmp_path, "three weeks", "model.keras")
    with pytest.raises(elman.DataError, match="run.json is damaged, or was not written by elman fit"):
        elman.fit(frame(), "temp", out=tmp_path)
    assert (tmp_path / "model.keras").read_text() == "three weeks"


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", "[" * 100_000, '{"checksum": "0"}'])
def test_damaged_metrics_are_neither_read_nor_replaced(content, tmp_path):
    begin(frame(), "temp", out="run")
    path = csv_file(tmp_path / "run", content, "metrics.json")
    for call in (lambda: elman.predict("run", frame()), lambda: elman.fit(frame(), "temp", out="run")):
        with pytest.raises(elman.DataError, match="metrics.json is damaged.*--fresh"):
            call()
    assert path.read_text() == content


def test_a_folder_that_another_run_took_meanwhile_is_left_alone(monkeypatch):
    prepare = fitting.prepare

    def slow(*arguments):
        """While the table is read, another process begins a run in the same folder."""
        monkeypatch.setattr(fitting, "prepare", prepare)
        begin(frame(), "temp", out="run", seed=1)
        return prepare(*arguments)

    monkeypatch.setattr(fitting, "prepare", slow)
    with pytest.raises(elman.DataError, match="holds a run with another seed"):
        elman.fit(frame(), "temp", out="run")
    assert json.loads(Path("run/run.json").read_text(encoding="utf-8"))["seed"] == 1


def test_foreign_files_are_left_alone(tmp_path):
    other = csv_file(tmp_path, "precious", "notes.txt")
    with pytest.raises(elman.DataError, match=r"holds files that are not of a run \(notes.txt\)"):
        elman.fit(frame(), "temp", out=tmp_path)
    with pytest.raises(elman.DataError, match="is a file; expected a folder"):
        elman.fit(frame(), "temp", out=other)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_of_another_run_is_left_alone(tmp_path):
    begin(frame(), "temp", out="run")
    with pytest.raises(elman.DataError, match="holds a run with another seed and table"):
        elman.fit(frame(wind=NOISE + 1), "temp", out="run", seed=1)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


@pytest.mark.parametrize(("call", "done"), [("mkdir", "written"), ("iterdir", "read")])
def test_a_folder_that_refuses(call, done, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    Path("run").mkdir()
    monkeypatch.setattr(Path, call, refuse)
    with pytest.raises(elman.DataError, match=f"run cannot be {done}: Permission denied.*--out"):
        elman.fit(frame(), "temp", out="run")


def test_a_full_disk_leaves_nothing(monkeypatch):
    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(elman.DataError, match="the disk is full"):
        elman.fit(frame(), "temp", out="new/run")
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere.csv",), "nowhere.csv does not exist"),
        (("data.csv", "--target", "tmep"), "Did you mean 'temp'?"),
        (("data.csv", "--target", "temp", "--units", "many"), "units is 'many'"),
        ((), "takes either DATA"),
        (("--data", "tempratures"), "no recording is named 'tempratures'"),
    ],
)
def test_the_command_prints_one_line_and_ends_with_status_2(arguments, sentence, tmp_path):
    csv_file(tmp_path)
    done = CliRunner().invoke(app, ["fit", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_times_in_a_frame(tmp_path):
    with pytest.raises(elman.DataError, match=r"row 100 \(counted from 0\), column 'day'.*a gap"):
        elman.fit(frame(day=np.where(np.arange(ROWS) < 100, DAYS, DAYS + 7)), "temp")
