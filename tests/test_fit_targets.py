# SPDX-License-Identifier: Apache-2.0
"""Several targets: one network, and for each target its errors, its intervals, its verdict and its picture."""

import io
import json

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from typer.testing import CliRunner

import elman
from elman import DataError
from elman.cli import keras_model
from elman.cli.app import app
from elman.forecasting import baselines, pictures, reading, report, verdict
from elman.forecasting.predict import examples
from elman.forecasting.prepared import prepare
from elman.forecasting.settings import Settings
from elman.forecasting.source import open_table
from elman.forecasting.windows import windows_of
from fit_cases import DAYS, NOISE, ROWS, WAVE, csv_file

SLOW = np.round(100 * np.cos(np.arange(ROWS) / 3) + 5 * NOISE, 3)  # in other units than WAVE
BOTH = ["temp", "load"]
SMALL = {"window": 6, "ahead": 2, "units": 4, "epochs": 2, "seeds": 2, "origins": 2}


def table(**columns):
    return pl.DataFrame({"day": DAYS, "wind": NOISE, "load": SLOW, "temp": WAVE} | columns)


def prepared(found=None, target=BOTH, **settings):
    source = open_table(table() if found is None else found)
    return prepare(source, Settings(target=target, window=6, ahead=2, origins=1, **settings))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return elman.fit(table(), BOTH, **SMALL | {"out": tmp_path_factory.mktemp("targets") / "run"})


# --- the models ------------------------------------------------------------------------------------------------------


def test_outputs_are_the_rows_ahead_of_one_target_after_those_of_the_other():
    windows = prepared().windows
    assert (windows.columns, windows.outputs) == ((2, 1), 4)
    starts = np.array([3, 60])
    wave, slow = WAVE.astype("float32"), SLOW.astype("float32")
    assert_array_equal(windows.targets(starts)[1], [*wave[66:68], *slow[66:68]])
    assert_array_equal(windows.last(starts)[1], [wave[65], wave[65], slow[65], slow[65]])
    assert_array_equal(baselines.seasonal(windows, starts, 5)[1], [*wave[61:63], *slow[61:63]])


def test_the_linear_model_of_each_target_is_the_one_that_it_has_alone():
    """Its inputs are the same, and its penalty is its own."""
    both, alone = prepared(), [prepared(target=[name]) for name in BOTH]
    models = [
        baselines.fit_linear(each.origins[0].windows, each.origins[0].mean, each.origins[0].std)
        for each in (both, *alone)
    ]
    starts = both.windows.starts["test"]
    found = models[0](both.windows, starts)
    apart = [model(each.windows, starts) for model, each in zip(models[1:], alone, strict=True)]
    assert_allclose(found, np.hstack(apart), rtol=1e-9)
    assert models[0].penalty == [model.penalty for model in models[1:]]


@pytest.mark.slow
def test_the_networks_of_a_run_compute_what_its_baselines_do(run):
    windows = windows_of(
        reading.read(open_table(table()), Settings(target=BOTH)), np.repeat([0, 1, 2], [140, 30, 30]), 6, 2
    )
    starts = windows.starts["test"]
    assert_array_equal(run.models["last_value"](windows.inputs(starts)), baselines.last_value(windows, starts))
    period = run.metrics["period"]["rows"]
    rows = np.stack([windows.rows[start + 6 - period : start + 6] for start in starts])
    assert_array_equal(run.models["seasonal"](rows), baselines.seasonal(windows, starts, period))


def test_an_error_of_one_target_does_not_hide_the_other():
    """In units of their own, the error of the target in large units would be all of it."""
    rng = np.random.default_rng(0)
    good, bad = rng.normal(size=(2, 400, 1)) ** 2
    std = np.array([1.0, 1000.0])
    network, linear = np.hstack([0.1 * good, 1e6 * bad]), np.hstack([good, 0.99e6 * bad])
    squares = {"last_value": 4 * linear, "linear": linear, "network": network}
    joint, (first, second) = verdict.errors_of_targets(squares, std, 1, np.arange(400), 2000)
    assert (joint["winner"], first["winner"], second["winner"]) == ("network", "network", "linear")
    assert joint["verdict"].startswith("Over both targets, each in standard deviations: The network beats")
    assert second["models"]["linear"]["rmse"] == pytest.approx(1000 * np.sqrt(0.99 * bad.mean()))


# --- a run -----------------------------------------------------------------------------------------------------------


def test_the_report_has_errors_intervals_and_a_verdict_of_each_target(run):
    data = run.metrics
    assert (data["target"], [each["target"] for each in data["targets"]]) == (BOTH, BOTH)
    last = data["errors"]["models"]["last_value"]["rmse"]
    each = [found["errors"]["models"]["last_value"]["rmse"] for found in data["targets"]]
    assert each[1] > 20 * each[0]
    assert last < 2  # in standard deviations
    for found in data["targets"]:
        assert [level["level"] for level in found["intervals"]] == [0.8, 0.95]
        assert f"{found['target']}: {found['errors']['verdict']}" in str(run)
    assert data["errors"]["verdict"] in str(run)
    assert [row[0] for row in report.rows(data)][:1] == ["temp: same as the last value"]
    assert len(report.rows(data)) == 2 * len(data["errors"]["models"])
    assert "'temp', 'load'" in repr(run)
    assert data["training"]["history"][0]["validation"] < 2


def test_the_forecast_has_each_target_with_its_intervals(run):
    ends = ["lower_80", "upper_80", "lower_95", "upper_95"]
    names = ["after", "day", "ahead", *BOTH, *(f"{name}_{end}" for name in BOTH for end in ends)]
    assert run.forecast.columns == names
    found = elman.predict(run, table(), interval=0.9)
    assert found.columns == [*names[:5], *(f"{name}_{end}_90" for name in BOTH for end in ("lower", "upper"))]
    assert_array_equal(found["load"], run.forecast["load"])
    widths = run.half_widths(0.9)
    assert_allclose((found["load_upper_90"] - found["load"]).to_numpy(), widths[2:], rtol=1e-5)
    assert elman.predict(run, table(), every=True).height == 2 * (ROWS - run.rows(run.name) + 1)


def test_memory_is_measured_in_standard_deviations_of_each_target(run):
    network, x, y = examples(run, table())
    model = run.models["network"]
    rescale = model.layers.entries[-1]
    assert_allclose(network(x) * np.array(rescale.scale) + np.array(rescale.offset), model(x), rtol=1e-4, atol=1e-4)
    assert (y.std(0) < 2).all()
    found = elman.diagnose(network, x, y)
    assert {name: run.metrics["memory"][name] for name in ("horizon", "verdict")} == {
        "horizon": found.horizon,
        "verdict": found.verdict,
    }


@pytest.mark.parametrize("name", ["last_value", "seasonal", "linear", "network"])
def test_the_models_can_be_exported_and_streamed(run, name, tmp_path):
    model = run.models[name]
    path = elman.export(model, tmp_path / "model.safetensors").path
    rows = reading.read(open_table(table()), Settings(target=BOTH)).rows
    expected = model(rows[None, -run.rows(name) :])[0]
    assert_allclose(elman.Network.load(path)(rows[None, -run.rows(name) :])[0], expected)
    stream = elman.Stream(model)
    assert_allclose(np.asarray([stream.step(row) for row in rows])[-1], expected, rtol=1e-4, atol=1e-3)


def test_the_picture_has_each_target_below_the_other(run):
    tall, one = (
        np.asarray(Image.open(io.BytesIO(content)).convert("L"))
        for content in ((run.folder / "forecast.png").read_bytes(), (run.folder / "learning.png").read_bytes())
    )
    assert tall.shape[0] == 2 * 650
    assert all(len(np.unique(half)) > 20 for half in (tall[:650], tall[650:]))
    only = pictures._only(run.forecast, "load", reading.read(open_table(table()), Settings(target=BOTH)))
    assert only.columns == ["load", "lower_80", "upper_80", "lower_95", "upper_95"]


def test_the_same_table_with_one_target_in_a_list_is_a_run_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "forecast", lambda *_: b"")
    monkeypatch.setattr(pictures, "learning", lambda *_: b"")
    one, same = (
        elman.fit(table(), target, **SMALL | {"out": tmp_path / name, "epochs": 1})
        for name, target in (("one", "temp"), ("same", ["temp"]))
    )
    assert one.metrics["errors"] == same.metrics["errors"]
    assert same.metrics["target"] == "temp"
    assert "targets" not in same.metrics


def test_a_target_that_was_filled_does_not_count_while_the_other_does():
    held_out = prepared(fill="previous").windows.starts["test"]
    gap = int(held_out[10]) + 6  # the first row that this window forecasts
    temp = [value if i not in {gap, gap + 1} else None for i, value in enumerate(WAVE)]
    found = prepared(table(temp=pl.Series(temp)), fill="previous")
    values = found.windows.truth(held_out)
    assert np.isnan(values[10]).tolist() == [True, True, False, False]
    assert 10 in np.flatnonzero(np.isin(held_out, found.windows.starts["test"]))
    late = [value if i < 130 else None for i, value in enumerate(WAVE)]
    with pytest.raises(DataError, match="every held-out value of 'temp' was empty and is filled"):
        prepared(table(temp=pl.Series(late)), fill="previous")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"target": ["temp", "temp"]}, "expected the name of a column, or a list of different ones"),
        ({"target": ["temp", "lod"]}, "target is 'lod', which is not a column .* Did you mean 'load'"),
        ({"unit": "K"}, r"unit is 'K', and there are 2 targets; expected one target with a unit"),
        ({"known": ["load"]}, "known has 'load', the column of the target"),
        ({"target": ["temp", "day"], "time": "day"}, "target, time and group are 'day', 'day' and None"),
    ],
)
def test_what_cannot_be_combined_is_refused(settings, sentence):
    with pytest.raises(DataError, match=sentence):
        prepared(**settings)


def test_elman_compare_takes_one_target():
    for target in (BOTH, "temp,load"):
        with pytest.raises(DataError, match=r"target is .*; expected one column, since elman compare forecasts one"):
            elman.compare(table(), target)


def test_a_target_that_is_the_other_one_before_its_time_is_refused():
    later = np.roll(WAVE, -3)
    with pytest.raises(DataError, match=r"column 'load' contains the target 'temp' from 3 rows ahead"):
        prepared(table(load=later))


def test_the_commands_take_several_targets(run, tmp_path, monkeypatch):
    monkeypatch.setattr(keras_model, "backend", lambda: None)
    monkeypatch.setattr(pictures, "forecast", lambda *_: b"")
    monkeypatch.setattr(pictures, "learning", lambda *_: b"")
    data, out = csv_file(tmp_path, table().write_csv()), tmp_path / "run"
    options = "--target temp,load --ahead 2 --window 6 --units 4 --epochs 2 --seeds 2 --origins 2 --json"
    done = CliRunner().invoke(app, ["fit", str(data), *options.split(), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["targets"] == run.metrics["targets"]
    done = CliRunner().invoke(app, ["predict", str(out), str(data), "--json", "--interval", "0.8"])
    assert done.exit_code == 0, done.output
    assert {"temp", "load", "temp_lower_80", "load_upper_80"} <= set(json.loads(done.stdout)[0])
    done = CliRunner().invoke(app, ["runs", str(out)])
    assert "temp, load" in done.output


def test_a_column_whose_name_has_a_comma_is_one_target():
    found = reading.read(open_table(table().rename({"temp": "a,b"})), Settings(target="a,b"))
    assert found.chosen.targets == ["a,b"]
