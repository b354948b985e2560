# SPDX-License-Identifier: Apache-2.0
"""`python -m elman script.py`, in child processes: the program runs as `python script.py` does, and a table follows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
import neighbour, torch
print(sys.argv[1:], __name__, neighbour.HERE)
for options in {}, {"batch_first": True}:
    module = torch.nn.LSTM(4, 5, **options)
    for _ in range(3):
        module(torch.zeros(6, 3, 4))
torch.nn.GRU(4, 5, dtype=torch.bfloat16)(torch.zeros(6, 3, 4, dtype=torch.bfloat16))
torch.compile(torch.nn.RNN(4, 5), backend="eager", fullgraph=True)(torch.zeros(6, 3, 4))
"""


def run(folder: Path, program: str, *arguments: str, module: bool = False) -> subprocess.CompletedProcess[str]:
    (folder / "neighbour.py").write_text("HERE = 7")
    (folder / "program.py").write_text(program)
    begin = [sys.executable, "-W", "ignore", "-m", "elman"]
    name = ["-m", "program"] if module else [str(folder / "program.py")]
    return subprocess.run([*begin, *name, *arguments], cwd=folder, capture_output=True, text=True)


@pytest.mark.at_most(1)
@pytest.mark.parametrize("module", [True, False])
def test_a_program_runs_and_a_table_says_what_its_layers_did(tmp_path, module):
    done = run(tmp_path, PROGRAM, "--fast", "2", module=module)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['--fast', '2'] __main__ 7\n"
    title, head, *lines = done.stderr.splitlines()
    assert title == "elman: the recurrent layers of this program"
    assert head.split() == ["layer", "path", "calls", "traced", "seconds", "reason"]
    rows = {line.split("  ")[0]: line for line in lines}
    for name in ("LSTM(4, 5)", "LSTM(4, 5, batch_first=True)"):
        path, calls, traced, seconds = rows[name].removeprefix(name).split()
        assert (path, calls, traced) == ("native", "3", "0")
        assert float(seconds) >= 0
    assert "torch" in rows["GRU(4, 5)"]
    assert rows["GRU(4, 5)"].endswith("dtype bfloat16 has no native kernel; there are float32 and float64")
    assert rows["RNN(4, 5)"].endswith("not called, or in compiled code alone")


@pytest.mark.parametrize(
    ("program", "status", "shown"),
    [
        ("import sys; sys.exit(3)", 3, []),
        ("import sys; sys.exit('no luck')", 1, ["no luck"]),
        ("raise KeyboardInterrupt", -2, ["Traceback", "KeyboardInterrupt"]),
        (
            "def f():\n    raise KeyError(7)\nf()",
            1,
            ["Traceback", "line 3, in <module>", "line 2, in f", "KeyError: 7"],
        ),
        ("x = (", 1, ["program.py", "SyntaxError"]),
    ],
)
def test_status_and_traceback_are_those_of_the_program(tmp_path, program, status, shown):
    done = run(tmp_path, program)
    assert done.returncode == status
    assert all(text in done.stderr for text in shown)
    assert "runpy" not in done.stderr
    assert "elman/" not in done.stderr
    assert done.stderr.endswith("elman: the program made no layer that elman replaces.\n")


def test_a_program_that_is_missing(tmp_path):
    done = subprocess.run([sys.executable, "-m", "elman", "none.py"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "none.py is not a file; expected a Python script. Correct the path.\n"


def test_the_command_is_still_there():
    done = subprocess.run([sys.executable, "-m", "elman", "fit", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--cell" in done.stdout
