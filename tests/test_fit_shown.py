# SPDX-License-Identifier: Apache-2.0
"""What elman.fit shows while it works, and what happens where it cannot draw."""

import re
import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import elman
from elman import progress
from elman.forecasting import pictures
from elman.progress import Stage
from fit_cases import FINAL, ONCE, SMALL, frame, names


def stages_of(tmp_path, **options):
    """The stages that a run shows."""
    seen = []

    @contextmanager
    def kept(title, verbose):
        yield seen.append

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("elman.progress.shown", kept)
        elman.fit(frame(), out=tmp_path, **SMALL | options)
    return seen


def test_a_run_says_what_it_does_and_its_bar_ends_at_its_end(tmp_path):
    seen = stages_of(tmp_path, epochs=40)
    found = list(dict.fromkeys(re.sub(r"\d+ of", "N of", stage.name) for stage in seen))
    assert found == [
        "reading the table",
        "fitting the linear model",
        "training N of 4, epoch N of at most 40",
        "judging on the held-out rows",
        "drawing",
        "finished",
    ]
    shares = [stage.done / stage.total for stage in seen if stage.total]
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.slow
def test_what_is_shown_is_chosen(tmp_path, capsys):
    for verbose, lines in (("auto", 0), (0, 0), (1, 7), (2, 7)):
        elman.fit(frame(), out=tmp_path, fresh=True, verbose=verbose, **ONCE | {"epochs": 2})
        said = capsys.readouterr()
        assert (said.out, len(said.err.splitlines())) == ("", lines)
    with pytest.raises(elman.DataError, match="verbose is 'loud'; expected one of 'auto', 0, 1, 2"):
        elman.fit(frame(), out=tmp_path, verbose="loud", **SMALL)


def test_a_picture_that_cannot_be_drawn_does_not_cost_the_run(tmp_path, monkeypatch, caplog):
    def broken(*_):
        raise OverflowError("no such year")

    monkeypatch.setattr(pictures, "forecast", broken)
    run = elman.fit(frame(), out=tmp_path, **SMALL)
    assert [name for name in FINAL if not (tmp_path / name).exists()] == ["forecast.png"]
    assert caplog.messages == [
        f"{tmp_path / 'forecast.png'} was not drawn: no such year. The run is finished without it."
    ]
    assert elman.Run.load(tmp_path).metrics == run.metrics


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_draws_has_its_result_and_is_finished_by_the_same_call(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pictures, "learning", killed)
        with pytest.raises(KeyboardInterrupt):
            elman.fit(frame(), out=tmp_path, **SMALL)
    assert elman.Run.load(tmp_path).forecast.height == 1
    assert not (tmp_path / "learning.png").exists()
    run = elman.fit(frame(), out=tmp_path, **SMALL)
    assert names(run.folder) == FINAL
    for name in ("forecast.png", "learning.png"):
        with Image.open(run.folder / name) as picture:
            assert min(picture.size) > 400
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20  # lines in several shades of grey


STAGES = [
    Stage("reading", 0, None),
    Stage("training <1>", 1, 4),
    Stage("training <1>", 1.01, 4),
    Stage("finished", 4, 4),
]


class ZMQInteractiveShell:
    """The class of IPython's shell in a notebook."""


def test_a_notebook_shows_a_bar_in_its_cell(monkeypatch, capsys):
    shown = []
    display = ModuleType("IPython.display")
    display.HTML = str
    display.display = lambda html, display_id: SimpleNamespace(update=shown.append)
    ipython = ModuleType("IPython")
    ipython.get_ipython = ZMQInteractiveShell
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    with progress.shown("elman.fit") as show:
        for stage in STAGES:
            show(stage)
    assert [re.sub("<progress.*</progress> ", "", html) for html in shown] == [
        "0 %, reading",
        "25 %, training &lt;1&gt;",
        "100 %, finished",
    ]
    assert all('max="100"' in html for html in shown)
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_a_bar_that_is_gone_at_the_end(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress.shown("elman.fit") as show:
        for stage in STAGES:
            show(stage)
    said = capsys.readouterr()
    assert "finished" in said.err
    assert "100%" in said.err
    assert said.out == ""
