# SPDX-License-Identifier: Apache-2.0
"""The runner: what it must not let pass is a failure, a crash, and a run without a test."""

import pytest

import run

PASSES, FAILS, SKIPS, CRASHES = (
    "def test_it(): pass",
    "def test_it(): assert False",
    "import pytest\ndef test_it(): pytest.skip('no')",
    "import os\ndef test_it(): os._exit(0)",
)


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        ([PASSES], "1 passed, 0 failed"),
        ([PASSES, FAILS, SKIPS], "1 passed, 1 failed, 1 skipped"),
        ([PASSES, "import nowhere"], "0 passed, 1 failed"),
        ([], "0 passed, 1 failed"),
        ([CRASHES], "0 passed, 1 failed"),
    ],
)
def test_counts(tmp_path, monkeypatch, sources, says):
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "REPORTS", tmp_path / "reports")
    for number, source in enumerate(sources):
        (tmp_path / f"test_{number}.py").write_text(source)
    assert str(run.execute(run.pytest_run("some", sorted(tmp_path.glob("test_*.py")), {}))) == says


def test_the_sum_is_the_last_line_and_the_status_tells_of_a_failure(monkeypatch, capfd):
    monkeypatch.setattr(run, "suite", lambda name: [run.Run(name, [run.sys.executable, "-c", name], {}, None)])
    assert run.main(["pass", "1"]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == "2 passed, 0 failed"
    assert run.main(["pass", "raise SystemExit(3)"]) == 1
    assert capfd.readouterr().out.splitlines()[-1] == "1 passed, 1 failed"


def test_every_folder_of_tests_has_a_suite():
    folders = {path.name for path in run.TESTS.iterdir() if path.is_dir() and path.name.startswith("on_")}
    assert folders <= {"on_each_isa", "on_each_backend", *(f"on_{backend}" for backend in run.BACKENDS)}
