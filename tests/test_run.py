# SPDX-License-Identifier: Apache-2.0
"""The runner: a failure, a crash and a run without a test must not pass; each line is shown as it comes."""

import os

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


def test_the_sum_is_the_last_line_and_the_status_shows_a_failure(monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(run, "REPORTS", tmp_path)
    monkeypatch.setattr(run, "suite", lambda name, under: [run.Run(name, [run.sys.executable, "-c", name], {}, None)])
    assert run.main(["print('a line')", "1"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[-1] == "2 passed, 0 failed"
    assert {"=== 1: starts", "print('a line')| a line"} < set(lines)
    assert any(line.endswith(": 1 passed, 0 failed; 0 of 2 to end") for line in lines)
    assert run.main(["pass", "raise SystemExit(3)"]) == 1
    assert capfd.readouterr().out.splitlines()[-1] == "1 passed, 1 failed"


def test_a_line_is_shown_before_its_run_ends(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "REPORTS", tmp_path)
    waits = tmp_path / "waits"
    os.mkfifo(waits)
    code = f"import signal; signal.alarm(60); print('first', flush=True); open({str(waits)!r}).read()"
    monkeypatch.setattr(run, "print", lambda line, **_: "first" in line and waits.write_text("go"), raising=False)
    assert run.execute(run.Run("some", [run.sys.executable, "-c", code], {}, None)).passed == 1


def test_an_unknown_suite_gets_a_sentence():
    with pytest.raises(SystemExit, match="'lit' is not a suite; expected some of numpy, isa, .*lint"):
        run.suite("lit")


def test_every_folder_of_tests_has_a_suite():
    folders = {path.name for path in run.TESTS.iterdir() if path.is_dir() and path.name.startswith("on_")}
    assert folders <= {"on_each_isa", "on_each_backend", *(f"on_{backend}" for backend in run.BACKENDS)}
