# SPDX-License-Identifier: Apache-2.0
"""What is done with a table before and after training: windows, parts, baselines, and the intervals of their errors."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from elman.forecasting import baselines, checks, reading
from elman.forecasting.parts import PARTS, parts_at_origins, rows_for, share_held_out
from elman.forecasting.settings import Settings
from elman.forecasting.source import open_table
from elman.forecasting.windows import default_window, windows_of
from fit_cases import DAYS, NOISE, ROWS, WAVE, frame


def prepare(table, window=5, ahead=2, fill=None, group=None, target="temp"):
    read = reading.read(open_table(table), Settings(target=target, group=group, fill=fill))
    (part,) = parts_at_origins(read, 1)
    return read, part, windows_of(read, part, window, ahead)


def test_targets_lie_in_their_part_and_inputs_may_reach_back():
    _, part, windows = prepare(frame())
    assert np.bincount(part).tolist() == [110, 30, 60]
    for i, name in enumerate(PARTS):
        starts = windows.starts[name]
        assert set(part[starts[:, None] + np.arange(5, 7)].ravel()) == {i}
    assert windows.starts["test"][0] + 5 == 140
    assert windows.starts["test"][-1] + 7 == ROWS


def test_each_origin_holds_out_the_next_block_and_learns_from_all_before_it():
    read, whole, _ = prepare(frame())
    parts = parts_at_origins(read, 3)
    held_out = [windows_of(read, part, 5, 2).starts["test"] for part in parts]
    (alone,) = (windows_of(read, whole, 5, 2).starts["test"],)
    assert_array_equal(np.concatenate(held_out), alone)
    for part, starts in zip(parts, held_out, strict=True):
        assert (np.diff(part) >= 0).all()
        assert (part[: starts[0] + 5] < 2).all()  # all rows before the block, and 30 of them to validate
        assert (part == 1).sum() == 30
    assert len(parts_at_origins(prepare(frame().head(60))[0], 3)) == 1  # a block has 10 rows


@pytest.mark.parametrize(("rows", "share"), [(16, 0.3), (500, 0.3), (750, 0.2), (1000, 0.15), (10**6, 0.15)])
def test_a_short_table_holds_out_a_larger_share(rows, share):
    assert share_held_out(rows) == share
    assert rows_for(round(rows * share)) <= max(rows, 1000)
    needed = rows_for(40)
    assert needed * share_held_out(needed) >= 40 > (needed - 1) * share_held_out(needed - 1)


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
    read, _, _ = prepare(table, group="g")
    for part in parts_at_origins(read, 3):
        for i in range(1, part.max() + 1):
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
    assert_array_equal(
        baselines.last_value(windows, starts), np.repeat(WAVE[starts + 4].astype("float32")[:, None], 2, axis=1)
    )
    found = baselines.seasonal(windows, starts, 1)
    assert_array_equal(found, windows.last(starts))
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
    _, mean, std = checks.moments(read, part)
    rows = read.rows[part == 0].astype("float64")
    assert_allclose(mean, rows.mean(0), rtol=1e-12)
    assert_allclose(std, rows.std(0), rtol=1e-9)
