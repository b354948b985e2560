# SPDX-License-Identifier: Apache-2.0
"""model.keras of a run: written by elman export and by the command elman fit, opened without elman."""

import json
import subprocess
import sys
import time
import zipfile

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from typer.testing import CliRunner

import elman
from elman.cli.app import app
from elman.exporting import keras_file
from fit_cases import FINAL, MODELS, NOISE, ONCE, SMALL, WAVE, csv_file, frame, names

ROWS = np.column_stack([WAVE, NOISE]).astype("float32")[None, :6]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return elman.fit(frame(), out=tmp_path_factory.mktemp("fit") / "run", **SMALL)


@pytest.mark.medium
@pytest.mark.once
def test_the_file_is_of_stock_layers_and_opens_without_elman(run, tmp_path):
    path = tmp_path / "model.keras"
    elman.export(run, path)
    assert_allclose(elman.Network.from_keras(path)(ROWS), run.model(ROWS), rtol=1e-5)
    code = (
        "import sys; sys.modules['elman'] = None; import keras, numpy as np; "
        f"model = keras.models.load_model({str(path)!r}); "
        f"print(model.predict(np.array({ROWS.tolist()}, 'float32'), verbose=0).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_allclose(json.loads(done.stdout.splitlines()[-1]), run.model(ROWS), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_a_run_can_be_written(run, tmp_path, name):
    path = tmp_path / "model.keras"
    model = run.models[name]
    rows = frame().to_numpy()[None, : run.rows(name)].astype("float32")
    elman.export(model, path)
    assert_allclose(elman.Network.from_keras(path)(rows), model(rows), rtol=1e-5)


@pytest.mark.once
@pytest.mark.medium
@pytest.mark.parametrize(
    "asked",
    [{"cell": "LSTM", "units": [4, 3]}, {"cell": "GRU", "bidirectional": True}, {"ahead": 3, "bidirectional": True}],
)
def test_every_kind_of_forecaster_can_be_written(asked, tmp_path):
    run = elman.fit(frame(), out=tmp_path / "run", model="network", **{**ONCE, "epochs": 1, **asked})
    elman.export(run, tmp_path / "model.keras")
    assert_allclose(elman.Network.from_keras(tmp_path / "model.keras")(ROWS), run.model(ROWS), rtol=1e-5)


@pytest.mark.medium
@pytest.mark.once
def test_a_linear_path_that_sees_less_than_the_window_can_be_written(tmp_path):
    table = np.random.default_rng(0).normal(size=(120, 300))
    run = elman.fit(table, "x0", window=8, units=2, epochs=1, model="network", seeds=1, origins=1, out=tmp_path / "run")
    elman.export(run, tmp_path / "model.keras")
    x = table[None, :8].astype("float32")
    assert_allclose(elman.Network.from_keras(tmp_path / "model.keras")(x), run.model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.once
def test_the_file_does_not_depend_on_the_clock(run, tmp_path, monkeypatch):
    early = time.struct_time((1970, 1, 2, 0, 0, 0, 4, 2, 0))
    model = run.model.to_keras()
    monkeypatch.setattr("time.localtime", lambda *_: early)  # a board without a battery; zipfile refuses such a date
    keras_file.save(model, tmp_path / "model.keras")
    monkeypatch.undo()
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_allclose(*(each.predict(ROWS, verbose=0) for each in (loaded, model)), rtol=1e-6)
    dates = {entry.date_time for entry in zipfile.ZipFile(tmp_path / "model.keras").infolist()}
    assert dates == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.medium
@pytest.mark.once
def test_the_command_fit_writes_it_as_well(tmp_path):
    words = ["fit", str(csv_file(tmp_path)), "--target", "temp", "--epochs", "1", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stderr) == (0, "")
    assert names(tmp_path / "run") == sorted([*FINAL, "model.keras"])
    run = elman.Run.load(tmp_path / "run")
    x = np.zeros((1, run.metrics["window"], 2), "float32")
    assert_allclose(elman.Network.from_keras(run.folder / "model.keras")(x), run.model(x), rtol=1e-5)
