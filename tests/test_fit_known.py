# SPDX-License-Identifier: Apache-2.0
"""Columns whose future values are known: what a window holds of them, and that it holds nothing else of the future."""

import json

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from typer.testing import CliRunner

import elman
from elman import DataError
from elman.cli import keras_model
from elman.cli.app import app
from elman.forecasting import leads, reading
from elman.forecasting.parts import parts_at_origins
from elman.forecasting.predict import examples
from elman.forecasting.settings import Settings
from elman.forecasting.source import open_table
from elman.forecasting.windows import default_window, windows_of
from fit_cases import ROWS, csv_file

pytestmark = pytest.mark.usefixtures("no_pictures")

AHEAD = 3
_rng = np.random.default_rng(1)
PRICE = np.round(_rng.normal(size=ROWS + AHEAD), 3)
STOCK = np.round(_rng.normal(size=ROWS + AHEAD), 3)  # is not known before
LOAD = np.round(2 * PRICE + np.roll(PRICE, 1) + 0.1 * _rng.normal(size=ROWS + AHEAD), 3)
DAYS = np.datetime64("2024-01-01") + np.arange(ROWS + AHEAD)
SMALL = {"target": "load", "window": 6, "ahead": AHEAD, "units": 4, "epochs": 1, "seeds": 1, "origins": 1}


def table(rows=ROWS + AHEAD, **columns):
    """Loads up to ROWS, and prices as far as `rows`."""
    load = [value if i < ROWS else None for i, value in enumerate(LOAD)]
    found = pl.DataFrame({"day": DAYS, "load": load, "price": PRICE, "stock": STOCK})
    return found.head(rows).with_columns(**columns)


def read(found, fill=None, **settings):
    known = {"target": "load", "known": ["price"], "ahead": AHEAD, "fill": fill}
    return reading.read(open_table(found), Settings(**known | settings))


def without(found, rows):
    """A table without some of its rows."""
    return found.with_row_index("i").filter(~pl.col("i").is_in(rows)).drop("i")


# --- the rows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mapped", [False, True])
def test_a_row_has_the_known_columns_of_as_many_rows_later(mapped, monkeypatch):
    if mapped:
        monkeypatch.setattr("elman.forecasting.table.IN_MEMORY", 100)
        monkeypatch.setattr("elman.forecasting.leads.CHUNK", 7)
    found = read(table())
    assert isinstance(found.rows, np.memmap) == mapped
    assert found.chosen.features == ["load", "price", "stock"]
    assert_array_equal(found.rows, np.column_stack([LOAD[:ROWS], PRICE[AHEAD:], STOCK[:ROWS]]).astype("float32"))
    assert found.segments.tolist() == [[0, ROWS]]
    assert_array_equal(found.times, DAYS[:ROWS].astype("datetime64[us]").astype("float64"))
    assert found.known_ahead.tolist() == [AHEAD] * ROWS
    assert "Known ahead: price. A row of a window has their values 3 rows later." in found.notes


def test_only_known_columns_are_seen_before_their_time():
    cut = 100  # what comes from here on is the future of the windows before
    changed = table().with_columns(
        load=pl.Series(np.r_[LOAD[:cut], LOAD[cut:ROWS] + 10, [np.nan] * AHEAD]).fill_nan(None),
        stock=np.r_[STOCK[:cut], STOCK[cut:] + 10],
        price=np.r_[PRICE[: cut + AHEAD], PRICE[cut + AHEAD :] + 10],
    )
    before, after = read(table()), read(changed)
    assert_array_equal(before.rows[:cut], after.rows[:cut])
    assert (before.rows[cut:] != after.rows[cut:]).all()


def test_what_is_not_known_may_be_empty_or_wrong_in_rows_of_the_future():
    stock = [value if i < ROWS else None for i, value in enumerate(STOCK)]
    found = read(table(stock=pl.Series(stock)))
    wrong = read(table(stock=np.r_[STOCK[:ROWS], [1e6] * AHEAD]))
    assert_array_equal(found.rows, wrong.rows)
    with pytest.raises(DataError, match="row 201 .*, column 'price' is empty; expected a value"):
        read(table(price=pl.Series([value if i != ROWS + 1 else None for i, value in enumerate(PRICE)])))


def test_windows_end_with_the_known_values_of_the_rows_that_they_forecast():
    found = read(table(ROWS))
    (part,) = parts_at_origins(found, 1)
    windows = windows_of(found, part, 4, AHEAD)
    starts = np.concatenate([*windows.starts.values()])
    assert starts.max() == ROWS - 4 - AHEAD
    rows = starts[:, None] + 4 + np.arange(AHEAD)
    assert_array_equal(windows.inputs(starts)[:, -AHEAD:, 1], PRICE.astype("float32")[rows])
    assert_array_equal(windows.targets(starts), LOAD.astype("float32")[rows])
    assert found.known_ahead[-AHEAD - 1 :].tolist() == [3, 2, 1, 0]


def test_each_series_has_a_future_of_its_own():
    both = pl.concat([table(place=pl.lit("a")), table(ROWS, place=pl.lit("b"))])
    found = read(both, group="place")
    assert found.segments.tolist() == [[0, ROWS], [ROWS, 2 * ROWS]]
    assert_array_equal(found.rows[:ROWS, 1], PRICE[AHEAD:].astype("float32"))
    assert_array_equal(found.rows[ROWS:-AHEAD, 1], PRICE[AHEAD:ROWS].astype("float32"))
    assert leads.missing(found, np.array([ROWS - 1]), AHEAD) is None
    assert "0 rows after the last value of 'load' of group 'b'; expected 3" in leads.missing(
        found, np.array([2 * ROWS - 1]), AHEAD
    )


@pytest.mark.parametrize("fill", ["linear", "previous"])
def test_gaps_are_filled_and_a_row_after_the_last_target_stays_of_the_future(fill):
    found = read(without(table(), [50, ROWS]), fill)
    assert (len(found.rows), found.made.sum()) == (ROWS, 1)
    assert found.known_ahead[-1] == AHEAD
    between = {"linear": (PRICE[49] + PRICE[51]) / 2, "previous": PRICE[49]}[fill]
    assert found.rows[50 - AHEAD, 1] == pytest.approx(between, abs=1e-6)
    if fill == "linear":  # a known value between two others is known, and a load is not
        assert np.flatnonzero(found.interpolated).tolist() == [50]


def test_a_cut_ends_what_is_known():
    found = read(without(table(), [50, ROWS]), "split")
    assert found.segments.tolist() == [[0, 50], [50, ROWS - 1]]
    assert found.known_ahead[[46, 47, 48, 49, 50, -1]].tolist() == [3, 2, 1, 0, 3, 0]


def test_times_of_the_future_are_those_before_a_cut():
    found = read(without(table(), [ROWS + 1]), "split")  # the last row is cut off from the others
    assert found.segments.tolist() == [[0, ROWS]]
    assert found.known_ahead[-3:].tolist() == [3, 2, 1]
    assert found.later_times[ROWS].tolist() == DAYS[[ROWS]].astype("datetime64[us]").astype(float).tolist()


def test_categories_can_be_known():
    day_off = ["yes" if i % 7 == 0 else "no" for i in range(ROWS + AHEAD)]
    found = read(table(off=pl.Series(day_off)), known=["off"])
    place = found.chosen.features.index("off = yes")
    assert leads.places(found.chosen) == [place]
    assert_array_equal(found.rows[:, place], [i % 7 == 0 for i in range(AHEAD, ROWS + AHEAD)])


def test_a_window_that_is_chosen_holds_the_known_values_of_every_row_ahead():
    assert default_window(1000, 3, None, known=True) == default_window(1000, 3, None) + 3
    assert default_window(100, 30, None, known=True) == 30


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"known": ["load"]}, "known has 'load', the column of the target; expected other columns"),
        ({"known": ["day"], "time": "day"}, "known has 'day', the column of the time"),
        ({"known": ["prise"]}, "known is 'prise', which is not a column of the table.* Did you mean 'price'?"),
        ({"exclude": ["price"]}, "exclude has 'price', which known names as well"),
        ({"window": 2}, r"window is 2 and ahead is 3; expected a window of 3 or more with known.*--window 3"),
        ({"known": 5}, "known is int; expected a list of column names"),
    ],
)
def test_what_cannot_be_known_is_refused(settings, sentence):
    with pytest.raises(DataError, match=sentence):
        read(table(), **settings)


def test_a_row_with_one_of_two_targets_is_not_of_the_future():
    stock = [value if i <= ROWS else None for i, value in enumerate(STOCK)]
    with pytest.raises(DataError, match="row 200 .*, column 'load' is empty; expected a value"):
        read(table(stock=pl.Series(stock)), target=["load", "stock"])
    found = read(table(stock=pl.Series([*stock[:ROWS], *[None] * AHEAD])), target=["load", "stock"])
    assert (len(found.rows), found.known_ahead[-1]) == (ROWS, AHEAD)


def test_a_table_without_any_target_is_refused():
    with pytest.raises(DataError, match="column 'load', the target, is empty"):
        read(table(load=pl.lit(None, pl.Float64)))


def test_a_column_that_gives_the_target_away_is_refused():
    with pytest.raises(DataError, match=r"column 'twice' contains the target 'load' .* Leave it out of known"):
        elman.fit(table(twice=2 * LOAD), known=["twice"], **SMALL)


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return elman.fit(table(), known=["price"], **SMALL | {"out": tmp_path_factory.mktemp("known") / "run"})


def test_the_linear_model_and_the_network_use_what_is_known_and_repeats_do_not(run, tmp_path):
    errors, blind = (
        each.metrics["errors"]["models"]
        for each in (run, elman.fit(table(ROWS), **SMALL | {"out": tmp_path / "blind", "model": "linear"}))
    )
    assert errors["last_value"] == blind["last_value"]
    assert errors["linear"]["rmse"] < 0.2 < 1 < blind["linear"]["rmse"]
    assert errors["network"]["rmse"] < 0.2
    assert run.metrics["table"]["known"] == ["price"]
    assert np.abs(run.forecast["load"].to_numpy() - LOAD[ROWS:]).max() < 0.5  # by a model with an error of 0.1


def test_without_rows_of_the_future_the_models_are_the_same_and_there_is_no_forecast(run, tmp_path):
    other = elman.fit(table(ROWS), known=["price"], **SMALL | {"out": tmp_path / "run"})
    assert other.metrics["errors"] == run.metrics["errors"]
    assert not other.forecast.height
    assert any(
        note.startswith("No forecast: the table has 0 rows after the last value") for note in other.metrics["notes"]
    )
    later = elman.predict(other, table())
    assert later["load"].to_list() == run.forecast["load"].to_list()


def test_steps_have_the_times_of_their_rows_where_these_are_not_regular(tmp_path):
    days = np.datetime64("2024-01-01") + np.arange(2 * (ROWS + AHEAD))
    weekdays = days[np.is_busday(days)][: ROWS + AHEAD]
    found = elman.fit(table(day=weekdays), known=["price"], fill="keep", **SMALL | {"out": tmp_path / "run"})
    assert found.forecast["day"].to_list() == weekdays[ROWS:].tolist()
    every = elman.predict(found, table(day=weekdays), every=True)
    assert every["day"].to_list()[-2 * AHEAD :] == [*weekdays[ROWS - 1 : -1].tolist(), *weekdays[ROWS:].tolist()]


def test_predict_needs_the_known_values_of_every_row_ahead(run):
    late = table().tail(30)
    assert elman.predict(run, late)["load"].to_list() == run.forecast["load"].to_list()
    with pytest.raises(
        DataError,
        match=r"the table has 2 rows after the last value of 'load'; expected 3, with 'price' known \(--known\) and "
        "'load' empty. Add them at its end.",
    ):
        elman.predict(run, late.head(29))
    every = elman.predict(run, late.head(29), every=True)
    assert every.height == AHEAD * (27 - 6)  # of 27 measured rows the last one lacks a known value
    assert every["ahead"].to_list() == [1, 2, 3] * 21


@pytest.mark.parametrize("value", [0, "no"], ids=str)
def test_a_known_column_that_is_constant_marks_the_rows_of_the_future_all_the_same(value, tmp_path):
    found = table(holiday=pl.lit(value))
    run = elman.fit(found, known=["holiday", "holiday"], out=tmp_path / "run", **SMALL)
    assert "holiday" not in run.metrics["table"]["features"]
    assert run.forecast.height == AHEAD
    assert elman.predict(run, found)["load"].to_list() == pytest.approx(run.forecast["load"].to_list())


def test_the_memory_of_a_run_is_measured_on_its_windows(run):
    network, x, y = examples(run, table())
    assert (x.shape[1:], y.shape[1:]) == ((6, 3), (AHEAD,))
    assert network(x).shape == y.shape


def test_the_commands_take_known_columns(run, tmp_path, monkeypatch):
    monkeypatch.setattr(keras_model, "backend", lambda: None)
    data = csv_file(tmp_path, table().write_csv())
    out = tmp_path / "run"
    options = "--target load --known price --ahead 3 --window 6 --units 4 --epochs 1 --seeds 1 --origins 1 --json"
    done = CliRunner().invoke(app, ["fit", str(data), *options.split(), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["table"]["known"] == ["price"]
    assert elman.Run.load(out).forecast["load"].to_list() == run.forecast["load"].to_list()
    data = csv_file(tmp_path, table(ROWS).write_csv())
    done = CliRunner().invoke(app, ["predict", str(out), str(data)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "expected 3, with 'price' known" in done.stderr
