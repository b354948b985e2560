# SPDX-License-Identifier: Apache-2.0
"""What is done with a table before and after training: windows, parts, baselines, and the intervals of their errors."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from elman.forecasting import baselines, checks, reading, report
from elman.forecasting.scores import Bootstrap
from elman.forecasting.settings import Settings
from elman.forecasting.source import open_table
from elman.forecasting.windows import PARTS, default_window, parts_of, windows_of
from fit_cases import DAYS, NOISE, ROWS, WAVE, frame


def prepare(table, window=5, ahead=2, fill=None, group=None, target="temp"):
    read = reading.read(open_table(table), Settings(target=target, group=group, fill=fill))
    part = parts_of(read)
    return read, part, windows_of(read, part, window, ahead)


def test_targets_lie_in_their_part_and_inputs_may_reach_back():
    _, part, windows = prepare(frame())
    assert np.bincount(part).tolist() == [140, 30, 30]
    for i, name in enumerate(PARTS):
        starts = windows.starts[name]
        assert set(part[starts[:, None] + np.arange(5, 7)].ravel()) == {i}
    assert windows.starts["test"][0] + 5 == 170
    assert windows.starts["test"][-1] + 7 == ROWS


def test_windows_do_not_straddle_groups_or_gaps():
    read, _, windows = prepare(frame(g=["a"] * 90 + ["b"] * 110), group="g")
    for starts in windows.starts.values():
        assert_array_equal(read.groups[starts], read.groups[starts + 6])
    table = pl.DataFrame({"day": np.r_[DAYS[:60], DAYS[60:] + 3], "temp": WAVE})
    _, _, windows = prepare(table, fill="split")
    starts = np.concatenate(list(windows.starts.values()))
    assert not ((starts < 60) & (starts + 7 > 60)).any()


def test_several_series_are_cut_at_the_same_times():
    table = pl.DataFrame(
        {"g": ["a"] * 200 + ["b"] * 100, "day": np.r_[DAYS, DAYS[100:]], "temp": np.r_[WAVE, WAVE[:100]]}
    )
    read, part, _ = prepare(table, group="g")
    for i in (1, 2):
        assert read.times[part == i].min() > read.times[part == i - 1].max()


def test_a_window_holds_its_rows_and_what_follows():
    _, _, windows = prepare(frame())
    starts = np.array([3, 60])
    assert_array_equal(windows.inputs(starts)[1, :, 1], NOISE[60:65].astype("float32"))
    assert_array_equal(windows.targets(starts)[0], WAVE[8:10].astype("float32"))
    assert_array_equal(windows.last(starts)[:, 0], WAVE[[7, 64]].astype("float32"))


@pytest.mark.parametrize(
    ("period", "longest", "window"), [(None, 900, 24), (52, 900, 64), (5, 900, 8), (20, 900, 25), (20, 90, 11)]
)
def test_the_window_follows_the_period_and_leaves_enough(period, longest, window):
    assert default_window(longest, 1, period) == window


def test_the_period_is_found_under_noise_and_a_trend():
    t = np.arange(700)
    rng = np.random.default_rng(1)
    series = np.sin(2 * np.pi * t / 24) + 0.5 * rng.normal(size=700) + 0.02 * t
    assert baselines.period_of([series], 700) == 24
    assert baselines.period_of([rng.normal(size=700)], 700) is None
    assert baselines.period_of([t.astype("float64")], 700) is None


def test_last_value_and_seasonal_repeat():
    _, _, windows = prepare(frame())
    starts = windows.starts["test"][:3]
    assert_array_equal(baselines.last_value(windows, starts), np.repeat(windows.last(starts), 2, axis=1))
    found = baselines.seasonal(windows, starts, 1)
    assert_array_equal(found, np.repeat(windows.last(starts), 2, axis=1))
    wave = WAVE.astype("float32")
    first = starts[0] + 5
    assert_array_equal(baselines.seasonal(windows, starts[:1], 9)[0], wave[[first - 9, first - 8]])


def test_the_linear_model_is_ridge_regression():
    _, part, windows = prepare(frame())
    mean, std = windows.rows[part == 0].mean(0, "float64"), windows.rows[part == 0].std(0, "float64")
    found = baselines.fit_linear(windows, mean, std)
    x = ((windows.inputs(windows.starts["train"]) - mean) / std).reshape(len(windows.starts["train"]), -1)
    starts = windows.starts["train"]
    y = (windows.targets(starts).astype("float64") - windows.last(starts)) / std[0]
    xc, yc = x - x.mean(0), y - y.mean(0)
    direct = np.linalg.solve(xc.T @ xc / len(x) + found.penalty * np.eye(x.shape[1]), xc.T @ yc / len(x))
    assert_allclose(found.weights, direct, rtol=1e-6, atol=1e-9)
    t = np.arange(300)
    _, part, windows = prepare(np.sin(t / 3) + np.sin(t / 5), window=8, target="x0")
    found = baselines.fit_linear(windows, windows.rows.mean(0), windows.rows.std(0))
    held_out = windows.starts["test"]
    # Two sines are linear in their past.
    assert np.abs(found(windows, held_out) - windows.targets(held_out)).max() < 1e-2


def test_the_moments_are_those_of_the_training_part():
    read, part, _ = prepare(frame(high=1e4 + NOISE))
    mean, std = checks.moments(read, part)
    rows = read.rows[part == 0].astype("float64")
    assert_allclose(mean, rows.mean(0), rtol=1e-12)
    assert_allclose(std, rows.std(0), rtol=1e-9)


def test_the_interval_covers_the_error_and_widens_with_dependence():
    rng = np.random.default_rng(0)
    independent = rng.normal(size=(2000, 1)) ** 2
    slow = np.repeat(rng.normal(size=(100, 1)) ** 2, 20, axis=0)
    bootstrap = Bootstrap(2000, 20)
    first, second = bootstrap.score(independent), bootstrap.score(slow)
    assert first.low < first.rmse < first.high
    assert 0.9 < first.low < 1 < first.high < 1.1
    assert second.high - second.low > 3 * (first.high - first.low)
    assert_allclose(first.by_step, first.rmse)


def test_models_are_told_apart_only_where_they_differ():
    rng = np.random.default_rng(0)
    good, bad = rng.normal(size=(500, 2)) ** 2, 2 * rng.normal(size=(500, 2)) ** 2
    bootstrap = Bootstrap(500, 2)
    assert bootstrap.difference(good, bad).distinct
    assert bootstrap.difference(good, bad).high < 0
    assert not bootstrap.difference(good, good).distinct
    assert bootstrap.surely_better(good, bad)
    outlier = np.where(np.arange(500)[:, None] == 250, 1e4, 0)
    lucky, plain = 1.1 * good + 0.99 * outlier, good + outlier  # better at one window, worse at the others
    assert lucky.mean() < plain.mean()
    assert not bootstrap.surely_better(lucky, plain)
    said = report.errors({"last_value": bad, "linear": 1.01 * good, "network": good}, 2)
    assert said["best_baseline"] == "linear"
    found = {
        "beats": {"last_value": bad, "linear": bad, "network": good},
        "Use that": {"last_value": bad, "linear": good, "network": bad},
        "Use the simpler one": {"last_value": bad, "linear": good, "network": 1.001 * good[::-1]},
    }
    same = {"last_value": bad, "linear": good, "network": good * (1 - 1e-7)}
    assert "its error is that of the linear model" in report.errors(same, 2)["verdict"]
    for words, squares in found.items():
        assert words in report.errors(squares, 2)["verdict"]
        assert ("not better" in report.errors(squares, 2)["verdict"]) == (words != "beats")


@pytest.mark.parametrize("windows", [2, 13, 40])
def test_an_interval_contains_its_error(windows):
    rising = np.repeat(np.arange(1.0, windows + 1)[:, None] ** 4, 3, axis=1)  # the last windows are the worst
    for squares in (rising, rising[::-1]):
        score = Bootstrap(windows, 12).score(squares)
        assert score.low <= score.rmse <= score.high


@pytest.mark.parametrize(
    ("windows", "ahead", "enough"), [(2, 1, False), (11, 12, False), (13, 6, False), (100, 2, True)]
)
def test_few_windows_have_no_winner(windows, ahead, enough):
    bad, good = np.full((windows, ahead), 4.0), np.ones((windows, ahead))
    for network, other in ((good, bad), (bad, good)):
        found = report.errors({"last_value": other, "linear": other, "network": network}, ahead)
        said = found["verdict"].startswith("Too few held-out windows to say which model is better")
        assert said == (not enough)
        assert found["difference"]["distinct"] == found["enough"] == enough


def test_an_error_of_zero_is_compared_as_well():
    zero, some = np.zeros((90, 1)), np.full((90, 1), 0.04)
    verdict = report.errors({"last_value": zero, "linear": some, "network": some}, 1)["verdict"]
    assert "its error is 0.2, and that of the last value is 0" in verdict
    verdict = report.errors({"last_value": zero, "linear": some, "network": zero}, 1)["verdict"]
    assert "its error is that of the last value" in verdict


@pytest.mark.parametrize("windows", [1, 2, 3])
def test_few_windows_have_an_interval_too(windows):
    score = Bootstrap(windows, 4).score(np.ones((windows, 4)))
    assert (score.rmse, score.low, score.high) == (1, 1, 1)
