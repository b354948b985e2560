# SPDX-License-Identifier: Apache-2.0
"""`elman diagnose` on files, and the picture of a trace."""

from __future__ import annotations

import datetime
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import elman
from elman.cli.app import app
from html_pages import Page

pytestmark = pytest.mark.shared


@pytest.mark.slow
def test_a_trace_can_be_drawn(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((9, 2)), keras.layers.Masking(), elman.LSTM(3, name="cell")])
    x = np.random.default_rng(0).normal(size=(3, 9, 2))
    x[1, 6:] = 0
    found = elman.trace(model, x)
    figure = found.plot(example=1)
    figure.savefig(tmp_path / "trace.png")
    drawn = np.ma.filled(figure.axes[1].images[0].get_array(), np.nan)
    assert drawn.shape == (3, 9)
    assert np.isnan(drawn[:, 6:]).all()
    np.testing.assert_allclose(drawn[:, :6], found.layers["cell"].states["h"][1, :6].T)
    with pytest.raises(IndexError, match="example is 3; expected 0 to 2"):
        found.plot(example=3)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models and data."""
    here = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 12, 2)).astype("float32")
    for name, kind in (("one", elman.SimpleRNN), ("two", keras.layers.LSTM)):
        model = keras.Sequential([keras.Input((12, 2)), kind(4), keras.layers.Dense(1)], name=name)
        model.compile(loss="mse")
        model.train_on_batch(x, x[:, -3, :1])
        model.save(here / f"{name}.keras")
    keras.Sequential([keras.Input((12, 2)), keras.layers.Flatten()]).save(here / "none.keras")
    np.savez(here / "data.npz", x=x, y=x[:, -3, :1])
    np.save(here / "x.npy", x)
    np.savez(here / "other.npz", a=x)
    np.save(here / "wide.npy", np.zeros((40, 12, 5)))
    np.save(here / "text.npy", np.full((40, 12, 2), "word"))
    np.save(here / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (here / "cut.npz").write_bytes((here / "data.npz").read_bytes()[:500])
    (here / "cut.keras").write_bytes((here / "one.keras").read_bytes()[:500])
    return here


def command(*words: Any) -> Any:
    return CliRunner().invoke(app, ["diagnose", *map(str, words)])


@pytest.mark.medium
def test_the_command_prints_the_report_and_writes_the_page(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    done = command(folder / "one.keras", folder / "data.npz")
    assert done.exit_code == 0, done.output
    assert "The last output stays within 5 % if only the last" in done.output
    assert re.search(r"^Verdict: \w+", done.output, re.MULTILINE)
    assert "simple_rnn" in done.output
    assert "The page is one-memory.html." in done.output
    text = (tmp_path / "one-memory.html").read_text(encoding="utf-8")
    Page(text)
    assert f"one.keras on data.npz, measured on {datetime.date.today()}, elman {elman.__version__}" in text


@pytest.mark.medium
def test_a_model_that_was_saved_under_another_backend_is_read_with_its_loss(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.keras"
    with zipfile.ZipFile(folder / "one.keras") as old, zipfile.ZipFile(other, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == "config.json":
                config = json.loads(content)
                config["compile_config"]["optimizer"]["module"] = "keras.src.backend.none.optimizers"
                config["compile_config"]["loss"] = "mean_absolute_error"
                content = json.dumps(config).encode()
            new.writestr(entry, content)
    done = command(other, folder / "data.npz", "--out", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    assert "The loss (mean_absolute_error) is" in done.output


@pytest.mark.medium
@pytest.mark.once
@pytest.mark.parametrize(("loss", "name"), [("mse", "mean_squared_error"), (keras.losses.LogCosh(), "log_cosh")])
def test_loss_and_learning_rate_of_a_file_are_those_of_the_compiled_model(
    folder: Path, tmp_path: Path, loss: Any, name: str
) -> None:
    model = keras.models.load_model(folder / "one.keras")
    model.compile(loss=loss, optimizer=keras.optimizers.Adam(0.125))
    model.save(tmp_path / "own.keras")
    data = np.load(folder / "data.npz")
    expected = elman.diagnose(model, data["x"], data["y"])
    words = (tmp_path / "own.keras", folder / "data.npz", "--out", tmp_path / "page.html", "--json")
    found = json.loads(command(*words).output)
    assert name in found["loss_name"]
    assert found["full_loss"] == pytest.approx(expected.full_loss)
    assert [each["argument"] for each in found["advice"]] == [each.argument for each in expected.advice]


@pytest.mark.slow
@pytest.mark.once
def test_a_loss_that_is_not_known_is_refused_where_it_is_needed(folder: Path, tmp_path: Path) -> None:
    def own(y: Any, predicted: Any) -> Any:
        return keras.ops.mean(keras.ops.abs(y - predicted))

    model = keras.models.load_model(folder / "one.keras")
    model.compile(loss=own)
    model.save(tmp_path / "own.keras")
    done = command(tmp_path / "own.keras", folder / "data.npz", "--out", tmp_path / "page.html")
    assert done.exit_code == 2
    assert "was compiled with a loss that is not known here" in done.output
    assert command(tmp_path / "own.keras", folder / "x.npy", "--out", tmp_path / "page.html").exit_code == 0


@pytest.mark.slow
@pytest.mark.once
def test_the_command_compares_and_prints_json(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    words = (folder / "one.keras", folder / "x.npy", "--against", folder / "two.keras", "--out", out)
    done = command(*words)
    assert done.exit_code == 0, done.output
    assert "Before: " in done.output
    assert "→" in done.output
    found = json.loads(command(*words, "--json").output)
    assert found["page"] == str(out)
    assert set(found) == {"page", "before", "after"}
    alone = json.loads(command(folder / "one.keras", folder / "x.npy", "--out", out, "--json").output)
    assert alone["horizon"] == found["before"]["horizon"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("none.keras", "data.npz"), "has no recurrent layer"),
        (("missing.keras", "data.npz"), "does not exist"),
        (("data.npz", "data.npz"), "is not a .keras file"),
        (("cut.keras", "data.npz"), "cannot be read as a .keras file"),
        (("one.keras", "missing.npz"), "cannot be read"),
        (("one.keras", "other.npz"), "has the arrays 'a'; expected 'x'"),
        (("one.keras", "wide.npy"), r"x has shape \(40, 12, 5\)"),
        (("one.keras", "text.npy"), "expected an array of numbers"),
        (("one.keras", "objects.npy"), "cannot be read"),
        (("one.keras", "cut.npz"), "cannot be read"),
        (("one.keras", "table.csv"), "expected DATA to be a .npz file"),
        (("one.keras",), "takes either DATA"),
        (("one.keras", "data.npz", "--layer", "gru"), "layer is 'gru'; expected one of"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(
    folder: Path, tmp_path: Path, monkeypatch: Any, words: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command(*(folder / word if "." in word else word for word in words))
    assert done.exit_code == 2, done.output
    assert re.search(sentence, done.output)
    assert len(done.output.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
