# SPDX-License-Identifier: Apache-2.0
"""Every block of docs/forecast.md runs, one after the other in an empty folder, and prints what the page shows."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from elman.cli import keras_model
from elman.cli.app import app
from elman.forecasting import training
from size import by_size

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "forecast.md").read_text()
BLOCK = re.compile(r"```(python|sh)\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)


def shown_next_to(code):
    return re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)


@pytest.mark.medium
@pytest.mark.usefixtures("no_pictures")
def test_every_block_runs_and_prints_what_the_page_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keras_model, "backend", lambda: None)
    monkeypatch.setattr(training, "PATIENCE", by_size(1, 1, training.PATIENCE))  # no figure of the page depends on it
    names: dict[str, object] = {}
    for kind, code, text in BLOCK.findall(PAGE):
        if kind == "sh":
            for line in code.splitlines():
                done = CliRunner().invoke(app, shlex.split(line)[1:])
                assert done.exit_code == 0, done.output
        else:
            exec(code, names)
            assert capsys.readouterr().out.splitlines() == (text.splitlines() if text else shown_next_to(code))
    assert (tmp_path / "memory.html").exists()


def test_every_block_is_run():
    assert len(BLOCK.findall(PAGE)) == len(re.findall(r"^```(?:python|sh)$", PAGE, re.MULTILINE))
    assert all(
        line.startswith("elman ") for kind, code, _ in BLOCK.findall(PAGE) if kind == "sh" for line in code.splitlines()
    )
