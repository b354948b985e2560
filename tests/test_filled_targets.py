# SPDX-License-Identifier: Apache-2.0
"""Targets that were filled, since nobody measured them, decide nothing: when training stops, which model wins, what a
network remembers."""

import types

import numpy as np
import polars as pl
import pytest

import elman
from elman import DataError
from elman.comparison import forecast, forecasters
from elman.comparison.forecast_scores import Scores
from elman.forecasting import baselines, facts, reading, verdict
from elman.forecasting.parts import parts_at_origins
from elman.forecasting.predict import examples
from elman.forecasting.settings import Settings
from elman.forecasting.source import open_table
from elman.forecasting.training import Examples
from elman.forecasting.windows import windows_of
from elman.network import Dense, Flatten, Network
from elman.network.losses import named
from elman.network.training import evaluate
from fit_cases import NOISE, ROWS, WAVE

WINDOW, AHEAD = 6, 3
_rng = np.random.default_rng(3)
EMPTY = set(np.flatnonzero(_rng.random(ROWS) < 0.1).tolist()) - {0}
TABLE = pl.DataFrame({"temp": [None if i in EMPTY else v for i, v in enumerate(WAVE)], "wind": NOISE})


@pytest.fixture(scope="module")
def table():
    return reading.read(open_table(TABLE), Settings(target="temp", fill="previous", ahead=AHEAD))


@pytest.fixture(scope="module")
def windows(table):
    return windows_of(table, parts_at_origins(table, 1)[0], WINDOW, AHEAD)


def is_filled(starts):
    return np.isin(starts[:, None] + WINDOW + np.arange(AHEAD), list(EMPTY))


def test_what_was_filled_is_known_window_by_window(windows):
    for name in ("validation", "test"):
        starts = windows.starts[name]
        assert (windows.filled(starts) == is_filled(starts)).all()
        assert is_filled(starts).any()
        assert not is_filled(starts).all(1).any()
        assert (np.isnan(windows.truth(starts)) == is_filled(starts)).all()
        assert windows.measured(starts).tolist() == starts[~is_filled(starts).any(1)].tolist()


def test_the_validation_loss_counts_what_was_measured(windows):
    network = Network([Flatten(), Dense(AHEAD)], input_shape=(WINDOW, 2), seed=0)
    starts = windows.starts["validation"]
    found = evaluate(network, Examples(windows, starts, 0.1, 0.7, judge=True), named("mse"), 16)
    squares = (network(windows.inputs(starts)) - (windows.truth(starts) - 0.1) / 0.7) ** 2
    assert found == pytest.approx(np.nanmean(squares, 1).mean(), rel=1e-5)
    everything = evaluate(network, Examples(windows, starts, 0.1, 0.7), named("mse"), 16)
    assert abs(everything - found) > 1e-3 * found


def test_the_penalty_of_the_linear_model_is_chosen_by_what_was_measured(windows, monkeypatch):
    mean, std = windows.rows.mean(0), windows.rows.std(0)
    before = baselines.fit_linear(windows, mean, std)
    other = windows.rows.copy()
    held_out = windows.starts["validation"]
    rows = np.unique((held_out[:, None] + WINDOW + np.arange(AHEAD))[is_filled(held_out)])
    targets = type(windows).targets

    def wrong(self, starts):
        """The filled values of the validation part are anything."""
        found = targets(self, starts).copy()
        found[np.isin(starts[:, None] + WINDOW + np.arange(AHEAD), rows) & np.isin(starts, held_out)[:, None]] = 1e6
        return found

    monkeypatch.setattr(type(windows), "targets", wrong)
    assert baselines.fit_linear(windows._replace(rows=other), mean, std).penalty == before.penalty


def test_chance_is_judged_by_what_was_measured():
    good = np.random.default_rng(0).normal(size=(300, 2)) ** 2
    some = np.where(np.arange(600).reshape(300, 2) % 5 == 0, np.nan, good)
    assert verdict.surely_better(some, 2 * some, 2, np.arange(300))
    assert not verdict.surely_better(2 * some, some, 2, np.arange(300))


def test_memory_is_measured_on_windows_whose_targets_were_measured(windows, monkeypatch):
    seen = []
    monkeypatch.setattr(elman, "diagnose", lambda *arrays: seen.append(arrays) or types.SimpleNamespace(
        horizon=1, verdict="healthy", because=""))  # fmt: skip
    network = Network([Flatten(), Dense(AHEAD)], input_shape=(WINDOW, 2))
    windows = windows._replace(starts=windows.starts | {"test": np.concatenate([*windows.starts.values()])})
    assert facts.memory(network, windows)["horizon"] == 1
    ((_, x, y),) = seen
    measured = windows.measured(windows.starts["test"])
    assert (len(x), len(y)) == (len(measured), len(measured))
    assert (y == windows.targets(measured)).all()


def test_a_run_and_its_diagnosis_see_the_same_windows(table, tmp_path):
    run = elman.fit(
        TABLE, "temp", ahead=AHEAD, window=WINDOW, fill="previous", units=4, epochs=1, seeds=1, origins=1, out=tmp_path
    )
    _, _, y = examples(run, TABLE)
    (part,) = parts_at_origins(table, 1)
    own = windows_of(table, part, WINDOW, AHEAD)
    assert (y == own.targets(own.measured(own.starts["test"]))).all()
    every = examples(run, TABLE.head(ROWS - 1))[2]  # another table
    assert len(every) == (~is_filled(np.arange(ROWS - 1 - WINDOW - AHEAD + 1)).any(1)).sum()


def test_a_comparison_scores_what_was_measured(table):
    folds = forecast.folds_of(table, WINDOW, AHEAD, 2)
    off = [np.where(np.isnan(fold.truth()), 1e6, fold.truth() + 0.5) for fold in folds]
    scores = Scores(folds, {"last value": [off]})
    assert any(np.isnan(fold.truth()).any() for fold in folds)
    row = scores.row("last value")
    assert row["error"] == pytest.approx(0.5)
    assert row["by_step"] == pytest.approx([0.5] * AHEAD)
    assert scores.mean_loss("last value") == pytest.approx(0.25)
    assert np.isfinite(row["mase"])
    assert np.isfinite(forecasters.linear_of(folds[0]).weights).all()


def test_a_part_to_validate_without_any_measured_value_is_refused():
    rows = [None if 140 <= i < 170 else v for i, v in enumerate(WAVE)]
    found = reading.read(open_table(pl.DataFrame({"temp": rows})), Settings(fill="previous"))
    part = np.repeat([0, 1, 2], [140, 30, 30])
    with pytest.raises(DataError, match="every value to validate by of 'temp' was empty and is filled"):
        windows_of(found, part, WINDOW, 1)
