# SPDX-License-Identifier: Apache-2.0
"""Intervals of errors and of forecasts, and rolling origins: known formulas, and coverage by simulation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from elman.assessment import (
    Conformal,
    block_length,
    coverage_ahead,
    effective_windows,
    ratio_interval,
    rmse_interval,
    rolling_origins,
    share_of_draws_below,
    windows_needed,
)
from elman.assessment.student import half_width
from size import by_size

DRAWS = by_size(200, 400, 4000)
COVERAGE = 0.95  # a measured share may be off by three of its standard errors


def autoregressive(rng, rows, coefficient):
    """`(rows,)` of variance 1, from the stationary distribution on."""
    noise = rng.normal(size=rows) * np.sqrt(1 - coefficient**2)
    noise[0] /= np.sqrt(1 - coefficient**2)
    values = np.empty(rows)
    last = 0.0
    for i, each in enumerate(noise):
        last = values[i] = coefficient * last + each
    return values


def overlapping(rng, windows, ahead):
    """Squared errors of windows of several steps, whose one-step errors are independent and of variance 1."""
    squares = rng.normal(size=windows + ahead - 1) ** 2
    return np.convolve(squares, np.ones(ahead) / ahead, "valid")


@pytest.mark.parametrize(
    ("level", "freedom", "expected"),
    [
        (0.95, 1, 12.7062),
        (0.95, 2, 4.30265),
        (0.95, 3, 3.18245),
        (0.8, 5, 1.47588),
        (0.99, 30, 2.75),
        (0.95, 1e6, 1.96),
    ],
)
def test_the_quantiles_of_student(level, freedom, expected):
    assert_allclose(half_width(level, freedom), expected, rtol=2e-4)


def test_the_standard_error_of_independent_losses_is_the_known_one():
    squares = np.random.default_rng(0).uniform(0.5, 1.5, size=400)
    estimate, _, high = rmse_interval(squares)
    of_root = squares.std() / squares.mean() / 2 / np.sqrt(400)
    assert_allclose(np.log(high / estimate), of_root * half_width(0.95, 400 / block_length(squares) - 1), rtol=0.2)


def test_the_length_of_a_block_follows_the_dependence():
    rng = np.random.default_rng(1)
    independent, slow = rng.normal(size=1000), autoregressive(rng, 1000, 0.9)
    assert block_length(independent) == 10  # the cube root of 1,000
    # Formula (14) for an AR(1) with 0.9: (2 * (2 * 0.9 / (1 - 0.81))**2 / (4 / 3) * 1000)**(1 / 3) = 51.
    assert 25 < block_length(slow) < 100
    assert block_length(independent, 12) == 24
    assert block_length(independent[:20], 12) == 10


def test_effective_windows_know_dependence_and_overlap():
    rng = np.random.default_rng(2)
    assert effective_windows(rng.normal(size=2000)) > 1500
    slow = effective_windows(autoregressive(rng, 2000, 0.9))  # (1 - 0.9) / (1 + 0.9) of the windows
    assert 50 < slow < 220
    assert effective_windows(overlapping(rng, 240, 12), 12) <= 20
    assert windows_needed(overlapping(rng, 60, 12), 12) >= 144


@pytest.mark.parametrize("windows", [1, 2, 3, 13, 40])
@pytest.mark.parametrize("ahead", [1, 12])
def test_an_interval_contains_its_estimate(windows, ahead):
    rising = np.arange(1.0, windows + 1) ** 4  # the last windows are the worst
    for squares in (rising, rising[::-1], np.ones(windows), np.zeros(windows), np.eye(1, windows)[0]):
        found = [rmse_interval(squares, ahead), ratio_interval(squares, rising, ahead)]
        for estimate, low, high in found:
            assert low <= estimate <= high
        assert_allclose(found[0].estimate, np.sqrt(squares.mean()))


def test_a_ratio_knows_that_losses_come_in_pairs():
    rng = np.random.default_rng(3)
    hard = rng.lognormal(size=300)  # windows that are hard for both
    first, second = hard * rng.uniform(0.8, 1.0, 300), hard
    low, high = ratio_interval(first, second)[1:]
    assert high < 1
    assert high - low < (rmse_interval(first).high - rmse_interval(first).low) / rmse_interval(second).estimate
    assert share_of_draws_below(first, second) == 1
    assert share_of_draws_below(first, first) == 0


@pytest.mark.parametrize(
    ("draw", "ahead"),
    [
        pytest.param(lambda rng: rng.normal(size=20) ** 2, 1, id="20 independent windows"),
        pytest.param(lambda rng: overlapping(rng, 100, 6), 6, id="100 windows of 6 steps"),
        pytest.param(lambda rng: autoregressive(rng, 200, 0.5) ** 2, 1, id="200 dependent windows"),
    ],
)
def test_the_interval_of_an_error_covers_the_true_one(draw, ahead):
    rng = np.random.default_rng(4)
    found = [rmse_interval(draw(rng), ahead) for _ in range(DRAWS)]
    covered = np.mean([low <= 1 <= high for _, low, high in found])
    chance = 3 * np.sqrt(COVERAGE * (1 - COVERAGE) / DRAWS)
    assert 0.92 - chance <= covered <= 0.98 + chance


def test_the_interval_of_a_ratio_covers_the_true_one():
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(DRAWS):
        common, own = rng.normal(size=(2, 40))
        _, low, high = ratio_interval((common + own) ** 2, (common - own) ** 2)
        covered.append(low <= 1 <= high)
    chance = 3 * np.sqrt(COVERAGE * (1 - COVERAGE) / DRAWS)
    assert 0.92 - chance <= np.mean(covered) <= 0.98 + chance


@pytest.mark.parametrize("windows", [4, 19, 30, 100])
@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_conformal_intervals_cover_as_often_as_they_say(windows, level):
    rng = np.random.default_rng(6)
    held = []
    for _ in range(DRAWS):
        known, new = rng.normal(size=(windows, 2)), rng.normal(size=(50, 2))
        held.append((np.abs(new) <= Conformal.calibrated(known).half_width(level)).mean())
    if level > windows / (windows + 1):
        assert np.mean(held) == 1  # the width is infinite
    else:
        assert abs(np.mean(held) - level) < 0.03


def test_many_windows_keep_fewer_errors_and_the_same_widths():
    errors = np.random.default_rng(7).normal(size=(20_000, 3))
    kept = Conformal.calibrated(errors)
    assert len(kept.errors) == 2000
    for level in (0.5, 0.8, 0.95, 0.999):
        assert_allclose(kept.half_width(level), np.quantile(np.abs(errors), level, axis=0), rtol=0.02)
    assert np.isinf(kept.half_width(0.9999)).all()


def test_values_that_are_not_known_are_left_out_of_the_widths():
    errors = np.random.default_rng(7).normal(size=(60, 2))
    unknown = errors.copy()
    unknown[::3, 1] = np.nan
    kept, alone = Conformal.calibrated(unknown), Conformal.calibrated(errors[unknown[:, 1] == errors[:, 1], 1:])
    assert kept.highest_level == 40 / 41  # that of the step with the fewest
    assert kept.half_width(0.9)[1] == alone.half_width(0.9)[0]
    assert_allclose(kept.half_width(0.9)[0], Conformal.calibrated(errors).half_width(0.9)[0], rtol=0.1)
    assert_allclose(coverage_ahead(unknown, 0.8), 0.8, atol=0.2)
    assert coverage_ahead(np.where([True, False], errors, np.nan), 0.8) is None


def test_coverage_is_measured_on_later_windows():
    rng = np.random.default_rng(8)
    still = rng.normal(size=(1000, 2))
    assert_allclose(coverage_ahead(still, 0.8), 0.8, atol=0.04)
    assert (coverage_ahead(still * np.linspace(1, 5, 1000)[:, None], 0.8) < 0.76).all()  # errors that grow are seen
    assert coverage_ahead(still[:8], 0.95) is None


@pytest.mark.parametrize(("examples", "count", "gap"), [(100, 3, 1), (100, 3, 12), (41, 5, 2), (10, 3, 1)])
def test_rolling_origins_leave_a_gap(examples, count, gap):
    found = rolling_origins(examples, count, gap=gap, held_out=0.2)
    assert len(found) == min(count, round(0.2 * examples))
    assert found[-1].test.stop == examples
    for origin, later in zip(found, [*found[1:], None], strict=True):
        # Example i has the targets i + 1 to i + gap; the last one to train on ends where the first test begins.
        assert origin.train == slice(0, origin.test.start - gap + 1)
        assert later is None or origin.test.stop == later.test.start
    with pytest.raises(ValueError, match="expected at least one of each"):
        rolling_origins(5, gap=9)
