# SPDX-License-Identifier: Apache-2.0
"""elman.predict for a folder of Parquet files: file by file, and with Ray Data to the same frame."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import elman
from elman.cli.app import app
from elman.comparison import classifiers
from elman.errors import DataError
from fit_cases import ONCE, frame
from test_fit_classes import long_table

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "_STEPS", 30)
        patch.setattr(classifiers, "_PATIENCE", 30)
        patch.setattr("elman.forecasting.fit.draw", lambda *_: None)
        return {
            "forecast": elman.fit(frame(), out=folder / "forecast", **ONCE | {"epochs": 1}),
            "classify": elman.fit(
                long_table(), group="who", label="kind", units=4, seeds=1, folds=2, out=folder / "classify"
            ),
        }


@pytest.fixture
def tables(tmp_path):
    """For each run a folder of three files, in another order of time than of names, and one that is none of them."""
    whole = {"forecast": frame(), "classify": long_table().drop("kind")}
    for kind, table in whole.items():
        (tmp_path / kind).mkdir()
        for i, name in enumerate(("c", "a", "b")):
            rows = table[40 * i : 40 * i + 40] if kind == "forecast" else table[: 30 + 10 * i]
            rows.write_parquet(tmp_path / kind / f"{name}.parquet")
        (tmp_path / kind / "notes.txt").write_text("not a table")
    return tmp_path


@pytest.mark.parametrize(("kind", "options"), [("forecast", {}), ("forecast", {"every": True}), ("classify", {})])
def test_each_file_is_a_table_of_its_own(runs, tables, kind, options):
    found = elman.predict(runs[kind], tables / kind, **options)
    assert found["file"].unique(maintain_order=True).to_list() == ["a.parquet", "b.parquet", "c.parquet"]
    for (name,), own in found.group_by("file"):
        alone = elman.predict(runs[kind], tables / kind / str(name), **options)
        assert_frame_equal(own.drop("file"), alone, check_exact=True)


@pytest.mark.large
@pytest.mark.needs("ray", "pyarrow")
@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_ray_data_predicts_the_same(runs, tables):
    for kind, options in (("forecast", {"every": True}), ("classify", {})):
        here = elman.predict(runs[kind], tables / kind, **options)
        there = elman.predict(runs[kind], tables / kind, ray="local", **options)
        assert_frame_equal(here, there, check_exact=True)
    frame().drop("wind").write_parquet(tables / "forecast" / "d.parquet")
    with pytest.raises(DataError, match=r"d\.parquet: the table has no column 'wind'"):
        elman.predict(runs["forecast"], tables / "forecast", ray="local")


def test_the_command_writes_one_table(runs, tables):
    out = tables / "scores.parquet"
    done = CliRunner().invoke(
        app, ["predict", str(runs["forecast"].folder), str(tables / "forecast"), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert_frame_equal(pl.read_parquet(out), elman.predict(runs["forecast"].folder, tables / "forecast"))


@pytest.mark.parametrize("out", ["classify/a.parquet", "classify/scores.parquet"])
def test_the_command_does_not_write_where_it_reads(runs, tables, out):
    names = sorted(path.name for path in (tables / "classify").iterdir())
    read = tables / (out if out.endswith("a.parquet") else "classify")
    done = CliRunner().invoke(app, ["predict", str(runs["classify"].folder), str(read), "--out", str(tables / out)])
    assert done.exit_code == 2
    assert "of DATA; expected another file" in done.output
    assert sorted(path.name for path in (tables / "classify").iterdir()) == names
    assert "a" in pl.read_parquet(tables / "classify" / "a.parquet").columns


def test_what_does_not_fit_is_one_sentence(runs, tables):
    run, folder = runs["forecast"], tables / "forecast"
    frame().drop("wind").write_parquet(folder / "d.parquet")
    with pytest.raises(DataError, match=r"d\.parquet: the table has no column 'wind'"):
        elman.predict(run, folder)
    (folder / "d.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(DataError, match=r"^d\.parquet: "):
        elman.predict(run, folder)
    with pytest.raises(DataError, match="for a folder of Parquet files"):
        elman.predict(run, frame(), ray="local")
    (tables / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no file whose name ends with \.parquet"):
        elman.predict(run, tables / "empty")
