# SPDX-License-Identifier: Apache-2.0
"""What a diagnosis shows, of reports as plain data: sentences, pictures, the page, the comparison."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import size
from diagnosis_cases import LSTM, ODD, layer, report
from elman import charts
from elman.diagnosis import pictures
from elman.diagnosis.report import COLUMNS, Report
from elman.errors import DataError
from html_pages import Page


@pytest.fixture(params=ODD, ids=list(ODD))
def odd(request: pytest.FixtureRequest) -> Report:
    return ODD[request.param]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the usual report."""
    path = tmp_path_factory.mktemp("usual") / "page.html"
    return report().to_html(path, source="my-run on walk").read_text(encoding="utf-8")


# --- pictures --------------------------------------------------------------------------------------------------------


def test_every_report_can_be_drawn(odd: Report) -> None:
    figure = odd.plot()
    if size.SIZE == "large" or odd is ODD["two layers"]:  # the page of each report has its panels drawn, one by one
        figure.draw_without_rendering()
    assert isinstance(figure, Figure)
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_title(loc="left")
    assert len(figure.axes) == len(pictures.panels(odd))


def test_a_picture_that_would_be_empty_is_left_out() -> None:
    titles = [panel.title for panel in pictures.panels(ODD["no state"])]
    assert titles == ["Loss (mean_squared_error)", "Reach of a gradient", "Forgetting of the initial state"]
    assert pictures.panels(ODD["diverged"]) == []
    assert len(pictures.panels(ODD["usual"])) == 5


def test_a_bar_for_each_value_makes_the_height_of_the_picture() -> None:
    one, six = (pictures.panels(ODD[name])[-1] for name in ("usual", "two layers"))
    assert one.title == six.title == "Saturated values"
    assert one.height < 1.2 < six.height
    assert tuple(charts.figure_of(one).get_size_inches()) == (4.6, one.height)


def test_captions_say_what_is_to_be_seen() -> None:
    captions = {panel.title.partition(" (")[0]: panel.caption for panel in pictures.panels(ODD["two layers"])}
    assert captions == {
        "Change of the last output": (
            "If the last 5 of 12 steps are kept, or more, the last output changes by at most 5 %."
        ),
        "Loss": "With no state the loss is 1; with nothing forgotten it is 0.15.",
        "Reach of a gradient": (
            "In layer 'a', 0.086 of it arrives 11 steps back. In layer 'b', 0.086 of it arrives 11 steps back."
        ),
        "Forgetting of the initial state": (
            "In layer 'a', 0.086 of a difference at the start is left after 12 steps. "
            "In layer 'b', 0.086 of a difference at the start is left after 12 steps."
        ),
        "Saturated values": "The largest share is 50 %, of b: i.",
    }
    below = pictures.panels(ODD["zeros"])[2]
    assert below.caption == "In layer 'rnn' it falls below 1 % 1 step back."
    assert "more than 5 %, however many" in pictures.panels(ODD["never settles"])[0].caption


def test_curves_are_told_apart_without_colour() -> None:
    (axes,) = [axes for axes in ODD["two layers"].plot().axes if axes.get_title(loc="left").startswith("Reach")]
    assert len({line.get_linestyle() for line in axes.lines}) == len(axes.lines) == 2


# --- the page --------------------------------------------------------------------------------------------------------


def test_a_page_needs_nothing_else(odd: Report, tmp_path: Path) -> None:
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
    assert charts.INK not in text  # ink is the page's own colour
    for sentence in (odd.because, *(each.text for each in odd.advice), *odd.notes, *COLUMNS):
        assert sentence.replace("'", "&#x27;") in text


@pytest.mark.slow
def test_names_are_texts_and_not_markup(tmp_path: Path) -> None:
    found = report({"<b>rnn</b>": layer()}, model="<i>walk</i>", because="1 < 2 & 3")
    for number, shown in enumerate((found, found.compare(found))):
        text = shown.to_html(tmp_path / f"{number}.html", source="<u>file").read_text(encoding="utf-8")
        assert not re.search("<b>rnn|<i>walk|<u>file", text)
        Page(text)
        assert "1 &lt; 2 &amp; 3" in text


@pytest.mark.medium
def test_a_name_with_dollar_signs_is_not_a_formula(tmp_path: Path) -> None:
    found = report({"a$_$b": layer(saturation={"$_$": 0.5}, dead=0.5)}, model="$_$", loss_name="$_$")
    for number, shown in enumerate((found, found.compare(found))):
        text = shown.to_html(tmp_path / f"{number}.html").read_text(encoding="utf-8")
        assert "a$_$b" in text
        assert r"\$" not in text
        shown.plot()


def test_the_title_names_model_source_date_and_version(usual: str, tmp_path: Path) -> None:
    assert "<title>What walk remembers: my-run on walk, measured on 2026-02-03, elman 1.2.3</title>" in usual
    assert "<h1>What walk remembers</h1>" in usual
    assert '<p class="about">my-run on walk, measured on 2026-02-03, elman 1.2.3.</p>' in usual
    both = ODD["diverged"].compare(dataclasses.replace(ODD["diverged"], model="other"))
    text = both.to_html(tmp_path / "both.html").read_text(encoding="utf-8")
    assert "<title>What walk and other remember, before and after: measured on 2026-02-03, elman 1.2.3</title>" in text


def test_a_wide_screen_has_two_charts_a_row_and_a_phone_is_told_that_the_table_scrolls(usual: str) -> None:
    assert re.search(r"\.charts { display: grid; .*minmax\(min\(100%, 26rem\)", usual)
    assert re.search(r"@media \(max-width: 40rem\) { \.hint { display: block; } }", usual)
    assert re.search(r'<p class="hint">Scroll the table sideways[^<]*</p>\s*<div class="wide" role="region"', usual)


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        ODD["diverged"].to_html(tmp_path / "nowhere" / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_shows_it() -> None:
    shown = ODD["no state"]._repr_html_()
    assert "<svg" in shown
    assert "<!doctype" not in shown


def test_a_report_is_json_and_sentences(odd: Report) -> None:
    found = json.loads(json.dumps(odd.to_dict(), allow_nan=False))
    assert set(found) == {field.name for field in dataclasses.fields(odd)} - {"advise"} | {"advice"}
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


def test_advice_is_found_once_and_only_if_it_is_asked_for() -> None:
    calls = []
    found = report(advise=lambda: calls.append(1) or [])
    found.rows()
    found.plot()
    assert not calls
    assert found.advice == found.advice == []
    assert calls == [1]


def test_a_report_can_be_copied_and_pickled_with_its_advice() -> None:
    found = report()
    for again in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert again == found
        assert again.to_dict() == found.to_dict()
        assert again.advice == found.advice != []


# --- two reports -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_reports_side_by_side(tmp_path: Path) -> None:
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


@pytest.mark.medium
@pytest.mark.parametrize("name", ["two layers", "diverged"])
def test_any_two_reports_can_be_compared(name: str, tmp_path: Path) -> None:
    for both in (ODD[name].compare(report()), report().compare(ODD[name])):
        both.plot().draw_without_rendering()
        Page(both.to_html(tmp_path / "page.html").read_text(encoding="utf-8"))
        assert str(both)


def test_captions_of_two_reports_say_what_changed() -> None:
    captions = [panel.caption for panel in pictures.panels_of_two(ODD["usual"], ODD["two layers"])]
    assert captions == [
        "Before: the output uses 5 of 12 steps. After: the output uses 5 of 12 steps.",
        "Before: it halves every 3.1 steps. After: it does not shrink.",
    ]
    captions = [panel.caption for panel in pictures.panels_of_two(ODD["diverged"], ODD["usual"])]
    assert captions == [
        "Before: NaN or infinities. After: the output uses 5 of 12 steps.",
        "Before: none was measured. After: it halves every 3.1 steps.",
    ]
    assert pictures.panels_of_two(ODD["diverged"], ODD["diverged"]) == []
