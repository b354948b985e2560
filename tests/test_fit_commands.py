# SPDX-License-Identifier: Apache-2.0
"""The commands fit, predict and export: what they print and write, and that fit and predict import no framework."""

import html
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from typer.testing import CliRunner

import elman
from elman.cli import keras_model
from elman.cli.app import app
from elman.forecasting.run import model_file
from fit_cases import DAYS, FINAL, NOISE, ROWS, SMALL, WAVE, csv_file, frame, names

TESTS = Path(__file__).resolve().parent
pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def without_keras(monkeypatch):
    """The commands as they are where Keras is not installed: no process is started that imports it."""
    monkeypatch.setattr(keras_model, "backend", lambda: None)


def test_the_commands_print_tables_and_json(tmp_path, monkeypatch, without_keras):
    monkeypatch.chdir(tmp_path)
    csv_file(tmp_path, frame(day=DAYS).write_csv())

    def command(*arguments):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        assert "\x1b" not in done.output
        assert not done.stderr
        return done.stdout

    options = ("data.csv", "--target", "temp", "--window", "6", "--units", "4", "--epochs", "1", "--unit", "K")
    table = command("fit", *options)
    assert "data: 200 rows, 2 columns, 2024-01-01 to 2024-07-18" in table
    for words in ("same as the last value", "seasonal repeat, period 19 rows (19 d)", "linear model", "network"):
        assert words in table
    said = json.loads(command("fit", *options, "--json"))
    assert f"{said['errors']['models']['network']['rmse']:.4g} K" in table
    assert said["errors"]["verdict"] in table
    assert said["folder"] in table
    forecast = json.loads(command("predict", said["folder"], "data.csv", "--json"))
    assert forecast[0]["after"] == "2024-07-18"
    assert forecast[0]["day"] == "2024-07-19"
    assert command("predict", said["folder"], "data.csv", "--out", "next.csv") == ""
    assert_allclose(pl.read_csv(tmp_path / "next.csv")["temp"], [row["temp"] for row in forecast])


# fit and predict, the functions and the commands; the process that writes model.keras is another one.
BOTH = """
import sys
sys.path.insert(0, sys.argv[1])
import elman
from elman.cli import keras_model
from elman.cli.app import app
from fit_cases import SMALL, csv_file, frame
from pathlib import Path
from typer.testing import CliRunner
keras_model.backend = lambda: None
folder = Path(sys.argv[2])
run = elman.fit(frame(), out=folder / "a", **SMALL)
elman.predict(run, frame())
data, asked = str(csv_file(folder)), ["--target", "temp", "--epochs", "1"]
for command in (["fit", data, *asked, "--out", str(folder / "b")], ["predict", str(folder / "b"), data]):
    assert CliRunner().invoke(app, command).exit_code == 0
elman.export(run, folder / "copy.safetensors")
print(*sys.modules)
"""


@pytest.mark.slow
def test_fit_and_predict_import_no_framework(tmp_path):
    command = [sys.executable, "-c", BOTH, str(TESTS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"keras", "tensorflow", "jax", "torch"} & set(done.stdout.split())


@pytest.mark.medium
def test_a_run_is_diagnosed_on_a_table_and_on_arrays(tmp_path, monkeypatch):
    def not_asked_for(*_):
        raise AssertionError("elman.fit keeps no advice")

    table = csv_file(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("elman.diagnosis.measure.advice", not_asked_for)
        run = elman.fit(table, target="temp", window=8, units=4, epochs=1, out=tmp_path / "run")
    memory = run.metrics["memory"]
    assert set(memory) == {"horizon", "verdict", "because"}
    assert 0 <= memory["horizon"] <= 9
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 8, 2)))
    for model, data in (
        (run.folder, table),
        (run.folder, tmp_path / "x.npy"),
        (run.folder / model_file("network"), tmp_path / "x.npy"),
    ):
        words = ["diagnose", str(model), str(data), "--out", str(tmp_path / "page.html")]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert "of 8 steps" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, 12])
def test_diagnose_says_of_a_run_on_its_own_table_what_fit_said(epochs, tmp_path):
    table = csv_file(tmp_path)
    run = elman.fit(table, target="temp", window=8, units=4, epochs=epochs, out=tmp_path / "run", learning_rate=0.02)
    words = ["diagnose", str(run.folder), str(table), "--out", str(tmp_path / "page.html"), "--json"]
    said = json.loads(CliRunner().invoke(app, words).stdout)
    memory = run.metrics["memory"]
    assert {name: said[name] for name in memory} == memory
    values = np.column_stack([WAVE, NOISE]).astype("float32")
    block = range(ROWS - 20, ROWS)  # of the last origin; before it the network has learned
    found = elman.diagnose(run.models["network"], np.stack([values[i - 8 : i] for i in block]), values[block, :1])
    assert {name: getattr(found, name) for name in memory} == memory
    assert (
        html.escape(f"run on data.csv, measured on {said['date']}, elman {elman.__version__}.")
        in (tmp_path / "page.html").read_text()
    )


def test_export_refuses_what_it_cannot_write(tmp_path, without_keras):
    run = elman.fit(frame(), out=tmp_path / "run", **SMALL | {"epochs": 1})
    for name in ("model.pt", "model"):
        with pytest.raises(elman.DataError, match=r"expected one of \.keras, \.h, \.onnx, \.safetensors"):
            elman.export(run, tmp_path / name)
    with pytest.raises(elman.DataError, match="none.keras does not exist"):
        elman.export(tmp_path / "none.keras", tmp_path / "m.safetensors")
    with pytest.raises(TypeError, match="got int; expected an elman.Network"):
        elman.export(3, tmp_path / "m.safetensors")
    assert names(tmp_path) == ["run"]
    done = CliRunner().invoke(app, ["export", str(tmp_path / "run"), str(tmp_path / "model.pt")])
    assert (done.exit_code, "expected one of" in done.stderr) == (2, True)


def test_export_writes_the_network_of_whatever_holds_one(tmp_path):
    run = elman.fit(frame(), out=tmp_path / "run", **SMALL | {"epochs": 1})
    x = frame().to_numpy()[None, :6]
    for number, model in enumerate((run, run.folder, run.folder / "model.safetensors", run.model)):
        path = tmp_path / f"{number}.safetensors"
        elman.export(model, path)
        assert_allclose(elman.Network.load(path)(x), run.model(x), rtol=0)
    assert names(run.folder) == FINAL


def test_a_keras_model_that_cannot_be_written_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(keras_model, "backend", lambda: "jax")
    monkeypatch.setattr(keras_model, "_CODE", "raise SystemExit('no Keras today')")
    (tmp_path / "model.safetensors").touch()
    with keras_model.keras_model() as write:
        write(tmp_path)
    said = capsys.readouterr().err
    assert said == f"elman: {tmp_path / 'model.keras'} was not written: no Keras today Try elman export.\n"
