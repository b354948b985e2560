# SPDX-License-Identifier: Apache-2.0
"""The benchmarks of `make evaluate` on forecasts, with small counts: what they compute, and that they go on where they
stopped."""

import importlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import elman
from fit_cases import WAVE, frame
from size import by_size

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    """Imports a benchmark, whose results are kept in a folder of the test."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("resumed", "fit_verdicts", "fit_real", "fit_unmet", "fit_time"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    resumed = importlib.import_module("resumed")
    monkeypatch.setattr(resumed.Results.__init__, "__defaults__", (tmp_path / "kept",))
    return importlib.import_module


# --- results that are kept -------------------------------------------------------------------------------------------


def test_parts_that_are_done_are_not_done_again(benchmark, tmp_path):
    code, done = tmp_path / "code.py", []
    code.write_text("1")
    results = benchmark("resumed").Results

    def part(number):
        done.append(number)
        return {"square": number**2}

    for _ in range(2):  # the second time as another process
        found = results("squares", str(code))
        assert [found([number], lambda number=number: part(number)) for number in (2, 3)] == [
            {"square": 4},
            {"square": 9},
        ]
    assert done == [2, 3]
    path = tmp_path / "kept" / "squares.jsonl"
    path.write_text(path.read_text()[:-5])  # killed while it wrote the last one
    found = results("squares", str(code))
    assert [found([number], lambda number=number: part(number))["square"] for number in (2, 3, 4)] == [4, 9, 16]
    assert done == [2, 3, 3, 4]
    assert results("squares", str(code))([4], lambda: None) == {"square": 16}


def test_results_of_other_code_are_not_used(benchmark, tmp_path):
    code = tmp_path / "code.py"
    results = benchmark("resumed").Results
    for text, expected in (("1", 1), ("2", 2), ("1", 1)):
        code.write_text(text)
        assert results("text", str(code))(["all"], lambda text=text: int(text)) == expected


# --- simulations -----------------------------------------------------------------------------------------------------


@pytest.mark.medium
def test_the_simulations_run_and_go_on(benchmark, monkeypatch, capsys):
    fits = benchmark("fit_verdicts")
    monkeypatch.setattr(fits, "FUTURES", 20)
    draws = by_size(1, 1, 3)
    monkeypatch.setattr(sys, "argv", ["fit_verdicts", "--draws", str(draws), "--rows", "60", "--kinds", "seasonal"])
    draw, called = fits.draw, []
    monkeypatch.setattr(fits, "draw", lambda *arguments: called.append(arguments[-1]) or draw(*arguments))
    for _ in range(2):
        assert fits.main() == 0
        (cell,) = json.loads(capsys.readouterr().out)["cells"]
        assert (cell["kind"], cell["rows"], cell["draws"], cell["false_beats"]) == ("seasonal", 60, draws, 0)
    assert called == list(range(draws))


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        ({"covered": 0.8}, "intervals of errors hold 0.800"),
        ({"false_beats": 0.11}, "0.110 false beats"),
        ({"held": {"0.8": 0.9, "0.95": 0.95}}, "0.8 intervals of forecasts hold 0.900"),
        ({"held": {"0.8": None, "0.95": None}}, None),
        ({"covered": 0.8, "winner_may_be_declared": 0.3}, None),
        ({}, None),
    ],
)
def test_a_figure_outside_its_range_is_a_failure(benchmark, figures, sentence):
    row = {"kind": "seasonal", "rows": 60, "ahead": 1, "draws": 400, "winner_may_be_declared": 1.0}
    row |= {"covered": 0.95, "false_beats": 0.01, "held": {"0.8": 0.81, "0.95": 0.94}}
    found = benchmark("fit_verdicts").failures(row | figures)
    assert [sentence in each for each in found] == ([True] if sentence else [])


def test_the_true_errors_are_those_of_a_model_on_continuations(benchmark):
    fits = benchmark("fit_verdicts")
    futures = fits.continued(fits.random_walk, np.zeros((500, 1)), 1, 30, np.random.default_rng(0))
    left = fits.misses(lambda rows: np.repeat(rows[:, -1], 2, axis=1), futures, 1, 1, 2)
    assert left.shape == (500 * 15, 2)
    np.testing.assert_allclose((left**2).mean(0), [1, 2], rtol=0.05)  # of one step, and of two


# --- real series -----------------------------------------------------------------------------------------------------


def test_the_verdict_on_a_series_is_judged_for_each_seed(benchmark, monkeypatch, capsys):
    real, calls = benchmark("fit_real"), []

    def fit(table, out, seed, **arguments):
        calls.append(seed)
        winner = "network" if seed == 1 else "linear"
        errors = {"models": {"network": {"rmse": 2.0}, "linear": {"rmse": 1.0}}, "best_baseline": "linear"}
        errors |= {"winner": winner, "verdict": f"{winner} wins"}
        return types.SimpleNamespace(metrics={"errors": errors, "table": {"rows": len(table)}})

    monkeypatch.setattr(elman, "fit", fit)
    monkeypatch.setattr(real, "series", lambda: iter([real.Series("waves", WAVE, {}, False)]))
    monkeypatch.setattr(sys, "argv", ["fit_real", "--seeds", "3"])
    for _ in range(2):
        assert real.main() == 1
        found = json.loads(capsys.readouterr().out)
        assert found["failed"] == ["waves, seed 1: a network should not win: network wins"]
        assert [each["over_best"] for each in found["series"][0]["seeds"]] == [2.0] * 3
    assert calls == [0, 1, 2]


def test_six_series_should_be_won_and_six_not():
    code = (BENCHMARKS / "fit_real.py").read_text()
    assert code.count(", True)") + 2 == 6  # three of the walk are one line
    assert code.count(", False)") + 1 == 6  # two of sktime are one line


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.large
def test_the_time_of_the_command_is_measured_with_what_it_did(benchmark, tmp_path):
    timed = benchmark("fit_time")
    data = tmp_path / "load.csv"
    timed.hours(120).write_csv(data)
    found = timed.run(data, tmp_path / "run", "--epochs", "1", "--seeds", "2", "--origins", "2", "--units", "4")
    assert (found["trainings"], found["epochs"]) == (4, 4)
    assert found["processor_seconds"] > 0
    assert found["seconds"] > 0


@pytest.mark.medium
def test_a_command_that_fails_is_not_timed(benchmark, tmp_path):
    with pytest.raises(SystemExit, match="elman fit ended with status 2: elman: .*no.csv does not exist"):
        benchmark("fit_time").run(tmp_path / "no.csv", tmp_path / "run")


def test_the_command_is_timed_with_its_defaults(benchmark, monkeypatch, capsys):
    timed, calls = benchmark("fit_time"), []
    monkeypatch.setattr(timed, "hours", lambda rows: calls.append(rows) or frame())
    monkeypatch.setattr(timed, "run", lambda *options: calls.append(len(options)) or {"seconds": 11.0})
    monkeypatch.setattr(sys, "argv", ["fit_time", "--runs", "2"])
    assert timed.main() == 1
    assert calls == [10_000, 2, 2]  # a table and a folder, and no option
    assert json.loads(capsys.readouterr().out)["failed"] == ["10,000 rows take 11.0 s; expected less than 10"]
