# SPDX-License-Identifier: Apache-2.0
"""Which model won and what a report says of it: the verdict, the next thing to try, the period, the intervals."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

import elman
from elman.forecasting import advice, intervals, reading, report, seasons, verdict
from elman.forecasting.parts import parts_at_origins
from elman.forecasting.settings import Settings
from elman.forecasting.source import open_table
from elman.forecasting.windows import training_series, windows_of
from fit_cases import SMALL, frame

RNG = np.random.default_rng(0)
GOOD, BAD = RNG.normal(size=(500, 2)) ** 2, 2 * RNG.normal(size=(500, 2)) ** 2
pytestmark = pytest.mark.usefixtures("no_pictures")


def errors(network, moments=None, rows=None, **baselines):
    count, ahead = network.shape
    moments = np.arange(count) if moments is None else moments
    return verdict.errors(baselines | {"network": network}, ahead, moments, rows or round((count + ahead - 1) / 0.3))


# --- the verdict -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "winner", "linear", "network"),
    [
        ("The network beats both baselines", "network", BAD, GOOD),
        ("The network is worse: its error is", "linear", GOOD, BAD),
        ("includes zero. Use the linear model", "linear", GOOD, 1.01 * GOOD[::-1]),
        ("its error is that of the linear model. Use the simpler one", "linear", GOOD, GOOD * (1 - 1e-7)),
    ],
)
def test_models_are_told_apart_only_where_they_differ(words, winner, linear, network):
    found = errors(network, last_value=BAD, linear=linear)
    assert words in found["verdict"]
    assert found["winner"] == found["use"] == winner
    for score in found["models"].values():
        assert score["low"] <= score["rmse"] <= score["high"]
        assert_allclose(np.square(score["by_step"]).mean(), score["rmse"] ** 2)


def test_a_worse_model_says_so_with_its_figure():
    found = errors(1.44 * GOOD, last_value=BAD, linear=GOOD)
    assert "The network is worse: its error is 20.0 % above that of the linear model" in found["verdict"]


@pytest.mark.parametrize(("windows", "ahead"), [(2, 1), (11, 1), (11, 12), (60, 6)])
@pytest.mark.parametrize("better", [True, False, None])
def test_few_windows_have_no_winner(windows, ahead, better):
    first, second = GOOD[:windows, :1].repeat(ahead, 1), 4 * GOOD[:windows, :1].repeat(ahead, 1)
    found = errors(second if better is False else first, last_value=second, linear=second if better else first)
    assert ("can be chance" in found["verdict"]) == (better is not None)
    assert "Use the " not in found["verdict"]
    assert found["verdict"].startswith("Too few held-out windows to name a winner")
    assert f"about {found['rows_needed']:,} rows" in found["verdict"]
    assert (found["enough"], found["winner"]) == (False, None)
    assert found["use"] in {"last_value", "linear"}
    assert found["rows_needed"] > windows


def test_series_that_share_their_events_count_as_one():
    one = errors(GOOD[:60], last_value=BAD[:60], linear=0.8 * BAD[:60])
    many = errors(
        np.tile(GOOD[:60], (20, 1)),
        moments=np.tile(np.arange(60), 20),
        last_value=np.tile(BAD[:60], (20, 1)),
        linear=np.tile(0.8 * BAD[:60], (20, 1)),
    )
    assert (one["windows"], many["windows"]) == (60, 1200)
    assert_allclose(many["effective"], one["effective"])
    for name, score in one["models"].items():
        assert_allclose([many["models"][name][end] for end in ("rmse", "low", "high")], [*score.values()][:3])
    uneven = errors(GOOD[:90], moments=np.r_[:60, 30:60], last_value=BAD[:90], linear=BAD[:90])
    assert_allclose(uneven["models"]["network"]["rmse"], np.sqrt(GOOD[:90].mean()))


@pytest.mark.parametrize("rows", [300, 700, 5000])
def test_more_rows_are_needed_than_there_are(rows):
    found = errors(GOOD[:11], rows=rows, last_value=BAD[:11], linear=BAD[:11])  # gaps leave few windows of the rows
    assert found["rows_needed"] > rows


def test_an_exact_baseline_is_called_exact():
    zero, some = np.zeros((90, 1)), np.full((90, 1), 0.04)
    found = errors(some, last_value=zero, linear=some)
    assert found["verdict"] == (
        "The last value is exact: its error is 0 in 90 held-out windows, and the network's is 0.2."
    )
    assert (found["winner"], found["difference"]) == ("last_value", None)
    assert "and so is that of the network" in errors(zero, last_value=zero, linear=some)["verdict"]


def test_one_outlier_does_not_decide():
    outlier = np.where(np.arange(500)[:, None] == 250, 1e4, 0)
    lucky, plain = 1.1 * GOOD + 0.99 * outlier, GOOD + outlier  # better at one window, worse at the others
    assert lucky.mean() < plain.mean()
    assert not verdict.surely_better(lucky, plain, 2, np.arange(500))
    assert verdict.surely_better(GOOD, BAD, 2, np.arange(500))
    assert errors(lucky, last_value=BAD + outlier, linear=plain)["winner"] != "network"


# --- the next thing to try -------------------------------------------------------------------------------------------


def said(errors, left, horizon=3, **asked):
    facts = {"cell": "SimpleRNN", "units": [32], "window": 8, "features": 1, "targets": ["temp"]} | asked
    return advice.next_step(errors, {"horizon": horizon}, left, **facts)


def test_the_next_thing_to_try_is_chosen_by_rule():
    noise, slow = RNG.normal(size=300), np.cumsum(RNG.normal(size=300))
    beats, worse = errors(GOOD, last_value=BAD, linear=BAD), errors(BAD, last_value=BAD, linear=GOOD)
    assert "--window 16" in said(beats, noise, horizon=8)
    assert "--cell LSTM" in said(beats, noise)
    assert "--units 64." in said(beats, noise, cell="GRU")
    assert "--units 256,64." in said(beats, noise, cell="GRU", units=[128, 32])
    assert "nothing. The data hold no more" in said(worse, noise)
    assert "--window 16" in said(worse, slow)
    assert "depends on what it left before, and the window of 400 rows is long" in said(worse, slow, window=400)
    assert "--features temp" in said(errors(BAD, last_value=GOOD, linear=BAD), noise, features=3)
    assert "more rows" in said(errors(GOOD[:5], last_value=BAD[:5], linear=BAD[:5]), noise)
    assert "exact" in said(errors(GOOD, last_value=0 * GOOD, linear=BAD), noise)


def test_noise_does_not_depend_on_itself():
    found = [advice.depends(RNG.normal(size=200)) for _ in range(200)]
    assert np.mean(found) < 0.05
    assert advice.depends(np.sin(np.arange(200) / 5) + RNG.normal(size=200))
    assert not advice.depends(np.zeros(50))


# --- the period ------------------------------------------------------------------------------------------------------


def period(times, values, found=None):
    table = reading.read(open_table(pl.DataFrame({"t": times, "temp": values})), Settings(target="temp"))
    parts = parts_at_origins(table, 1)
    return seasons.chosen(
        table, [windows_of(table, parts[0], 4, 1)], [found] if found else [], [training_series(table, parts[0])]
    )


def dates(step, rows):
    return pl.Series((np.datetime64("2001-01-01", step) + np.arange(rows)).astype("datetime64[us]"))


@pytest.mark.parametrize(
    ("step", "rows", "length", "found", "expected"),
    [
        ("D", 2200, 365.25, 344, 365),  # the autocorrelation is flat at its top
        ("D", 400, 7, 7, 7),
        ("D", 400, 7, None, 7),
        ("M", 240, 12, None, 12),
        ("h", 1000, 24, None, 24),
        ("D", 400, 11, 11, 11),  # no period of the calendar
        ("D", 400, 1e9, None, None),
    ],
)
def test_a_period_of_the_calendar_is_used_where_the_series_has_it(step, rows, length, found, expected):
    wave = np.sin(2 * np.pi * np.arange(rows) / length) + 0.3 * np.random.default_rng(2).normal(size=rows)
    assert period(dates(step, rows), wave, found) == expected


# --- intervals of forecasts ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return elman.fit(frame(), out=tmp_path_factory.mktemp("fit"), ahead=2, **SMALL | {"epochs": 1})


def test_every_forecast_has_its_intervals(run):
    columns = ["lower_80", "upper_80", "lower_95", "upper_95"]
    assert run.forecast.columns[-4:] == columns
    assert run.metrics["intervals"][0]["level"] == 0.8
    forecast = elman.predict(run, frame())
    assert_allclose(forecast["upper_95"] - forecast["temp"], run.half_widths(0.95), rtol=1e-5)
    assert_allclose(run.forecast.select(columns), forecast.select(columns), rtol=1e-5)
    found = elman.predict(run, frame(), interval=0.9)
    assert found.columns[-2:] == ["lower_90", "upper_90"]
    assert (found["upper_90"] < forecast["upper_95"]).all()
    assert elman.predict(run, frame(), interval=None).columns[-1] == "temp"
    assert elman.predict(run, frame(), interval=0.9999)["lower_99.99"].null_count() == 2  # too few windows for it
    with pytest.raises(elman.DataError, match="interval is 90; expected a number between 0 and 1"):
        elman.predict(run, frame(), interval=90)


def test_the_widths_are_those_of_the_held_out_errors(run):
    values = frame()["temp"].to_numpy().astype("float32")
    model = run.models["last_value"]
    starts = range(140, 199)
    errors = np.stack([model(frame().to_numpy()[None, :i])[0] - values[i : i + 2] for i in starts])
    place = 0.8 * (len(errors) + 1) - 1
    ordered = np.sort(np.abs(errors), 0)
    expected = ordered[int(place)] + (place % 1) * (ordered[int(place) + 1] - ordered[int(place)])
    assert_allclose(run.half_widths(0.8, "last_value"), expected, rtol=1e-4)


def test_any_model_forecasts(run, tmp_path):
    last = elman.predict(run, frame(), model="last value")
    assert last["temp"].to_list() == [np.float32(frame()["temp"][-1])] * 2
    assert elman.predict(run, frame(), model="network").shape == last.shape
    with pytest.raises(elman.DataError, match="model is 'lienar'; expected one of .*Did you mean 'linear'"):
        elman.predict(run, frame(), model="lienar")
    asked = elman.fit(frame(), out=tmp_path / "run", model="last_value", **SMALL | {"epochs": 1})
    assert asked.name == "last_value"
    assert "Forecasts come from the last value, as was asked." in report.after(asked.metrics)
    assert elman.predict(asked, frame())["temp"][0] == np.float32(frame()["temp"][-1])
    noise = np.random.default_rng(1).normal(size=60)
    with pytest.raises(elman.DataError, match="model is 'seasonal', and no period was found"):
        elman.fit(noise, out=tmp_path / "noise", model="seasonal", window=4, units=2, epochs=1)


def test_every_model_runs_row_by_row(run):
    rows = frame().to_numpy().astype("float32")
    for name, model in run.models.items():
        expected = model(rows[None, -run.rows(name) :])[0]
        assert_allclose(elman.Stream(model).run(rows)[-1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_intervals_that_are_lost_are_one_sentence(tmp_path, damage):
    intervals.save(tmp_path, {"linear": np.ones((30, 2))})
    path = tmp_path / intervals.INTERVALS
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(elman.DataError, match=f"intervals.safetensors is .*{damage}.*--fresh"):
        intervals.load(tmp_path, "linear")
