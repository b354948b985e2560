# SPDX-License-Identifier: Apache-2.0
"""`elman runs`: which folders are runs, their order, and what prune removes and leaves."""

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import elman
from elman import system
from elman.cli.app import app
from elman.forecasting import runs
from fit_cases import SMALL, frame, names

FAST = SMALL | {"epochs": 1, "seeds": 1, "origins": 1}
pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three runs: two on one table, and one on another that was stopped."""

    def stop(_):
        raise InterruptedError

    folder = tmp_path_factory.mktemp("runs")
    for name, more in (("a", {"model": "last_value"}), ("b", {"model": "linear"})):
        elman.fit(frame(), out=folder / name, **FAST | more)
    with pytest.raises(InterruptedError):
        elman.fit(pl.DataFrame({"temp": np.arange(300.0) % 7}), out=folder / "stopped", tell=stop, **FAST)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of them, with files and folders that are not of elman fit."""
    for path in made.iterdir():
        (tmp_path / path.name).mkdir()
        for file in path.iterdir():
            (tmp_path / path.name / file.name).write_bytes(file.read_bytes())
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("precious")
    (tmp_path / "photos" / "run.json").write_text('{"of": "another program"}')
    (tmp_path / "compared").mkdir()
    (tmp_path / "compared" / "run.json").write_text('{"sha256": "", "elman": "", "target": null, "folds": 3}')
    (tmp_path / "notes.txt").write_text("precious")
    return tmp_path


def command(*words):
    done = CliRunner().invoke(app, ["runs", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_runs_on_one_table_stand_together_the_smallest_error_first(folder):
    found = runs.listed([folder])
    assert [(run.folder.name, run.state) for run in found] == [
        ("stopped", "not finished"),
        ("b", "finished"),
        ("a", "finished"),
    ]
    assert found[1].rmse < found[2].rmse
    assert found[1].question == found[2].question != found[0].question
    said = json.loads(command(folder, "--json"))["runs"]
    assert [run["folder"] for run in said] == [str(run.folder) for run in found]
    assert runs.listed([folder / "a", folder, folder / "a"]) == found
    shown = command(folder)
    assert "linear model" in shown
    assert f"{found[1].rmse:.4g} K" in shown
    assert "photos" not in shown


def test_runs_on_other_data_of_the_same_name_do_not_stand_between(folder):
    (folder / "b").rename(folder / "other")  # as good as b
    config = folder / "other" / "run.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"sha256": "f" * 64}))
    elman.fit(frame(), out=folder / "b", **FAST | {"model": "linear"})
    tables = [run.sha256 for run in runs.listed([folder]) if run.state == "finished"]
    assert [table == "f" * 64 for table in tables] in ([True, False, False], [False, False, True])


def test_a_damaged_run_is_listed(folder):
    (folder / "a" / "metrics.json").write_text("{")
    assert {run.state for run in runs.listed([folder])} == {"finished", "not finished", "damaged"}


def test_nothing_is_removed_without_yes(folder):
    before = {path: names(path) for path in folder.iterdir() if path.is_dir()}
    assert "prune would remove 2 runs" in command("prune", folder, "--keep", 1)
    assert {path: names(path) for path in folder.iterdir() if path.is_dir()} == before


def test_prune_removes_runs_and_nothing_else(folder):
    (folder / "a" / "my-notes.txt").write_text("precious")
    assert "Removed 1 run," in command("prune", folder, "--yes")
    assert names(folder) == ["a", "b", "compared", "notes.txt", "photos"]
    assert "Removed 1 run," in command("prune", folder, "--keep", "1", "--yes")
    assert names(folder / "a") == ["my-notes.txt"]
    assert "model.safetensors" in names(folder / "b")
    assert names(folder / "photos") == ["cat.jpg", "run.json"]
    assert names(folder / "compared") == ["run.json"]
    said = json.loads(command("prune", folder, "--keep", "0", "--yes", "--json"))
    assert said["removed"] == [str(folder / "b")]
    assert not (folder / "b").exists()
    with pytest.raises(elman.DataError, match="photos is not a run of elman fit"):
        runs.remove(folder / "photos")


def test_a_run_at_work_stays(folder):
    with system.locked(folder / "stopped"):
        before = names(folder / "stopped")
        assert "Removed 0 runs, 0.0 MB. 1 run stayed: another process works there." in command("prune", folder, "--yes")
        assert names(folder / "stopped") == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--yes"], "--keep and --yes belong to prune"),
        (["prune", "--keep", "-1"], "--keep is -1"),
        (["nowhere"], "nowhere is not a folder"),
    ],
)
def test_wrong_words_are_one_sentence(words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["runs", *words])
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert command() == "No runs.\n"
