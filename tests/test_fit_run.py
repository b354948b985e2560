# SPDX-License-Identifier: Apache-2.0
"""elman.fit and elman.predict: the files of a run, its numbers, and the forecasts."""

import html
import json
import re
import shutil
import zipfile
from collections.abc import Callable

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import elman
from elman import archives
from elman.cli.app import app
from elman.forecasting import report
from fit_cases import DAYS, FINAL, NOISE, ONCE, ROWS, SMALL, WAVE, csv_file, flipped, frame, names

pytestmark = pytest.mark.usefixtures("no_pictures")
CHAOS = np.full(700, 0.4)
for i in range(1, len(CHAOS)):
    CHAOS[i] = 3.9 * CHAOS[i - 1] * (1 - CHAOS[i - 1])  # the logistic map: no line tells what follows


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return elman.fit(frame(), out=tmp_path_factory.mktemp("fit") / "run", **SMALL)


def test_the_folder_holds_whole_files_and_nothing_else(run):
    assert names(run.folder) == FINAL
    assert json.loads((run.folder / "metrics.json").read_text()) == run.metrics == run.to_dict()
    assert set(run.metrics["versions"]) == {"elman", "python", "numpy", "polars"}


def test_every_model_takes_raw_rows_and_gives_target_units(tmp_path):
    run = elman.fit(frame(), out=tmp_path, ahead=3, model="network", **SMALL | {"origins": 1})
    values = np.column_stack([WAVE, NOISE]).astype("float32")
    first = int(0.7 * ROWS)  # of the held-out rows
    assert list(run.models) == ["last_value", "seasonal", "linear", "network"]
    for name, model in run.models.items():
        rows = run.rows(name)
        held_out = np.stack([values[i - rows : i] for i in range(first, ROWS - 2)])
        truth = np.stack([values[i : i + 3, 0] for i in range(first, ROWS - 2)])
        score = run.metrics["errors"]["models"][name]
        assert_allclose(np.sqrt(np.square(model(held_out) - truth).mean()), score["rmse"], rtol=1e-5)
    assert run.metrics["windows"]["test"] == len(held_out)
    assert run.rows("seasonal") == run.metrics["period"]["rows"] == 19


def test_the_network_is_the_mean_of_its_seeds(tmp_path):
    asked = {"window": 4, "units": 8, "epochs": 10, "learning_rate": 0.01, "origins": 1, "model": "network"}
    run = elman.fit(CHAOS, out=tmp_path / "both", seed=5, seeds=2, **asked)
    single = [elman.fit(CHAOS, out=tmp_path / str(seed), seed=seed, seeds=1, **asked) for seed in (5, 6)]
    assert run.metrics["training"]["learned"] == [True]
    x = np.random.default_rng(0).normal(size=(9, 4, 1)).astype("float32")
    assert_allclose(run.model(x), (single[0].model(x) + single[1].model(x)) / 2, rtol=1e-5, atol=1e-6)
    errors = run.metrics["errors"]["models"]["network"]
    assert_allclose(
        errors["by_seed"], [one.metrics["errors"]["models"]["network"]["rmse"] for one in single], rtol=1e-6
    )
    assert errors["rmse"] <= max(errors["by_seed"])


def test_the_numbers_do_not_depend_on_the_threads(tmp_path):
    found = []
    for threads in (1, 2, 3):
        elman.set_num_threads(threads)
        found.append(elman.fit(frame(), out=tmp_path / str(threads), **SMALL))
        elman.set_num_threads(None)
    for other in found[1:]:
        assert other.metrics["errors"] == found[0].metrics["errors"]
        for name, model in found[0].models.items():
            for key, array in model.weights.items():
                assert_array_equal(other.models[name].weights[key], array)


def test_the_history_begins_before_training_and_knows_the_best(run):
    errors = [epoch["validation"] for epoch in run.history]
    assert [epoch["epoch"] for epoch in run.history] == list(range(len(errors)))
    best = run.metrics["training"]["best_epoch"]
    assert best in {0, int(np.argmin(errors))}
    assert [(each["origin"], each["seed"]) for each in run.metrics["training"]["trainings"]] == [
        (1, 0), (1, 1), (2, 0), (2, 1)
    ]  # fmt: skip
    assert [epoch["seconds"] > 0 for epoch in run.history] == [False] + [True] * SMALL["epochs"]
    stays = any("it stays the linear model" in note for note in run.metrics["notes"])
    assert stays or all(run.metrics["training"]["learned"])


def test_a_network_that_learns_nothing_stays_the_linear_model(tmp_path):
    noise = np.random.default_rng(0).normal(size=(300, 1))
    found = elman.fit(noise, window=4, units=8, epochs=2, learning_rate=0.1, out=tmp_path)
    models = found.metrics["errors"]["models"]
    assert found.metrics["training"]["best_epoch"] == 0
    assert_allclose(models["network"]["rmse"], models["linear"]["rmse"], rtol=1e-5)
    assert found.metrics["errors"]["verdict"].startswith("The network is not better")


def test_a_network_that_learns_more_beats_the_linear_model(tmp_path):
    found = elman.fit(CHAOS, window=4, units=16, epochs=15, learning_rate=0.01, out=tmp_path)
    assert found.metrics["errors"]["verdict"].startswith("The network beats ")
    assert found.name == found.metrics["errors"]["winner"] == "network"
    assert_array_equal(found.model.flat, found.models["network"].flat)


@pytest.mark.parametrize(
    ("asked", "said", "layers"),
    [
        ({"cell": "LSTM", "units": [4, 3]}, "network (LSTM, 4 + 3 units)", ["LSTM", "LSTM"]),
        ({"cell": "GRU", "bidirectional": True}, "network (Bidirectional GRU, 4 units)", ["GRU", "GRU"]),
        (
            {"units": [3, 2], "bidirectional": True},
            "network (Bidirectional SimpleRNN, 3 + 2 units)",
            ["SimpleRNN", "SimpleRNN", "Reverse", "SimpleRNN", "SimpleRNN"],
        ),
    ],
    ids=["stacked", "bidirectional", "both"],
)
def test_another_cell_stacked_or_both_ways(asked, said, layers, tmp_path):
    run = elman.fit(frame(), out=tmp_path / "run", **{**ONCE, "epochs": 1, **asked})
    assert said in [label for label, *_ in report.rows(run.metrics)]
    kinds = [type(each.layer).__name__ for each in run.models["network"].bound]
    assert kinds == ["Normalize", *layers, "Dense", "Flatten", "Dense", "Rescale"]


@pytest.mark.parametrize(
    ("asked", "sentence"), [({"cell": "lstm"}, "Did you mean 'LSTM'"), ({"bidirectional": 1}, "1")]
)
def test_a_cell_that_does_not_exist(asked, sentence, tmp_path):
    with pytest.raises(elman.DataError, match=sentence):
        elman.fit(frame(), out=tmp_path / "run", **{**SMALL, **asked})
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_reported_again(run, capsys):
    def tell(_):
        raise AssertionError("it trains")

    again = elman.fit(frame(), out=run.folder, tell=tell, **SMALL)
    assert again.metrics == run.metrics
    assert elman.Run.load(run.folder).metrics == run.metrics
    for shown in (repr(again), str(again), again._repr_html_()):
        assert html.escape(run.metrics["errors"]["verdict"]) in html.escape(html.unescape(shown))
        assert "\n" not in repr(again)
    assert "<table>" in again._repr_html_()
    assert f"The run is in {run.folder}." in str(again)


def other_digit(after: bytes) -> Callable[[bytes], bytes]:
    """A change of the first digit after a name. Seconds and the command are no results: a run may have others."""
    return lambda content: re.sub(rb'("%s": \D*)(\d)' % after, lambda m: m[1] + bytes([m[2][0] ^ 1]), content, count=1)


DAMAGES = [
    *(("model.safetensors", flipped(share)) for share in (0.2, 0.5, 0.99)),
    *(("metrics.json", other_digit(name)) for name in (b"rmse", b"sha256", b"window")),
    *(
        (name, change)
        for name in ("model.safetensors", "metrics.json")
        for change in (lambda c: c[:-40], lambda c: b"")
    ),
]


@pytest.mark.parametrize(("name", "change"), DAMAGES, ids=range(len(DAMAGES)))
def test_a_damaged_run_is_one_sentence(run, tmp_path, name, change):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    with pytest.raises(elman.DataError, match=f"{name}.*damaged"):
        elman.predict(folder, frame())
    if name == "metrics.json":
        with pytest.raises(elman.DataError, match="damaged.*--fresh"):
            elman.fit(frame(), out=folder, **SMALL)


def test_a_run_with_a_damaged_keras_model_makes_no_forecast(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", '{"class_name": "Functional", "config": {}}')
        archive.writestr("model.weights.h5", bytes(1000))
    assert_frame_equal(elman.predict(folder, frame()), elman.predict(run, frame()))
    whole = (folder / "model.keras").read_bytes()
    for damaged in (flipped(0.5)(whole), whole[:-40], b""):
        (folder / "model.keras").write_bytes(damaged)
        with pytest.raises(elman.DataError, match=r"model.keras .*damaged.*remove model.keras"):
            elman.predict(folder, frame())
    elman.Run.load(folder)  # which `elman export` writes it again from


def test_a_keras_model_is_read_once_and_before_the_table(run, tmp_path, monkeypatch):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    reads, read = [], archives.read_texts
    monkeypatch.setattr(archives, "read_texts", lambda path: reads.append(path) or read(path))
    for _ in range(3):
        elman.predict(folder, frame())
    assert len(reads) == 1
    (folder / "model.keras").write_bytes(b"")
    with pytest.raises(elman.DataError, match="model.keras .*damaged"):
        elman.predict(folder, tmp_path / "no such table.csv")


@pytest.mark.parametrize("name", ["model.safetensors", "intervals.safetensors"])
def test_a_missing_file_of_a_run_is_one_sentence(run, tmp_path, name):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / name).unlink()
    with pytest.raises(elman.DataError, match=f"{name} is missing"):
        elman.predict(folder, frame())


def test_names_of_all_kinds_do_not_lose_a_run(tmp_path):
    table = pl.DataFrame({"=$x$[/b]": WAVE, "ahead": ["@$_$"] * ROWS, "": DAYS})
    run = elman.fit(table, "=$x$[/b]", group="ahead", unit="[/m]$_$", units=2, epochs=1, out=tmp_path / "run")
    assert names(run.folder) == FINAL
    assert run.forecast.columns == elman.predict(run, table).columns == [
        "ahead", "after", "", "ahead_", "=$x$[/b]", "lower_80", "upper_80", "lower_95", "upper_95"
    ]  # fmt: skip
    assert run.forecast["ahead"].to_list() == ["@$_$"]
    done = CliRunner().invoke(app, ["predict", str(run.folder), str(csv_file(tmp_path, table.write_csv()))])
    assert (done.exit_code, "=$x$[/b]" in done.output, "@$_$" in done.output) == (0, True, True)


# --- predict ---------------------------------------------------------------------------------------------------------


def test_predict_says_what_follows_the_last_rows(run, tmp_path):
    forecast = elman.predict(run, csv_file(tmp_path))
    assert_allclose(forecast["temp"], run.forecast["temp"], rtol=1e-6)
    assert forecast["after"].to_list() == [ROWS + 1]  # as a spreadsheet counts
    swapped = elman.predict(run.folder, frame().select("wind", "temp").tail(6))
    assert_allclose(swapped["temp"], forecast["temp"], rtol=1e-6)


def test_predict_says_what_follows_every_window(run):
    every = elman.predict(run, frame(), every=True)
    assert every["after"].to_list() == list(range(5, ROWS))
    assert_allclose(every["temp"][-1], run.forecast["temp"][-1], rtol=1e-5)


def test_predict_refuses_what_the_run_was_not_trained_on(run):
    with pytest.raises(elman.DataError, match=r"no column 'wind', .* Did you mean 'wnid'\?"):
        elman.predict(run, frame().rename({"wind": "wnid"}))
    with pytest.raises(elman.DataError, match="fewer than 6 rows without a gap"):
        elman.predict(run, frame().tail(5))
    with pytest.raises(elman.DataError, match="fewer than 19 rows without a gap; the seasonal repeat needs 19"):
        elman.predict(run, frame().tail(7), model="seasonal")
    with pytest.raises(elman.DataError, match="row 3 .*'wind' is empty"):
        elman.predict(run, frame(wind=[None if i == 3 else v for i, v in enumerate(NOISE)]))
    with pytest.raises(elman.DataError, match="does not hold a finished run"):
        elman.predict(run.folder / "none", frame())


def test_groups_times_and_several_steps(tmp_path):
    months = pl.date_range(pl.date(2000, 1, 1), pl.date(2016, 8, 1), "1mo", eager=True)[:ROWS]
    table = pd.DataFrame({"when": [*months, *months[:3]], "g": ["a"] * ROWS + ["b"] * 3, "temp": [*WAVE, *WAVE[:3]]})
    run = elman.fit(table, out=tmp_path / "run", group="g", ahead=3, **SMALL | {"epochs": 1, "units": [3, 2]})
    assert run.metrics["notes"][-1] == "Too short for a forecast: b."
    assert (
        run.forecast["when"].to_list()
        == pl.date_range(pl.date(2016, 9, 1), pl.date(2016, 11, 1), "1mo", eager=True).to_list()
    )
    assert run.forecast["ahead"].to_list() == [1, 2, 3]
    assert len(run.metrics["errors"]["models"]["network"]["by_step"]) == 3
    with pytest.raises(elman.DataError, match="group 'b'"):
        elman.predict(run, table)
    found = elman.predict(run, table[:ROWS].assign(g="new"))
    assert set(found["g"]) == {"new"}
    assert_allclose(found["temp"], run.forecast["temp"], rtol=1e-6)


def test_values_that_were_filled_are_not_judged(tmp_path):
    empty = [20, *range(160, 170), 180]
    measured = pl.Series(WAVE).cast(pl.Float32).scatter(empty, None)
    run = elman.fit(frame(temp=measured), fill="previous", ahead=2, out=tmp_path, **ONCE | {"epochs": 1})
    assert "Of the held-out values 18 % were empty and are filled; they count neither" in run.metrics["notes"][-1]
    truth, last = measured.to_numpy(), measured.forward_fill().to_numpy()
    errors = np.array([truth[i : i + 2] - last[i - 1] for i in range(140, ROWS - 1) if not 160 <= i < 169], "float64")
    assert run.metrics["windows"]["test"] == len(errors) == 50
    found = run.metrics["errors"]["models"]["last_value"]
    assert_allclose(found["rmse"], np.sqrt(np.nanmean(errors**2, 1).mean()), rtol=1e-6)
    assert_allclose(found["by_step"], np.sqrt(np.nanmean(errors**2, 0)), rtol=1e-6)
    ordered, place = np.sort(np.abs(errors), 0), 0.8 * 49 - 1  # of the 48 that are known at each step
    expected = ordered[int(place)] + place % 1 * (ordered[int(place) + 1] - ordered[int(place)])
    assert_allclose(run.half_widths(0.8, "last_value"), expected, rtol=1e-4)


def test_a_report_says_why_memory_is_not_measured(tmp_path):
    run = elman.fit(frame()[:120], out=tmp_path, **SMALL | {"epochs": 1, "seeds": 1, "origins": 3})
    assert run.metrics["memory"]["horizon"] is None
    sentence = "Memory: not measured. The last block holds out 12 windows, and 16 are needed."
    assert sentence in report.text(run.metrics).splitlines()


def test_a_table_that_ends_with_a_gap_has_no_forecast(tmp_path):
    table = frame(day=np.where(np.arange(ROWS) < ROWS - 3, DAYS, DAYS + 9))
    run = elman.fit(table, fill="split", out=tmp_path, **SMALL | {"epochs": 1})
    assert run.metrics["notes"][-1] == "No forecast: the table ends with fewer than 6 rows without a gap."
    assert (run.forecast.height, run.forecast.columns) == (
        0, ["after", "ahead", "temp", "lower_80", "upper_80", "lower_95", "upper_95"]
    )  # fmt: skip
    assert names(tmp_path) == FINAL
