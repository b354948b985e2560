# SPDX-License-Identifier: Apache-2.0
"""elman.fit and elman.predict with a framework: the run's files, its numbers, and that it survives what stops it."""

import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

import elman
from elman import checkpoint, files
from elman.cli.app import app
from elman.forecasting import network, report, training
from fit_cases import DAYS, NOISE, ROWS, WAVE, csv_file, frame

TESTS = Path(__file__).resolve().parents[1]
SMALL = {"target": "temp", "window": 6, "units": 4, "epochs": 4, "unit": "K"}
FINAL = ["forecast.csv", "forecast.png", "learning.png", "metrics.json", "model.keras", "run.json"]

# A run of fit that kills itself at the n-th time that a file of a name is being written, or a batch ends.
KILLED = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
import elman
from elman.cli.app import app
from elman import files
from fit_cases import frame
what, moment, counted = sys.argv[3], int(sys.argv[4]), 0
def count(name):
    global counted
    counted += name == what
    if counted == moment:
        os.kill(os.getpid(), signal.SIGKILL)
def counting(original):
    def call(path, *more):
        count(pathlib.Path(path).name.removeprefix(files.PREFIX))
        return original(path, *more)
    return call
files._to_disk, pathlib.Path.replace = counting(files._to_disk), counting(pathlib.Path.replace)
elman.fit(frame(), out=sys.argv[2], tell=lambda now: count("batch"), **eval(sys.argv[5]))
"""


def numbers(run: elman.Run) -> dict:
    """The metrics without times and the command."""
    kept = json.loads((run.folder / "metrics.json").read_text())
    del kept["seconds_per_epoch"], kept["command"]
    for epoch in kept["training"]["history"]:
        del epoch["seconds"]
    return kept


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def ctrl_c():
    """Ctrl-C as a program finds it that runs in front, whatever runs the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return elman.fit(frame(), out=tmp_path_factory.mktemp("fit") / "run", **SMALL)


def test_the_folder_holds_whole_files_and_nothing_else(run):
    assert names(run.folder) == FINAL
    for name in ("forecast.png", "learning.png"):
        with Image.open(run.folder / name) as picture:
            assert min(picture.size) > 400
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20  # lines in several shades of grey
    assert json.loads((run.folder / "metrics.json").read_text()) == run.metrics == run.to_dict()
    assert {"elman", "python", "numpy", "polars", "keras", "backend", keras.config.backend()} == set(
        run.metrics["versions"]
    )


def test_the_model_takes_raw_rows_and_gives_target_units(run):
    windows = np.lib.stride_tricks.sliding_window_view(np.column_stack([WAVE, NOISE]).astype("float32"), 6, axis=0)
    held_out = windows.transpose(0, 2, 1)[164:-1]  # those whose target is one of the last 30 rows
    forecasts = run.model.predict(held_out, verbose=0)
    found = float(np.sqrt(np.square(forecasts[:, 0] - WAVE[170:]).mean()))
    assert_allclose(found, run.metrics["errors"]["models"]["network"]["rmse"], rtol=1e-5)
    assert run.metrics["windows"]["test"] == len(held_out)
    assert run.metrics["route"]["path"] == "native"
    assert run.metrics["difference_from_stock"] < 1e-5
    assert all(run.metrics["seconds_per_epoch"][name] > 0 for name in ("elman", "stock"))


def test_the_history_begins_before_training_and_knows_the_best(run):
    errors = [epoch["validation"] for epoch in run.history]
    assert [epoch["epoch"] for epoch in run.history] == list(range(len(errors)))
    best = run.metrics["training"]["best_epoch"]
    assert best in {0, int(np.argmin(errors))}
    stays = any("it stays the linear model" in note for note in run.metrics["notes"])
    assert stays == (best == 0 and int(np.argmin(errors)) > 0)


@pytest.mark.medium
@pytest.mark.once
def test_a_network_that_learns_nothing_stays_the_linear_model(tmp_path):
    noise = np.random.default_rng(0).normal(size=(300, 1))
    found = elman.fit(noise, window=4, units=8, epochs=2, learning_rate=0.1, out=tmp_path)
    models = found.metrics["errors"]["models"]
    assert found.metrics["training"]["best_epoch"] == 0
    assert_allclose(models["network"]["rmse"], models["linear"]["rmse"], rtol=1e-5)
    assert found.metrics["errors"]["verdict"].startswith("The network is not better")


def test_a_network_that_learns_more_beats_the_linear_model(tmp_path):
    chaos = np.empty(700)
    chaos[0] = 0.4
    for i in range(1, len(chaos)):
        chaos[i] = 3.9 * chaos[i - 1] * (1 - chaos[i - 1])  # the logistic map: no line tells what follows
    found = elman.fit(chaos, window=4, units=16, epochs=15, learning_rate=0.01, out=tmp_path)
    assert found.metrics["errors"]["verdict"].startswith("The network beats all three baselines")


def test_a_finished_run_is_reported_again(run, capsys):
    def tell(_):
        raise AssertionError("it trains")

    again = elman.fit(frame(), out=run.folder, tell=tell, **SMALL)
    assert again.metrics == run.metrics
    assert elman.Run.load(run.folder).metrics == run.metrics
    assert "RMSE" in repr(again)
    assert "<table>" in again._repr_html_()


def test_the_file_of_the_model_does_not_depend_on_the_clock(run, tmp_path, monkeypatch):
    early = time.struct_time((1970, 1, 2, 0, 0, 0, 4, 2, 0))
    monkeypatch.setattr("time.localtime", lambda *_: early)  # a board without a battery; zipfile refuses such a date
    network.save(run.model, tmp_path / "model.keras")
    monkeypatch.undo()
    assert elman.load_model(tmp_path / "model.keras").get_config() == run.model.get_config()
    dates = {entry.date_time for entry in zipfile.ZipFile(run.folder / "model.keras").infolist()}
    assert dates == {(1980, 1, 1, 0, 0, 0)}


def damaged(path, change):
    """A copy of a run whose file `path` is changed."""
    path.write_bytes(change(path.read_bytes()))


def flipped(at):
    """A change of one bit, `at` counted as a share of the file."""

    def change(content):
        place = int(at * len(content))
        return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]

    return change


@pytest.mark.parametrize("name", ["model.keras", "metrics.json"])
@pytest.mark.parametrize(
    "change", [flipped(0.2), flipped(0.5), flipped(0.99), lambda c: c[:-40], lambda c: b""], ids=list("abcde")
)
def test_a_damaged_run_is_one_sentence(run, tmp_path, name, change):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    damaged(folder / name, change)
    with pytest.raises(elman.DataError, match=f"{name}.*damaged"):
        elman.predict(folder, frame())
    if name == "metrics.json":
        with pytest.raises(elman.DataError, match="damaged.*--fresh"):
            elman.fit(frame(), out=folder, **SMALL)


def test_a_missing_model_is_one_sentence(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / "model.keras").unlink()
    with pytest.raises(elman.DataError, match="model.keras is missing"):
        elman.predict(folder, frame())


@pytest.mark.once
def test_a_damaged_checkpoint_is_not_resumed_from(tmp_path):
    def stop(now):
        if now.epoch == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        elman.fit(frame(), out=tmp_path, tell=stop, **SMALL)
    path = tmp_path / "checkpoint.safetensors"
    whole = path.read_bytes()
    changes = [lambda c: b"", lambda c: c[:-1], *(flipped(at) for at in (0, 0.001, 0.05, 0.3, 0.6, 0.999))]
    for change in changes:
        path.write_bytes(change(whole))
        with pytest.raises(elman.DataError, match="checkpoint.safetensors is damaged.*--fresh"):
            elman.fit(frame(), out=tmp_path, **SMALL)
        assert path.read_bytes() == change(whole)
    path.write_bytes(whole)
    assert elman.fit(frame(), out=tmp_path, **SMALL).metrics["training"]["epochs"] == SMALL["epochs"]


@pytest.mark.once
def test_names_of_all_kinds_do_not_lose_a_run(tmp_path):
    table = pl.DataFrame({"=$x$[/b]": WAVE, "ahead": ["@$_$"] * ROWS, "": DAYS})
    run = elman.fit(table, "=$x$[/b]", group="ahead", unit="[/m]$_$", units=2, epochs=1, out=tmp_path / "run")
    assert names(run.folder) == FINAL
    assert run.forecast.columns == elman.predict(run, table).columns == ["ahead", "after", "", "ahead_", "=$x$[/b]"]
    assert run.forecast["ahead"].to_list() == ["@$_$"]
    done = CliRunner().invoke(app, ["predict", str(run.folder), str(csv_file(tmp_path, table.write_csv()))])
    assert (done.exit_code, "=$x$[/b]" in done.output, "@$_$" in done.output) == (0, True, True)


def test_the_model_opens_in_plain_keras(run, tmp_path):
    rows = np.column_stack([WAVE, NOISE]).astype("float32")[None, :6]
    code = (
        "import sys; sys.modules['elman'] = None; import keras, numpy as np; "
        f"model = keras.models.load_model({str(run.folder / 'model.keras')!r}); "
        f"print(model.predict(np.array({rows.tolist()}, 'float32'), verbose=0).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert_allclose(said, run.model.predict(rows, verbose=0), rtol=1e-5)
    assert not [layer for layer in run.model.layers if type(layer).__module__.startswith("elman")]


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
    with pytest.raises(elman.DataError, match="row 3 .*'wind' is empty"):
        elman.predict(run, frame(wind=[None if i == 3 else v for i, v in enumerate(NOISE)]))
    with pytest.raises(elman.DataError, match="does not hold a finished run"):
        elman.predict(run.folder / "none", frame())


@pytest.mark.once
@pytest.mark.medium
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


@pytest.mark.once
def test_a_table_that_ends_with_a_gap_has_no_forecast(tmp_path):
    table = frame(day=np.where(np.arange(ROWS) < ROWS - 3, DAYS, DAYS + 9))
    run = elman.fit(table, fill="split", out=tmp_path, **SMALL | {"epochs": 1})
    assert run.metrics["notes"][-1] == "No forecast: the table ends with fewer than 6 rows without a gap."
    assert (run.forecast.height, run.forecast.columns) == (0, ["after", "ahead", "temp"])
    assert names(tmp_path) == FINAL


# --- what stops it ---------------------------------------------------------------------------------------------------


@pytest.mark.once
def test_the_order_of_windows_depends_on_seed_and_epoch_alone():
    windows = type("Windows", (), {})()
    orders = {}
    for seed, epoch in itertools.product((0, 1), (0, 1)):
        batches = training.Batches(windows, np.arange(50), 8, (0.0, 1.0), seed)
        batches.shuffle(epoch + 5)
        batches.shuffle(epoch)
        orders[seed, epoch] = batches._order.tolist()
        assert sorted(orders[seed, epoch]) == list(range(50))
    assert len({tuple(order) for order in orders.values()}) == 4
    fresh = training.Batches(windows, np.arange(50), 8, (0.0, 1.0), 1)
    fresh.shuffle(1)
    assert fresh._order.tolist() == orders[1, 1]


@pytest.mark.once
@pytest.mark.medium
def test_two_runs_at_once_do_not_share_a_folder(tmp_path):
    refused = []

    def begin_another(_):
        if not refused:
            with pytest.raises(elman.DataError, match="another elman fit is at work in") as error:
                elman.fit(frame(), target="temp", window=8, units=4, epochs=1, out=tmp_path / "run", fresh=True)
            refused.append(error)

    own = {"target": "temp", "window": 8, "units": 4, "epochs": 1, "out": tmp_path / "run"}
    assert elman.fit(frame(), **own, tell=begin_another).metrics["training"]["epochs"] == 1
    assert refused
    elman.fit(frame(), **own, fresh=True)


@pytest.mark.once
@pytest.mark.medium
def test_killed_at_three_moments_it_ends_with_the_same_numbers(run, tmp_path):
    folder = tmp_path / "killed"
    choose = random.Random(20)  # the moments are random, and the same in every run of the test
    moments = [
        ("batch", choose.randint(1, 4)),  # of the first epoch
        ("checkpoint.safetensors", choose.randint(3, 6)),
        (choose.choice([name for name in FINAL if name != "run.json"]), choose.randint(1, 2)),
    ]
    for what, moment in moments:
        command = [sys.executable, "-c", KILLED, str(TESTS), str(folder), what, str(moment), repr(SMALL)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert json.loads((folder / "run.json").read_text())
        assert not (folder / "metrics.json").exists()
        if (folder / "checkpoint.safetensors").exists():
            with safe_open(folder / "checkpoint.safetensors", "np") as file:
                assert all(np.isfinite(file.get_tensor(name)).all() for name in file.keys())  # noqa: SIM118
    resumed = elman.fit(frame(), out=folder, **SMALL)
    assert numbers(resumed) == numbers(run)
    assert names(folder) == FINAL
    for ours, theirs in zip(resumed.model.get_weights(), run.model.get_weights(), strict=True):
        assert_array_equal(ours, theirs)


@pytest.mark.once
@pytest.mark.medium
def test_ctrl_c_ends_the_epoch_and_the_same_call_goes_on(ctrl_c, tmp_path):
    wave = np.sin(np.arange(3300) / 7)[:, None] + 0.1 * np.random.default_rng(0).normal(size=(3300, 1))
    arguments = {"window": 5, "units": 2, "epochs": 3}  # 72 steps an epoch: TensorFlow takes them by sixteens
    whole = elman.fit(wave, out=tmp_path / "whole", **arguments)

    once = iter([True])
    stopped = elman.fit(
        wave,
        out=tmp_path / "run",
        tell=lambda now: next(once, False) and signal.raise_signal(signal.SIGINT),
        **arguments,
    )
    assert stopped.metrics["training"]["interrupted"]
    assert stopped.metrics["training"]["epochs"] == 1
    assert signal.getsignal(signal.SIGINT) is ctrl_c
    assert names(stopped.folder) == ["checkpoint.safetensors", *FINAL]
    resumed = elman.fit(wave, out=tmp_path / "run", **arguments)
    assert numbers(resumed) == numbers(whole)


@pytest.mark.medium
@pytest.mark.once
def test_fresh_starts_again_and_another_backend_is_refused(tmp_path):
    arguments = SMALL | {"epochs": 2}

    def stop(_):
        raise InterruptedError

    def after_an_epoch(now):
        if now.epoch == 2:
            stop(now)

    with pytest.raises(InterruptedError):
        elman.fit(frame(), out=tmp_path, tell=after_an_epoch, **arguments)
    path = tmp_path / "checkpoint.safetensors"
    arrays, texts = checkpoint.read(path)
    checkpoint.write(path, arrays, texts | {"backend": "another"})
    with pytest.raises(elman.DataError, match=f"was begun on another.*runs on {keras.config.backend()}.*--fresh"):
        elman.fit(frame(), out=tmp_path, **arguments)
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(InterruptedError):
        elman.fit(frame(), out=tmp_path, fresh=True, tell=stop, **arguments)
    assert names(tmp_path) == ["notes.txt", "run.json"]


@pytest.mark.medium
@pytest.mark.once
def test_a_disk_that_fills_while_training_is_one_sentence(tmp_path, monkeypatch):
    write = files.write

    def full(path, content):
        if path.name == "checkpoint.safetensors":
            with files.file_errors(path):
                raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(elman.DataError, match="the disk is full"):
        elman.fit(frame(), out=tmp_path, **SMALL)
    assert names(tmp_path) == ["run.json"]


@pytest.mark.once
def test_the_second_ctrl_c_is_as_ever_and_in_a_thread_every_one(ctrl_c):
    found: list[object] = []
    with training._interrupts(lambda: found.append("once")):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    def enter():
        with training._interrupts(lambda: None):
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == ["once", ctrl_c]
    assert signal.getsignal(signal.SIGINT) is ctrl_c


# --- the commands ----------------------------------------------------------------------------------------------------


@pytest.mark.medium
@pytest.mark.once
def test_the_commands_print_tables_and_json(tmp_path, monkeypatch):
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


@pytest.mark.once
@pytest.mark.medium
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"cell": "LSTM", "units": [4, 3]}, "network (LSTM, 4 + 3 units)"),
        ({"cell": "GRU", "bidirectional": True}, "network (Bidirectional GRU, 4 units)"),
    ],
    ids=["stacked", "bidirectional"],
)
def test_another_cell_stacked_or_both_ways(asked, said, tmp_path):
    run = elman.fit(frame(), out=tmp_path / "run", **{**SMALL, "epochs": 1, **asked})
    assert said in [label for label, *_ in report.rows(run.metrics)]
    assert run.metrics["route"]["path"] == "native"
    assert run.metrics["difference_from_stock"] < 1e-5
    layers = {type(part) for part in run.model._flatten_layers() if isinstance(part, keras.layers.RNN)}
    assert layers == {getattr(keras.layers, asked["cell"])}


@pytest.mark.once
@pytest.mark.parametrize(
    ("asked", "sentence"), [({"cell": "lstm"}, "Did you mean 'LSTM'"), ({"bidirectional": 1}, "1")]
)
def test_a_cell_that_does_not_exist(asked, sentence, tmp_path):
    with pytest.raises(elman.DataError, match=sentence):
        elman.fit(frame(), out=tmp_path / "run", **{**SMALL, **asked})
    assert not (tmp_path / "run").exists()
