# SPDX-License-Identifier: Apache-2.0
"""elman.compare on tables to forecast: what it recommends, ties, folds without leakage, resuming, failures."""

import importlib.util
import json
import re
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import elman
from elman.cli.app import app
from elman.comparison import candidates, forecast, pairs
from elman.comparison.asked import Asked
from elman.comparison.candidates import Candidate
from elman.comparison.forecast_scores import Scores
from elman.comparison.model import Choice
from elman.comparison.tasks import given
from elman.errors import DataError
from html_pages import Page

RNG = np.random.default_rng(0)
PLAIN = ["last value", "drift", "linear"]
SMALL = ["last value", "seasonal", "drift", "linear", "SimpleRNN"]
TIMES = {"seconds", "microseconds"}


def autoregression(rows=500):
    noise = np.random.default_rng(1).normal(size=rows)
    values = np.zeros(rows)
    for t in range(2, rows):
        values[t] = 0.9 * values[t - 1] - 0.5 * values[t - 2] + noise[t]
    return values


def product(rows=900):
    """The target is a product of the other column's last two values: a linear model sees little of it."""
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, rows)
    y = np.r_[0, 0, x[1:-1] * x[:-2]] + 0.02 * rng.normal(size=rows)
    return pl.DataFrame({"y": y, "x": x})


def without_times(data):
    return {
        **{key: value for key, value in data.items() if key not in {"rows", "command", "checksum"}},
        "rows": [{key: value for key, value in row.items() if key not in TIMES} for row in data["rows"]],
    }


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "linear"
    return elman.compare(autoregression(), only=SMALL, trials=1, out=folder, ahead=2, unit="K")


def test_the_linear_model_is_enough_for_an_autoregression(linear):
    assert linear.recommended == "linear"
    assert "no recurrent network" in linear.reason
    assert linear.reason.count(". ") == 0
    assert set(linear.tied) == {"linear", "SimpleRNN"}
    assert [row["name"] for row in linear.rows if row["status"] == "compared"][-1] in {"last value", "drift"}


def test_a_row_has_error_skill_and_costs(linear):
    row = next(row for row in linear.rows if row["name"] == "linear")
    assert row["low"] < row["error"] < row["high"]
    assert row["skill_low"] < row["skill"] < row["skill_high"]
    assert len(row["by_step"]) == 2
    assert row["by_step"][0] < row["by_step"][1]
    assert row["error"] == pytest.approx(np.sqrt(np.mean(np.square(row["by_step"]))))
    assert 0 < row["mase"] < 1
    assert row["header_bytes"] == 4 * (row["parameters"] + row["about"]["rows"])
    assert row["seconds"] > 0 < row["microseconds"]


@pytest.mark.slow
def test_a_network_is_recommended_where_the_linear_model_cannot_see(tmp_path):
    only = ["last value", "linear", "feedforward", "SimpleRNN"]
    found = elman.compare(product(), "y", only=only, trials=1, window=4, out=tmp_path / "run")
    errors = {row["name"]: row["error"] for row in found.rows}
    assert found.recommended in {"feedforward", "SimpleRNN"}
    assert errors[found.recommended] < 0.5 * errors["linear"]
    assert "linear" not in found.tied


def test_data_that_cannot_be_used_replace_nothing(linear, tmp_path):
    folder = shutil.copytree(linear.folder, tmp_path / "run")
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    with pytest.raises(DataError, match="Choose a smaller window"):
        elman.compare(autoregression(300), window=4000, out=folder, fresh=True)
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_the_same_call_shows_the_stored_comparison(linear):
    again = elman.compare(autoregression(), only=SMALL, trials=1, out=linear.folder, ahead=2, unit="K")
    assert again.to_dict() == linear.to_dict()
    with pytest.raises(DataError, match="another seed"):
        elman.compare(autoregression(), only=SMALL, trials=1, out=linear.folder, ahead=2, unit="K", seed=1)


@pytest.mark.parametrize("damage", [("linear", "drift"), ("{", "[")])
def test_a_damaged_comparison_is_found_again(linear, tmp_path, damage):
    path = shutil.copytree(linear.folder, tmp_path / "run") / "comparison.json"
    whole = path.read_text()
    path.write_text(whole.replace(*damage))
    found = elman.compare(autoregression(), only=SMALL, trials=1, out=path.parent, ahead=2, unit="K")
    assert without_times(found.to_dict()) == without_times(linear.to_dict())
    assert without_times(json.loads(path.read_text())) == without_times(json.loads(whole))


@pytest.mark.parametrize("lost", [1, 4, 99])
def test_an_interrupted_comparison_goes_on_to_the_same_table(linear, tmp_path, lost, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(linear.folder, folder)
    (folder / "comparison.json").unlink()
    stored = sorted((folder / "outcomes").iterdir())
    for path in stored[-lost:]:
        path.unlink()
    (stored[0]).write_bytes(b"damaged")
    done = []
    arguments = {"only": SMALL, "trials": 1, "out": folder, "ahead": 2, "unit": "K"}
    again = elman.compare(autoregression(), **arguments, tell=lambda number, of: done.append(number))
    assert without_times(again.to_dict()) == without_times(linear.to_dict())
    assert done == list(range(1, len(stored) + 1))


def test_a_fold_does_not_change_when_the_table_is_cut_after_it():
    table = pl.DataFrame({"y": autoregression(400), "x": RNG.normal(size=400)})
    whole = given(table, Asked(target="y", window=6, ahead=2)).problem.folds
    rows = [0, 400 - 80, 400 - 40, 400]
    parts = forecast.parts_of(whole[0].table, 2, 3)
    for fold, part, end in zip(whole, parts, rows[1:], strict=True):
        assert fold.windows.starts["test"].max() + 6 + 2 == end
        table_until = fold.table._replace(rows=fold.table.rows.copy())
        table_until.rows[end:] = np.nan  # whatever reads a later row has NaN now
        again = forecast.fold_of(table_until, part, 6, 2, fold.period)
        assert (again.mean == fold.mean).all()
        assert (again.std == fold.std).all()
        assert (again.drift, again.scale) == (fold.drift, fold.scale)
        assert (again.windows.inputs(again.held_out) == fold.windows.inputs(fold.held_out)).all()
        for name in PLAIN:
            fit = candidates.BY_NAME[name].fits["forecast"]
            first, second = (fit(each, Choice(), 0).predict(each.held_out) for each in (fold, again))
            assert (first == second).all()


@pytest.mark.parametrize("ahead", [1, 5])
def test_a_gap_as_long_as_the_forecast_lies_before_each_part(ahead):
    folds = given(autoregression(400), Asked(window=4, ahead=ahead)).problem.folds
    for fold in folds:
        targets = {name: starts[:, None] + np.arange(4, 4 + ahead) for name, starts in fold.windows.starts.items()}
        assert targets["validation"].min() - targets["train"].max() >= ahead
        assert targets["test"].min() - targets["validation"].max() >= ahead


def test_several_series_are_cut_at_the_same_times():
    days = np.arange(120)
    table = pl.DataFrame(
        {
            "day": np.r_[days, days[40:]],
            "shop": ["a"] * 120 + ["b"] * 80,
            "sales": np.r_[autoregression(120), autoregression(80) + 5],
        }
    )
    folds = given(table, Asked(target="sales", time="day", group="shop", window=3)).problem.folds
    for fold in folds:
        part = fold.windows.starts["test"] + 3
        assert fold.table.times[part].min() > fold.table.times[fold.windows.starts["train"] + 3].max()
        assert set(fold.table.groups[part]) == {0, 1}
        assert len(np.unique(fold.moment)) == len(fold.moment) / 2


def test_thinned_windows_of_several_series_have_the_same_moments(monkeypatch):
    monkeypatch.setattr(forecast, "_MOST_TEST", 60)
    table = pl.DataFrame({"day": np.tile(np.arange(307), 3), "shop": np.repeat(["a", "b", "c"], 307)})
    table = table.with_columns(sales=RNG.normal(size=3 * 307))
    asked = Asked(target="sales", time="day", group="shop", window=3, ahead=4)
    for fold in given(table, asked).problem.folds:
        moments = np.unique(fold.moment)
        assert len(fold.moment) == 3 * len(moments)
        (step,) = np.unique(np.diff(moments))
        assert step == 2
        predictions = {"last value": [[fold.truth()]]}
        assert Scores([fold], predictions).overlap == 2  # forecasts of 4 rows, one every 2


def test_a_candidate_that_fails_is_a_row(tmp_path, monkeypatch):
    def fails(fold, choice, seed):
        raise ValueError("no\n good")

    row = Candidate("broken", {"forecast": fails})
    monkeypatch.setattr(candidates, "CANDIDATES", (*candidates.CANDIDATES, row))
    monkeypatch.setitem(candidates.BY_NAME, "broken", row)
    found = elman.compare(autoregression(), only=["linear", "broken"], out=tmp_path / "run")
    assert (found.rows[-1]["status"], found.rows[-1]["why"]) == ("failed", "ValueError: no good")
    assert found.recommended == "linear"


def test_a_candidate_whose_package_is_missing_is_skipped(tmp_path, monkeypatch):
    found_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sklearn" else found_spec(name))
    found = elman.compare(autoregression(), only=["linear", "boosting"], out=tmp_path / "run")
    assert found.rows[-1]["status"] == "skipped"
    assert "not installed" in found.rows[-1]["why"]


def test_a_cluster_that_does_not_answer_is_one_sentence(tmp_path, monkeypatch):
    def init(address, **_):
        raise ConnectionError(f"ray client connection timeout to {address}")

    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(is_initialized=lambda: False, init=init))
    table = tmp_path / "data.csv"
    pl.DataFrame({"y": autoregression()}).write_csv(table)
    words = ["compare", str(table), "--only", "last value", "--ray", "h:1", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert done.stderr.startswith(
        "elman: ray is 'h:1', and no Ray cluster answers there (ray client connection timeout"
    )
    assert len(done.stderr.splitlines()) == 1


def test_without_any_result_there_is_one_sentence(tmp_path):
    for _ in range(2):  # what is stored is not judged either
        with pytest.raises(DataError, match="no candidate has a result: seasonal .no period was found.*--only"):
            elman.compare(autoregression(100), only=["seasonal"], out=tmp_path / "run")


@pytest.mark.medium
@pytest.mark.needs("sklearn")
def test_boosted_trees_see_a_product(tmp_path):
    found = elman.compare(product(), "y", only=["linear", "boosting"], window=4, out=tmp_path / "run")
    assert found.recommended == "boosting"
    assert next(row for row in found.rows if row["name"] == "boosting")["header_bytes"] is None


@pytest.mark.needs("optuna")
def test_the_search_tries_as_many_choices_as_asked(tmp_path):
    found = elman.compare(product(300), "y", only=["linear", "SimpleRNN"], trials=3, window=4, out=tmp_path / "run")
    texts = elman.comparison.store.Store(found.folder, fresh=False).get(elman.comparison.jobs.Job("SimpleRNN", -1, 0))
    tried = texts.facts["tried"]
    assert 1 <= len(tried) <= 3
    assert (tried[0]["units"], tried[0]["learning_rate"]) == tuple(Choice())
    best = min(tried, key=lambda each: each["loss"])
    assert texts.facts["choice"] == {name: best[name] for name in ("units", "learning_rate")}
    assert next(row for row in found.rows if row["name"] == "SimpleRNN")["about"]["units"] == best["units"]


def test_seasonal_is_the_reference_where_there_is_a_period(tmp_path):
    values = np.tile([0.0, 3, 5, 1, -2, -4, 2], 60) + 0.1 * RNG.normal(size=420)
    found = elman.compare(values, only=["last value", "seasonal", "linear"], out=tmp_path / "run")
    seasonal = next(row for row in found.rows if row["name"] == "seasonal")
    assert found.to_dict()["reference"] == "seasonal"
    assert seasonal["skill"] == 0
    assert seasonal["about"] == {"period": 7}
    assert seasonal["mase"] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(("steps", "level"), [(1, 0.95), (6, 0.95)])
def test_diebold_mariano_errs_as_often_as_it_says(steps, level):
    """Losses of forecasts that overlap: moving sums of noise. 5 % of equal pairs are told apart."""
    rng = np.random.default_rng(0)
    trials, origins = 800, 120
    noise = rng.normal(size=(trials, 2, origins + steps - 1))
    losses = np.lib.stride_tricks.sliding_window_view(noise, steps, axis=-1).mean(-1)
    wrong = sum(pairs.diebold_mariano(first, second, steps, level) for first, second in losses)
    assert wrong / trials == pytest.approx(0.05, abs=0.025)
    assert pairs.diebold_mariano(losses[0, 0], losses[0, 1] + 2, steps, level)
    assert not pairs.diebold_mariano(losses[0, 0], losses[0, 0], steps, level)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"fill": "linear"}, "a forecast does not know"),
        ({"only": ["linaer"]}, "only has 'linaer'.*Did you mean 'linear'"),
        ({"task": "guess"}, "expected one of auto"),
        ({"folds": 1}, "expected 2 or more"),
        ({"trials": 0}, "trials is 0"),
        ({"target": "y9"}, "not a column"),
        ({"window": 4000}, "Choose a smaller window"),
        ({"ahead": 400}, "too short"),
    ],
)
def test_an_argument_that_does_not_fit_is_one_sentence_and_no_folder(tmp_path, arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        elman.compare(autoregression(300), out=tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def messy(rows=400):
    """Days of a load and its price, out of order, one of them twice, in a file as Excel writes it in Germany."""
    rng = np.random.default_rng(5)
    price = rng.normal(size=rows)
    load = 3 * price + 0.3 * rng.normal(size=rows)
    days = np.datetime64("2022-01-01") + np.arange(rows)
    table = pl.DataFrame({"day": days, "load": load, "price": price, "größe": rng.normal(size=rows)})
    table = pl.concat([table, table.head(1)]).sample(fraction=1, shuffle=True, seed=0)
    text = table.write_csv(separator=";", float_precision=3, decimal_comma=True)
    return table, text.encode("latin-1")


def test_a_table_is_read_with_the_options_of_fit(tmp_path):
    table, text = messy()
    path = tmp_path / "load.csv"
    path.write_bytes(text)
    options = {"target": "load", "sort": True, "duplicates": "first", "exclude": ["größe"], "calendar": True}
    form = {"sep": ";", "encoding": "latin-1", "decimal": ","}
    asked = Asked(**options, **form, window=8)
    read = given(path, asked).problem.folds[0].table
    assert read.chosen.features == [
        "load",
        "price",
        *(f"calendar {c}, {s}" for c in ("week", "year") for s in ("sine", "cosine")),
    ]
    assert (len(read.rows), len(read.notes)) == (400, 4)
    np.testing.assert_allclose(read.rows[:, 0], table.unique().sort("day")["load"], atol=1e-3)
    fitted = elman.fit(path, ahead=2, window=8, epochs=1, seeds=1, origins=1, out=tmp_path / "run", **options, **form)
    assert fitted.metrics["table"]["features"] == read.chosen.features


def test_a_comparison_sees_what_is_known_before(tmp_path):
    table = messy()[0].unique().sort("day").select("load", "price")
    known, blind = (
        elman.compare(table, "load", ahead=3, only=["last value", "linear"], known=names, out=tmp_path / str(names))
        for names in (["price"], None)
    )
    errors = [{row["name"]: row["error"] for row in each.rows} for each in (known, blind)]
    assert errors[0]["linear"] < 0.5 < 2 < errors[1]["linear"]
    assert errors[0]["last value"] == errors[1]["last value"]


@pytest.mark.parametrize("name", ["known", "exclude", "sort", "duplicates", "calendar"])
def test_what_only_a_forecast_has_is_refused_elsewhere(name):
    value = {"duplicates": "first", "sort": True, "calendar": True}.get(name, ["a"])
    table = pl.DataFrame({"a": RNG.normal(size=40), "kind": ["x", "y"] * 20})
    for asked in (Asked(label="kind", **{name: value}), Asked(target="kind", **{name: value})):
        with pytest.raises(DataError, match=f"{name} .--{name}. is for forecasts of numbers, and the task is"):
            given(table, asked)


def test_the_command_reads_a_table_with_the_options_of_fit(tmp_path):
    path = tmp_path / "load.csv"
    path.write_bytes(messy()[1])
    options = (
        "--target load --sort --duplicates mean --exclude größe --sep ; --encoding latin-1 --decimal , --known price"
    )
    arguments = [*options.split(), "--only", "last value,linear", "--json", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, ["compare", str(path), *arguments])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["data"]["features"], found["data"]["rows"]) == (["load", "price"], 400)
    assert found["arguments"]["known"] == ["price"]


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_a_page(tmp_path):
    path = tmp_path / "data.csv"
    pl.DataFrame({"temp": autoregression(500)}).write_csv(path)
    arguments = ["compare", str(path), "--only", "last value,linear", "--out", str(tmp_path / "run"), "--unit", "K"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert "* linear" in done.stdout
    assert "You need no recurrent network" in done.stdout
    page = (tmp_path / "run" / "report.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    assert {"svg", "table"} <= {tag for tag, _ in Page(page).tags}
    printed = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert printed["recommended"] == "linear"
    bad = CliRunner().invoke(app, ["compare", str(path), "--target", "tmp", "--out", str(tmp_path / "bad")])
    assert (bad.exit_code, (tmp_path / "bad").exists()) == (2, False)


@pytest.mark.medium
def test_the_page_runs_and_prints_what_it_says(capsys):
    page = (Path(__file__).parents[1] / "docs" / "compare.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    exec(compile(code, "compare.md", "exec"), {})
    said = re.findall(r"print\(.*\)  # (.*)", code)
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line in said] == said
