# SPDX-License-Identifier: Apache-2.0
"""What a diagnosis shows: pictures, the page, the comparison, and `elman diagnose`."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

import elman
from elman.cli.app import app
from elman.diagnosis import page, pictures
from elman.diagnosis.layer import Advice, Layer
from elman.diagnosis.report import COLUMNS
from fit_cases import csv_file

NAN = float("nan")


def layer(**changed: Any) -> Layer:
    lags = list(range(12))
    curve = [0.8**lag for lag in lags]
    own: dict[str, Any] = {
        "kind": "SimpleRNN",
        "units": 8,
        "lags": lags,
        "reach": curve,
        "reach_low": [0.5 * value for value in curve],
        "reach_high": [2 * value for value in curve],
        "lyapunov": -0.22,
        "lyapunov_error": 0.01,
        "half_life": 3.1,
        "forgetting": curve,
        "saturation": {"h": 0.25},
        "dead": 0.0,
        "first_nonfinite": None,
    }
    return Layer(**(own | changed))


def report(layers: dict[str, Layer] | None = None, **changed: Any) -> elman.Report:
    own: dict[str, Any] = {
        "model": "walk",
        "examples": 64,
        "of": 300,
        "steps": 12,
        "horizon": 5,
        "horizon_low": 5,
        "horizon_high": 6,
        "lags": list(range(13)),
        "deviation": [1.0, 0.7, 0.4, 0.2, 0.06, *[0.01] * 8],
        "loss": [1.0, 0.8, 0.5, 0.3, 0.2, *[0.15] * 8],
        "full_loss": 0.15,
        "loss_name": "mean_squared_error",
        "need": 4,
        "layers": layers or {"rnn": layer()},
        "verdict": "healthy",
        "because": "The output uses 5 of 12 steps.",
        "advice": [Advice("units", 32, "Set units=32 on layer 'rnn'.")],
        "notes": ["A note."],
    }
    return elman.Report(**(own | changed))


LSTM = layer(kind="LSTM", saturation=dict.fromkeys("ifgoh", 0.5), half_life=math.inf, lyapunov=0.1)
ODD = {
    "usual": report(),
    "without targets": report(loss=None, full_loss=None, loss_name=None, need=None, advice=[], notes=[]),
    "two layers": report({"a": layer(), "b": LSTM}),
    "zeros": report({"rnn": layer(reach=[1.0, *[0.0] * 11], lyapunov=-math.inf, half_life=0.0)}),
    "diverged": report(
        {"rnn": layer(lags=[], reach=[], reach_low=[], reach_high=[], forgetting=[], lyapunov=NAN, half_life=NAN)},
        horizon=None,
        horizon_low=None,
        horizon_high=None,
        lags=[],
        deviation=[],
        loss=None,
        full_loss=None,
    ),
    "two steps": report({"rnn": layer(lags=[0, 1], reach=[1.0, 0.5], reach_low=[1, 0.4], reach_high=[1, 0.6])}),
    "dead": report({"rnn": layer(dead=0.5, saturation={"h": 1.0})}),
}


@pytest.fixture(params=ODD, ids=list(ODD))
def odd(request: pytest.FixtureRequest) -> elman.Report:
    return ODD[request.param]


# --- pictures --------------------------------------------------------------------------------------------------------


def test_every_report_can_be_drawn(odd: elman.Report) -> None:
    figure = odd.plot()
    figure.draw_without_rendering()
    assert isinstance(figure, Figure)
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_title(loc="left")
    assert len(figure.axes) == len(pictures.panels(odd)) >= 3


def test_curves_are_told_apart_without_colour() -> None:
    (axes,) = [axes for axes in ODD["two layers"].plot().axes if axes.get_title(loc="left").startswith("Reach")]
    assert len({line.get_linestyle() for line in axes.lines}) == len(axes.lines) == 2


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


# --- the page --------------------------------------------------------------------------------------------------------

VOID = {"meta", "path", "use", "br", "link", "rect", "image"}


class Page(HTMLParser):
    """Reads a page, and fails where an element is not closed, or an id is there twice."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [str(value) for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [str(value) for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_a_page_needs_nothing_else(odd: elman.Report, tmp_path: Path) -> None:
    path = odd.to_html(tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    read = Page(text)
    tags = [tag for tag, _ in read.tags]
    assert not {"script", "link", "iframe", "img"} & set(tags)
    for _, attributes in read.tags:
        for name in ("src", "href", "xlink:href"):
            assert str(attributes.get(name) or "#").startswith("#")
    assert "url(http" not in text
    assert "@import" not in text
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in read.tags
    assert "prefers-color-scheme: dark" in text
    assert tags.count("svg") == len(pictures.panels(odd))
    assert all(attributes["aria-label"] for tag, attributes in read.tags if tag == "svg")
    assert pictures.INK not in text  # ink is the page's own colour
    for sentence in (odd.because, *(each.text for each in odd.advice), *odd.notes, *COLUMNS):
        assert sentence.replace("'", "&#x27;") in text


def test_names_are_texts_and_no_markup() -> None:
    found = report({"<b>rnn</b>": layer()}, model="<i>walk</i>", because="1 < 2 & 3")
    for text in (page.html_of(found), page.html_of(found.compare(found))):
        assert "<b>rnn" not in text
        assert "<i>walk" not in text
        Page(text)
    assert "1 &lt; 2 &amp; 3" in page.html_of(found)


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(elman.DataError, match="cannot be written"):
        report().to_html(tmp_path / "nowhere" / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_shows_it() -> None:
    assert "<svg" in report()._repr_html_()
    assert "<!doctype" not in report()._repr_html_()


def test_a_report_is_json_and_sentences(odd: elman.Report) -> None:
    found = json.loads(json.dumps(odd.to_dict(), allow_nan=False))
    assert set(found) == {field.name for field in dataclasses.fields(odd)}
    assert set(found["layers"]["rnn" if "rnn" in odd.layers else "a"]) >= {
        "lags",
        "reach",
        "reach_low",
        "reach_high",
        "lyapunov",
        "half_life",
        "saturation",
        "first_nonfinite",
    }
    lines = str(odd).splitlines()
    assert any(line.startswith(f"Verdict: {odd.verdict}.") for line in lines)
    assert len(odd.rows()) == len(odd.layers)
    assert all(len(row) == len(COLUMNS) for row in odd.rows())


# --- two reports -----------------------------------------------------------------------------------------------------


def test_two_reports_beside_each_other(tmp_path: Path) -> None:
    after = report({"lstm": LSTM, "same": layer()}, horizon=9, verdict="vanishing", full_loss=0.05)
    both = report({"rnn": layer(), "same": layer()}).compare(after)
    rows = {name: (before, now) for name, before, now in both.rows()}
    assert rows["verdict"] == ("healthy", "vanishing")
    assert rows["horizon"] == ("5 of 12 steps", "9 of 12 steps")
    assert rows["loss"] == ("0.15", "0.05")
    assert rows["rnn → lstm: saturated"] == ("25 %", "50 %")
    assert rows["same: half-life"] == ("3.1 steps", "3.1 steps")
    assert both.to_dict() == {"before": both.before.to_dict(), "after": after.to_dict()}
    both.plot().savefig(tmp_path / "both.png")
    Page(both.to_html(tmp_path / "both.html").read_text(encoding="utf-8"))
    assert "<svg" in both._repr_html_()


@pytest.mark.parametrize("name", ["two layers", "diverged"])
def test_any_two_reports_can_be_compared(name: str) -> None:
    for both in (ODD[name].compare(report()), report().compare(ODD[name])):
        both.plot().draw_without_rendering()
        Page(page.html_of(both))
        assert str(both)


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


def test_the_command_prints_the_report_and_writes_the_page(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    done = command(folder / "one.keras", folder / "data.npz")
    assert done.exit_code == 0, done.output
    assert "The last output stays within 5 % if only the last" in done.output
    assert re.search(r"^Verdict: \w+", done.output, re.MULTILINE)
    assert "simple_rnn" in done.output
    assert "The page is one-memory.html." in done.output
    Page((tmp_path / "one-memory.html").read_text(encoding="utf-8"))


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
        (("data.npz", "data.npz"), "is no .keras file"),
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


def test_a_run_of_fit_is_diagnosed_on_a_table(tmp_path: Path) -> None:
    table = csv_file(tmp_path)
    run = elman.fit(table, target="temp", window=8, units=4, epochs=1, out=tmp_path / "run")
    done = command(run.folder, table, "--out", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    assert "of 8 steps" in done.output
    memory = run.metrics["memory"]
    assert set(memory) == {"horizon", "verdict", "because"}
    assert 0 <= memory["horizon"] <= 9
