# SPDX-License-Identifier: Apache-2.0
"""elman.compare on sequences and texts with labels: every form of data, grouped and stratified folds, Markov chains."""

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import elman
from elman.cli.app import app
from elman.comparison import candidates, labelled, pairs, sequences, text
from elman.comparison.asked import Asked
from elman.comparison.model import Choice, Unfit
from elman.comparison.tasks import given
from elman.errors import DataError
from elman.forecasting.source import open_table

RNG = np.random.default_rng(0)
QUICK = ["majority", "linear", "markov"]


def chains(count=120, steps=25, seed=0):
    """Categories of two Markov chains of order 1, and which of them each sequence is from."""
    rng = np.random.default_rng(seed)
    tables = np.array(
        [[[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]], [[0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]]]
    )
    y = np.arange(count) % 2
    x = np.zeros((count, steps), int)
    for t in range(1, steps):
        shares = tables[y, x[:, t - 1]].cumsum(1)
        x[:, t] = (rng.random(count)[:, None] > shares).sum(1)
    return x, y


def last_sign(count=120, steps=5):
    """Numbers, and whether the last one is positive; the lengths differ."""
    parts = [RNG.normal(size=(length, 2)) for length in RNG.integers(3, steps + 1, count)]
    return parts, np.array(["up" if part[-1, 0] > 0 else "down" for part in parts])


@pytest.mark.medium
def test_a_markov_chain_is_enough_for_categories_of_one(tmp_path):
    found = elman.compare(chains(), only=[*QUICK, "SimpleRNN"], trials=1, folds=2, out=tmp_path / "run")
    assert found.task == "classify"
    assert found.recommended == "markov"
    assert "no recurrent network" in found.reason
    row = found.rows[0]
    assert row["accuracy"] == 1 - row["error"]
    assert row["low"] <= row["error"] <= row["high"]


@pytest.mark.parametrize("order", [1, 2])
def test_a_markov_chain_predicts_the_next_category(order):
    """y is the category that follows: by the last one, or by the last but one."""
    x = RNG.integers(0, 4, size=(400, 6))
    y = (x[:, -order] + 1) % 4
    fold = sequences.stratified(labelled.of_arrays(x, y), 4, 0)[0]
    model = candidates.BY_NAME["markov"].fits["classify"](fold, Choice(), 0)
    assert (model.predict(fold.test).argmax(1) == fold.truth()).all()
    assert model.about["way"] == "the last categories"
    assert model.about["order"] == order


@pytest.mark.slow
def test_the_next_category_of_a_series_is_forecast(tmp_path):
    x, _ = chains(2, 400)
    table = pl.DataFrame({"day": np.arange(400), "weather": np.array(["sun", "rain", "fog"])[x[0]]})
    found = elman.compare(table, "weather", only=QUICK, out=tmp_path / "run")
    assert found.task == "classify"
    assert found.recommended in {"markov", "linear"}
    assert {row["name"]: row["accuracy"] for row in found.rows}["markov"] == pytest.approx(0.8, abs=0.1)
    for fold in given(table, Asked(target="weather")).problem.folds:
        assert fold.train.max() < fold.validation.min() <= fold.validation.max() < fold.test.min()


def test_rows_are_in_order_of_time_however_times_are_written():
    days = np.datetime64("2024-01-20") + np.arange(40)
    written = [f"{day.item():%d.%m.%Y}" for day in days]  # as text the 1st of February comes before the 20th of January
    symbols = np.array(list("abcd"))[np.arange(40) % 4]
    table = pl.DataFrame({"day": written, "symbol": symbols})
    found = labelled.of_symbols(open_table(table[::-1]), "symbol", "day", 4)
    assert (found.y == np.arange(36) % 4).all()
    long = pl.concat([table.with_columns(who=pl.lit(who), kind=pl.lit(kind)) for who, kind in ("ax", "bx", "cy", "dy")])
    by_group = labelled.of_table(open_table(long[::-1]), "kind", "who", "day", ["symbol"])
    assert (by_group.codes == np.arange(40) % 4 + 1).all()
    with pytest.raises(DataError, match=r"row 39 .*, column 'day' .the time.: 'soon' is not a time like"):
        labelled.of_symbols(open_table(table.with_columns(day=pl.Series([*written[:39], "soon"]))), "symbol", "day", 4)


@pytest.mark.medium
def test_numbers_of_different_lengths_are_masked(tmp_path):
    x, y = last_sign()
    found = elman.compare((x, y), only=["majority", "linear", "GRU"], trials=1, folds=2, out=tmp_path / "run")
    assert found.recommended == "linear"
    assert {row["name"]: row["accuracy"] for row in found.rows}["GRU"] > 0.8
    data = labelled.of_arrays(x, y)
    assert (data.mask.sum(1) == [len(part) for part in x]).all()
    assert (data.x[:, -1] == np.float32([part[-1] for part in x])).all()
    with pytest.raises(Unfit, match="needs categories"):
        candidates.BY_NAME["markov"].fits["classify"](sequences.stratified(data, 3, 0)[0], Choice(), 0)


@pytest.fixture(scope="module")
def tables():
    """The same sequences as arrays, as a table with a row for each step, and as one with a row for each sequence."""
    x, y = chains(40, 6)
    letters = np.array(list("abc"))[x]
    long = pl.DataFrame(
        {
            "step": np.tile(np.arange(6), 40)[::-1],
            "who": np.repeat(np.arange(40), 6)[::-1],
            "symbol": letters.ravel()[::-1],
            "kind": np.repeat(y, 6)[::-1],
        }
    )
    wide = pl.DataFrame({"kind": y} | {f"t{t}": letters[:, t] for t in range(6)})
    return (x, y), long, wide


def test_every_form_of_data_holds_the_same_sequences(tables):
    arrays, long, wide = tables
    expected = labelled.of_arrays(*arrays)
    by_row = labelled.of_table(open_table(wide), "kind", None, None, None)
    by_group = labelled.of_table(open_table(long), "kind", "who", "step", None)
    names = np.unique(np.arange(40).astype(str)).astype(int)  # groups are in the order of their names
    for found, order in ((by_row, np.arange(40)), (by_group, names)):
        assert (found.codes == expected.codes[order]).all()
        assert (found.y == expected.y[order]).all()
        assert found.classes == ["0", "1"]


def test_folds_hold_each_class_alike_and_part_no_group():
    x, y, people = RNG.normal(size=(90, 4, 1)), np.tile([0, 1, 1], 30), np.repeat(np.arange(30), 3)
    y = np.repeat(np.arange(30) % 3 == 0, 3).astype(int)
    folds = sequences.stratified(labelled.of_arrays(x, y, people), 5, 0)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(90))
    for fold in folds:
        parts = [set(people[part]) for part in (fold.train, fold.validation, fold.test)]
        assert not (parts[0] & parts[1])
        assert not (parts[0] & parts[2])
        assert not (parts[1] & parts[2])
        assert y[fold.test].mean() == pytest.approx(1 / 3, abs=0.01)


def test_scales_are_those_of_the_training_part():
    x, y = RNG.normal(size=(60, 4, 1)), np.arange(60) % 2
    fold = sequences.stratified(labelled.of_arrays(x, y), 3, 0)[0]
    changed = x.copy()
    changed[fold.test] *= 1000
    again = sequences.stratified(labelled.of_arrays(changed, y), 3, 0)[0]
    for name in ("linear", "feedforward"):
        fit = candidates.BY_NAME[name].fits["classify"]
        first, second = (fit(each, Choice(), 0).predict(fold.train) for each in (fold, again))
        assert (first == second).all()


def texts(count=80):
    rng = np.random.default_rng(1)
    plain = np.array(["the", "film", "plot", "was", "very", "a"])
    y = np.arange(count) % 2
    words = [["awful", "great"][label] for label in y]
    return [" ".join([*rng.choice(plain, 4), word, *rng.choice(plain, 3)]) for word in words], y


@pytest.mark.medium
def test_a_bag_of_words_is_enough_where_one_word_tells(tmp_path):
    path = tmp_path / "reviews.csv"
    said, y = texts()
    pl.DataFrame({"review": said, "stars": y}).write_csv(path)
    arguments = ["compare", str(path), "--text", "review", "--label", "stars", "--folds", "3", "--trials", "1"]
    done = CliRunner().invoke(app, [*arguments, "--only", "majority,linear,markov", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0
    assert "* linear" in done.stdout
    assert "by words" in done.stdout


def test_the_vocabulary_is_that_of_the_training_part():
    said, y = texts()
    fold = given((said, y), Asked(folds=3)).problem.folds[0]
    said = [f"{each} unseen{i}" if i in fold.test else each for i, each in enumerate(said)]
    again = given((said, y), Asked(folds=3)).problem.folds[0]
    assert again.data.symbols == fold.data.symbols
    assert (again.data.codes[again.test, -1] == 1).all()  # unknown
    assert (text.bag(fold, Choice(), 0).predict(fold.train) == text.bag(again, Choice(), 0).predict(fold.train)).all()


def test_characters_are_read_where_texts_are_one_word():
    problem = given((["abab", "baba", "abba", "aabb"] * 5, [0, 1, 0, 1] * 5), Asked(folds=2)).problem
    assert "by characters" in problem.about[1]
    assert problem.folds[0].data.steps == 4


def test_the_paired_bootstrap_errs_as_often_as_it_says():
    rng = np.random.default_rng(0)
    first, second = (rng.random((150, 200)) < 0.3 for _ in range(2))
    wrong = sum(pairs.paired_bootstrap(a, b, np.arange(200), 0.9) for a, b in zip(first, second, strict=True))
    assert wrong / 150 == pytest.approx(0.1, abs=0.06)
    assert pairs.paired_bootstrap(first[0] | (rng.random(200) < 0.5), first[0], np.arange(200), 0.99)
    assert not pairs.paired_bootstrap(first[0], first[0], np.arange(200), 0.9)


@pytest.mark.parametrize(
    ("data", "arguments", "sentence"),
    [
        (chains(20)[:1], {}, "expected .x, y."),
        ((np.zeros((6, 3, 1)), np.arange(6)), {}, "expected a few classes"),
        ((np.zeros((6, 3, 1)), [0, 1]), {}, "one for each"),
        ((np.full((6, 3, 1), np.nan), [0, 1] * 3), {}, "expected finite numbers"),
        ((np.zeros((6, 3, 1)), [0.5, 1] * 3), {}, "fractions"),
        ((["a b c", ""], [0, 1]), {}, "few classes|is empty"),
        (pl.DataFrame({"a": [1.0] * 8, "k": [0, 1] * 4}), {"label": "q"}, "not a column"),
        (
            pl.DataFrame({"a": [1.0] * 8, "k": [0, 1] * 4, "g": [0, 0, 1, 1] * 2}),
            {"label": "k", "group": "g"},
            "one label",
        ),
        (pl.DataFrame({"a": [1.0, None] * 4, "k": [0, 1] * 4}), {"label": "k"}, "row 1 .*'a' is empty"),
        (pl.DataFrame({"a": ["1", "x"] * 4, "k": [0, 1] * 4}), {"label": "k"}, "'x' is not a number"),
        (
            pl.DataFrame({"a": [1.0, 1e300] * 4, "k": [0, 1] * 4}),
            {"label": "k"},
            "row 1 .*'a': 1e.300 is beyond float32",
        ),
        ((np.full((6, 3, 1), 1e300), [0, 1] * 3), {}, r"x holds 1e\+300 .* of float32"),
        (pl.DataFrame({"a": ["1.002", "3"] * 4, "b": 8 * [1.0], "k": [0, 1] * 4}), {"label": "k"}, "thousands"),
        (pl.DataFrame({"a": [1.0] * 8, "k": [0, 1] * 4}), {"task": "text"}, "expected label and text"),
    ],
)
def test_data_that_do_not_fit_are_one_sentence(tmp_path, data, arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        elman.compare(data, out=tmp_path / "run", folds=2, **arguments)
    assert not (tmp_path / "run").exists()
