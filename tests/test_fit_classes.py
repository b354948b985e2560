# SPDX-License-Identifier: Apache-2.0
"""elman.fit and elman.predict on sequences and texts with labels: the run, its models, new data, resuming, errors."""

import contextlib
import importlib
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import elman
import tolerance
from elman.cli.app import app
from elman.comparison import candidates, classifiers, labelled, pairs, sequences
from elman.comparison import classify as classify_task
from elman.comparison.asked import Asked
from elman.comparison.model import Choice
from elman.comparison.tasks import given
from elman.errors import DataError
from elman.fitting import portable
from elman.forecasting import runs
from fit_cases import frame
from test_compare_classes import chains, last_sign, texts

RNG = np.random.default_rng(0)
SMALL = {"units": 4, "seeds": 2, "folds": 2}


@pytest.fixture(autouse=True)
def _short_training(monkeypatch):
    monkeypatch.setattr(classifiers, "_STEPS", 30)
    monkeypatch.setattr(classifiers, "_PATIENCE", 30)


def long_table(count=40, kind="kind"):
    """Numbers of different lengths, a row for each step; the label is the sign of the last one."""
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(length, 2)) for length in rng.integers(3, 6, count)]
    labels = ["up" if part[-1, 0] > 0 else "down" for part in parts]
    return pl.concat(
        pl.DataFrame({"who": f"s{i:02}", "a": part[:, 0], "b": part[:, 1], kind: label})
        for i, (part, label) in enumerate(zip(parts, labels, strict=True))
    )


def wide_table(count=40):
    x, y = chains(count, 8)
    return pl.DataFrame({"kind": y} | {f"t{t}": np.array(list("abc"))[x[:, t]] for t in range(8)})


def text_table(count=40):
    said, y = texts(count)
    return pl.DataFrame({"review": said, "stars": y})


DATA = {
    "numbers of groups": (long_table, {"group": "who", "label": "kind"}),
    "categories of rows": (wide_table, {"label": "kind"}),
    "texts": (text_table, {"text": "review", "label": "stars"}),
}


@pytest.fixture(scope="module", params=DATA)
def run(request, tmp_path_factory):
    make, columns = DATA[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "_STEPS", 30)
        patch.setattr(classifiers, "_PATIENCE", 30)
        return elman.fit(make(), out=tmp_path_factory.mktemp("runs") / "run", **columns | SMALL), make()


def test_a_run_holds_models_metrics_and_what_was_predicted_while_held_out(run):
    found, table = run
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "held-out.csv",
        "metrics.json",
        "model-linear.safetensors",
        "model-majority.safetensors",
        "model-network.safetensors",
        "model.safetensors",
        "run.json",
    ]
    errors = found.metrics["errors"]
    assert found.name == errors["use"] == (errors["best"] if len(errors["tied"]) == 1 else errors["use"])
    assert found.metrics["errors"]["verdict"] in str(found)
    label = found.metrics["label"]
    held_out = found.predictions
    assert held_out.height == found.metrics["table"]["sequences"]
    right = (held_out[label] == held_out["predicted"]).mean()
    score = errors["models"][found.name]
    assert right == pytest.approx(score["accuracy"])
    assert score["low"] < score["error"] < score["high"]
    assert len(errors["by_seed"]) == 2
    assert elman.ClassifierRun.load(found.folder).metrics == found.metrics
    assert set(table[label].cast(pl.String)) == set(found.classes)


@pytest.mark.parametrize("model", [None, "majority", "linear", "network"])
def test_labels_and_probabilities_of_new_data(run, model):
    found, table = run
    label = found.metrics["label"]
    predicted = elman.predict(found.folder, table.drop(label), model=model)
    assert predicted.columns == [predicted.columns[0], label, *(f"p_{each}" for each in found.classes)]
    shares = predicted.select(pl.col("^p_.*$")).to_numpy()
    assert shares.sum(1) == pytest.approx(1)
    assert predicted[label].to_list() == [found.classes[i] for i in shares.argmax(1)]
    one_by_one = elman.predict(found, table[:20] if found.task == "text" else table, model=model)
    assert (one_by_one[label] == predicted[label][: one_by_one.height]).all()


def test_the_order_and_the_company_of_sequences_change_nothing():
    """Each sequence is padded to the length of training, whatever stands next to it."""
    fold = sequences.whole(labelled.of_arrays(*last_sign(30)), 0)
    model = classifiers.recurrent("GRU")(fold, Choice(4), 0)
    network, form = portable.average(fold, [model])
    whole = fold.data.x[3][fold.data.mask[3]][None]
    known = fold.data.known
    alone = network(*portable.inputs(network, form, labelled.unlabelled_arrays(whole, known)))
    expected = model.predict(np.array([3]))
    tolerance.Grid().check("probabilities", alone, expected, expected.astype("float32"), "a sequence alone")


@pytest.mark.parametrize("kind", ["numbers", "long numbers", "categories", "texts"])
@pytest.mark.parametrize("name", ["majority", "linear", "LSTM"])
def test_what_is_saved_computes_what_was_learned(kind, name):
    data = {
        "numbers": lambda: last_sign(30),
        "long numbers": lambda: (3 + 5 * RNG.normal(size=(30, 50, 2)), np.arange(30) % 2),
        "categories": lambda: chains(30, 9),
        "texts": lambda: texts(30),
    }[kind]()
    problem = given(data, Asked(folds=2)).problem
    fold = problem.whole()
    models = [candidates.BY_NAME[name].fits[problem.task](fold, Choice(4), seed) for seed in (0, 1)]
    if name == "majority":
        network, form = portable.majority(fold)
    elif name == "linear":
        models = models[:1]
        network, form = portable.linear(fold, models[0])
    else:
        network, form = portable.average(fold, models)
    some = np.arange(30)
    expected = np.mean([model.predict(some) for model in models], axis=0)
    x, mask = portable.inputs(network, form, fold.data)
    tolerance.Grid().check("probabilities", network(x, mask), expected, expected.astype("float32"), kind)


def test_arrays_and_their_classes(tmp_path):
    x, y = chains(30, 6)
    run = elman.fit((x, y), out=tmp_path / "run", **SMALL)
    found = elman.predict(run, x)
    assert found.columns == ["row", "label", "p_0", "p_1"]
    with pytest.raises(DataError, match=r"x holds 7 in sequence 0, step 2; expected one of the categories"):
        elman.predict(run, np.where(np.arange(6) == 2, 7, x))
    with pytest.raises(DataError, match="expected integers"):
        elman.predict(run, x.astype(float))
    with pytest.raises(DataError, match="expected x alone"):
        elman.predict(run, (x, y))


def test_the_next_category_of_a_series(tmp_path):
    weather = np.array(["sun", "rain", "fog"])[np.arange(121) % 3]
    table = pl.DataFrame({"day": np.arange(121), "weather": weather})
    run = elman.fit(table[::-1], "weather", time="day", window=4, out=tmp_path / "run", **SMALL)
    assert "forecast the next 'weather', a category, from the last 4" in str(run)
    assert run.name in {"linear", "network"}
    assert (run.predictions["weather"] == run.predictions["predicted"]).mean() > 0.9
    by_task = elman.fit(table[::-1], ["weather"], time="day", window=4, task="classify", out=tmp_path / "same", **SMALL)
    assert by_task.metrics["errors"] == run.metrics["errors"]
    assert elman.fit(table, ["weather"], window=4, model="majority", out=tmp_path / "m", **SMALL).name == "majority"
    found = elman.predict(run, table[::-1])
    assert found.columns == ["row", "weather", "p_fog", "p_rain", "p_sun"]
    assert found["weather"].to_list() == ["rain"]  # after the last day, sun
    assert runs.listed([tmp_path / "run"])[0].target == "weather"
    with pytest.raises(DataError, match="has 3 rows; expected 4 or more"):
        elman.predict(run, table[:3])
    with pytest.raises(DataError, match="expected numbers to forecast"):
        elman.fit(table, "weather", task="forecast", out=tmp_path / "other")
    with pytest.raises(DataError, match="learned by elman.fit if it is the only target"):
        elman.fit(table, ["weather", "day"], out=tmp_path / "other")
    with pytest.raises(DataError, match="ahead: of a forecast alone"):
        elman.fit(table, "weather", ahead=2, out=tmp_path / "other")


def test_labels_that_look_like_numbers_stay_texts(tmp_path):
    table = wide_table().with_columns(kind=pl.when(pl.col("kind") == 1).then(pl.lit("01")).otherwise(pl.lit("1e3")))
    run = elman.fit(table, label="kind", out=tmp_path / "run", **SMALL)
    assert set(run.predictions["kind"]) == {"01", "1e3"}


def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    arguments = {"group": "who", "label": "kind"} | SMALL
    whole = elman.fit(long_table(), out=tmp_path / "whole", **arguments)
    jobs = importlib.import_module("elman.comparison.jobs")
    real, done = jobs.run, []

    def stops(*given):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(given)
        return real(*given)

    monkeypatch.setattr(jobs, "run", stops)
    with pytest.raises(KeyboardInterrupt):
        elman.fit(long_table(), out=tmp_path / "run", **arguments)
    (begun,) = runs.listed([tmp_path / "run"])
    assert (begun.state, begun.target, begun.task) == ("not finished", "kind", "classify")
    calls = []
    monkeypatch.setattr(jobs, "run", lambda *given: (calls.append(given), real(*given))[1])
    again = elman.fit(long_table(), out=tmp_path / "run", **arguments)
    assert len(calls) == 2 * 2 + 2 * 2 - 5  # of 2 folds: 2 simple models, the network with 2 seeds
    assert again.metrics["checksum"] == whole.metrics["checksum"]
    assert not (tmp_path / "run" / "outcomes").exists()
    monkeypatch.setattr(jobs, "run", stops)
    assert elman.fit(long_table(), out=tmp_path / "run", **arguments).metrics == again.metrics


def test_a_begun_run_is_removed_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("elman.fitting.classify._predictions", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        elman.fit(wide_table(), label="kind", out=tmp_path / "run", **SMALL)
    assert list((tmp_path / "run" / "outcomes").iterdir())
    assert runs.remove(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_commands(tmp_path, monkeypatch):
    monkeypatch.setattr("elman.cli.fit.keras_model", lambda: contextlib.nullcontext(lambda _: None))

    def command(*words):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        return done.stdout

    table = tmp_path / "moves.csv"
    long_table().write_csv(table)
    small = ["--units", "4", "--seeds", "1", "--folds", "2", "--out", tmp_path / "run"]
    shown = command("fit", table, "--group", "who", "--label", "kind", *small)
    assert "classify sequences, the rows of each 'who', label 'kind', 2 classes: down, up." in shown
    assert "Predictions come from the" in shown
    command("predict", tmp_path / "run", table, "--out", tmp_path / "labels.csv")
    assert pl.read_csv(tmp_path / "labels.csv").columns == ["who", "kind", "p_down", "p_up"]
    assert "% wrong" in command("runs", tmp_path / "run")
    said = json.loads(command("fit", table, "--group", "who", "--label", "kind", *small, "--json"))
    assert said["task"] == "classify"
    assert "largest error" in command("export", tmp_path / "run", tmp_path / "moves.h")


def test_a_network_of_numbers_streams(tmp_path):
    run = elman.fit(long_table(), group="who", label="kind", model="network", out=tmp_path / "run", **SMALL)
    first = long_table().filter(pl.col("who") == "s00")
    stream = elman.Stream(run)
    for row in first.select("a", "b").to_numpy().astype("float32"):
        shares = stream.step(row)
    predicted = elman.predict(run, first.drop("kind")).select("p_down", "p_up").to_numpy()[0]
    assert shares == pytest.approx(predicted, abs=1e-6)


def test_the_interval_of_no_error_has_a_width():
    assert pairs.wilson(0.0, 20) == pytest.approx((0, 0.1611), abs=1e-4)  # Brown, Cai, DasGupta 2001
    assert pairs.wilson(1.0, 20) == pytest.approx((0.8389, 1), abs=1e-4)
    assert pairs.wilson(0.25, 40) == pytest.approx((0.1419, 0.4019), abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"label": "kind", "ahead": 3, "fill": "split"}, "ahead, fill: of a forecast alone"),
        ({"label": "kind", "units": [4, 4]}, "expected one size"),
        ({"label": "kind", "model": "seasonal"}, "expected one of majority, linear, network"),
        ({"label": "king"}, "'king' is not a column of the table"),
        ({"label": "kind", "task": "text"}, "expected label and text"),
        ({"label": "kind", "task": "forecast"}, "label: of a classifier alone"),
        ({"task": "forecast", "folds": 3}, "folds: of a classifier alone"),
        ({"label": "kind", "folds": 50}, "folds is 50, and there are 40 sequences"),
        ({"task": "classify"}, "expected label"),
        ({"task": "clasify", "target": "t0"}, "task is 'clasify'; expected one of auto, forecast, classify, text"),
        ({"task": "forecast", "by": "words"}, "by: of a classifier alone"),
        ({"label": "kind", "target": "t0"}, "target: of a forecast alone"),
        ({"label": "kind", "cell": "GRUU"}, "cell is 'GRUU'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path, arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        elman.fit(wide_table(), out=tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_a_column_of_texts_is_not_one_of_categories(tmp_path):
    with pytest.raises(DataError, match=r"different texts in 40 rows; .* name the column with text"):
        elman.fit(text_table(), label="stars", out=tmp_path / "run")


def test_new_data_that_do_not_fit_are_one_sentence(tmp_path):
    run = elman.fit(wide_table(), label="kind", out=tmp_path / "run", **SMALL)
    table = wide_table()
    with pytest.raises(DataError, match=r"row 3 .*, column 't2': 'z' is none of the texts"):
        elman.predict(run, table.with_columns(t2=pl.Series(["a", "a", "a", "z", *["b"] * 36])))
    with pytest.raises(DataError, match="'t7' is not a column"):
        elman.predict(run, table.drop("t7"))
    with pytest.raises(DataError, match="every is of forecasts"):
        elman.predict(run, table, every=True)
    with pytest.raises(DataError, match="interval is of forecasts"):
        elman.predict(run, table, interval=0.9)
    with pytest.raises(DataError, match="expected one of majority, linear, network"):
        elman.predict(run, table, model="seasonal")
    with pytest.raises(DataError, match="holds a run that classifies"):
        elman.Run.load(tmp_path / "run")
    with pytest.raises(DataError, match="holds a run with another"):
        elman.fit(frame(), "temp", out=tmp_path / "run")


def test_every_block_of_the_page_runs_and_prints_what_it_shows(capsys):
    page = (Path(__file__).parents[1] / "docs" / "classify.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    exec(compile(code, "classify.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)


def test_a_fit_measures_no_errors_by_the_length_of_history(tmp_path, monkeypatch):
    monkeypatch.delattr(classify_task, "of_classify")
    assert elman.fit(wide_table(), label="kind", out=tmp_path / "run", **SMALL).task == "classify"


def test_probabilities_never_replace_another_column(tmp_path):
    table = long_table(kind="p_up").rename({"who": "p_down"})
    run = elman.fit(table, group="p_down", label="p_up", out=tmp_path / "run", **SMALL)
    found = elman.predict(run, table)
    assert found.columns == ["p_down", "p_up", "p_down_", "p_up_"]
    assert found["p_down"].to_list() == table["p_down"].unique().sort().to_list()
    assert run.predictions.columns == ["p_down", "p_up", "predicted", "p_down_", "p_up_"]
    assert set(run.predictions["p_up"]) == {"up", "down"}


def test_the_hash_of_objects_is_that_of_their_texts():
    first, second = (np.array(["".join(["a", "word"]), each], object) for each in ("same", "".join(["sa", "me"])))
    assert labelled.hash_of(first) == labelled.hash_of(second)
    assert labelled.hash_of(first) != labelled.hash_of(np.array(["aword", "other"], object))


def test_frames_and_series_are_x_and_y(tmp_path):
    x, y = RNG.normal(size=(40, 6)), np.arange(40) % 2
    pandas = pytest.importorskip("pandas")
    whole = elman.fit((x, y), out=tmp_path / "arrays", **SMALL)
    for name, kind in (("pandas", pandas), ("polars", pl)):
        run = elman.fit(
            (kind.DataFrame({f"t{i}": x[:, i] for i in range(6)}), kind.Series(y)), out=tmp_path / name, **SMALL
        )
        assert run.task == "classify"
        assert run.metrics["errors"] == whole.metrics["errors"]


def test_texts_to_predict_are_texts(tmp_path):
    said, y = texts(40)
    run = elman.fit((said, y), out=tmp_path / "run", **SMALL)
    with pytest.raises(DataError, match=r"text 1 .* is 3; expected a text"):
        elman.predict(run, ["good", 3])


def test_sequences_that_are_all_the_same_are_judged(tmp_path):
    run = elman.fit((np.zeros((40, 5, 2)), np.arange(40) % 2), out=tmp_path / "run", **SMALL)
    assert run.name == "majority"
    assert run.metrics["horizon"] is None


@pytest.mark.filterwarnings("error")
def test_a_class_that_is_new_at_the_end_has_a_finite_model(tmp_path):
    table = pl.DataFrame({"sky": ["sun", "rain"] * 48 + ["fog"] * 4})
    run = elman.fit(table, target="sky", out=tmp_path / "run", **SMALL)
    assert np.isfinite(run.models["majority"].flat).all()
    assert elman.predict(run, table, model="majority")["p_fog"][0] < 1e-30


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ((np.zeros((4, 3, 1)), ["a", None, "b", "b"]), r"label of sequence 1 .* is empty"),
        ((np.zeros((4, 3, 1)), [0.0, 1.0, float("nan"), 1.0]), r"label of sequence 2 .* is empty"),
        ((np.zeros((4, 3, 1)), [0, 1, 0, 1], [1, 2]), "4 sequences and 2 groups"),
        ((["a b c", None, "d e f", "g h i"], [0, 1, 0, 1]), r"text 1 .* is None; expected a text"),
    ],
)
def test_arrays_that_do_not_fit_are_one_sentence(tmp_path, data, sentence):
    with pytest.raises(DataError, match=sentence):
        elman.fit(data, out=tmp_path / "run", **SMALL)


def test_labels_that_change_in_a_group_are_shown_as_texts(tmp_path):
    table = pl.DataFrame({"who": ["a"] * 2 + ["b"] * 2, "v": [1.0] * 4, "kind": ["x", "y", "x", "x"]})
    with pytest.raises(DataError, match=r"'kind': 'y', and group 'a' began with 'x'"):
        elman.fit(table, group="who", label="kind", out=tmp_path / "run")


def test_new_arrays_have_the_features_of_the_run(tmp_path):
    run = elman.fit((RNG.normal(size=(40, 5, 2)), np.arange(40) % 2), out=tmp_path / "run", **SMALL)
    with pytest.raises(DataError, match="x has 3 features; expected 2"):
        elman.predict(run, np.zeros((2, 5, 3)))


def test_nan_in_a_table_is_no_class(tmp_path):
    table = wide_table().with_columns(pl.Series("kind", [0.0, 1.0, float("nan"), 1.0] * 10))
    with pytest.raises(DataError, match="column 'kind' is empty; expected a value"):
        elman.fit(table, label="kind", out=tmp_path / "run", **SMALL)
