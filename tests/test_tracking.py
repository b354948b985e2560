# SPDX-License-Identifier: Apache-2.0
"""Runs of elman in MLflow: what is logged, with MLflow itself where it is installed, and with a stand-in where not."""

import contextlib
import importlib.util
import sys
import types

import pytest
from typer.testing import CliRunner

import elman
from elman import tracking
from elman.cli.app import app
from fit_cases import ONCE, frame
from test_compare import PLAIN, autoregression

pytestmark = pytest.mark.usefixtures("no_pictures")
FAST = ONCE | {"epochs": 1}


@pytest.fixture
def logged(monkeypatch):
    """What a stand-in for MLflow is called with."""
    found: dict[str, object] = {"files": []}

    @contextlib.contextmanager
    def start_run(run_name, nested):
        found["name"], found["nested"] = run_name, nested
        yield

    module = types.ModuleType("mlflow")
    module.__spec__ = importlib.util.spec_from_loader("mlflow", None)
    module.active_run = lambda: None
    module.start_run = start_run
    module.log_params = lambda params: found.update(params=params)
    module.log_metrics = lambda metrics: found.update(metrics=metrics)
    module.set_tags = lambda tags: found.update(tags=tags)
    module.log_artifact = lambda path: found["files"].append(path.rpartition("/")[2])
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return found


def test_a_comparison_is_logged(tmp_path, logged):
    done = elman.compare(autoregression(200), only=PLAIN, ahead=2, mlflow=True, out=tmp_path / "run")
    assert (logged["name"], logged["nested"]) == ("table", False)
    assert logged["params"]["ahead"] == "2"
    assert "label" not in logged["params"]
    errors = {row["name"]: row["error"] for row in done.rows}
    assert {name: logged["metrics"][f"RMSE/{name}"] for name in PLAIN} == errors
    assert logged["tags"]["recommended"] == done.recommended
    assert logged["files"] == ["report.html", "comparison.json"]


def test_a_run_of_fit_is_logged(tmp_path, logged):
    run = elman.fit(frame(), mlflow=True, out=tmp_path / "run", **FAST)
    errors = run.metrics["errors"]["models"]
    assert logged["metrics"] == {f"RMSE/{name}": score["rmse"] for name, score in errors.items()}
    assert logged["tags"]["verdict"] == run.metrics["errors"]["verdict"]
    assert {"metrics.json", "model.safetensors", "forecast.csv"} <= set(logged["files"])


def test_without_mlflow_there_is_one_sentence_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    table = tmp_path / "data.csv"
    frame().write_csv(table)
    for command in ("fit", "compare"):
        words = [command, str(table), "--target", "temp", "--mlflow", "--out", str(tmp_path / "run")]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 2
        assert done.stderr.startswith("elman: mlflow=True (--mlflow) needs MLflow, not installed here. Install with:")
    assert not (tmp_path / "run").exists()


@pytest.mark.medium
@pytest.mark.needs("mlflow")
@pytest.mark.filterwarnings("ignore")  # of MLflow's own
def test_mlflow_holds_the_run(tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # which needs no database
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    with mlflow.start_run() as outer:
        elman.compare(autoregression(200), only=PLAIN, mlflow=True, out=tmp_path / "run")
    client = mlflow.MlflowClient()
    (found,) = (
        run
        for run in client.search_runs([outer.info.experiment_id])
        if run.data.tags.get("mlflow.parentRunId") == outer.info.run_id
    )
    assert set(found.data.metrics) >= {f"RMSE/{name}" for name in PLAIN}
    assert {file.path for file in client.list_artifacts(found.info.run_id)} == {"report.html", "comparison.json"}
