# SPDX-License-Identifier: Apache-2.0
"""elman in a process that lacks what Windows lacks (as_windows.py), which stands in for Windows where there is none."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fit_cases import ROWS, WAVE

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="as_windows.py reads Linux's /proc")
PROGRAM = Path(__file__).resolve().parent / "as_windows.py"
EVERY_MODULE = """
import importlib, pkgutil, elman
for module in pkgutil.walk_packages(elman.__path__, "elman.", onerror=lambda name: None):
    if not module.name.endswith(("__main__", "libelman", "libelman_tensorflow")):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            if not set(FRAMEWORKS) & set(str(error).replace("'", " ").replace(".", " ").split()):
                raise
print(sum(name.startswith("elman.") for name in sys.modules))
"""
COMMANDS = """
from elman.cli import main
for words in {!r}:
    sys.argv = ["elman", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code
"""
FILES = """
paths = list(Path("run").iterdir())
assert not [path for path in paths if path.name.startswith(".")], "a lock stays"
assert not [path for path in paths if path.suffix in {".csv", ".json"} and b"\\r" in path.read_bytes()]
"""
LOCKS = f"""
from elman import DataError, fit, files, system
here = Path("run")
gone, living = here / ".writing-{2**22 + 1}-ab-x", here / f".writing-{{os.getppid()}}-ab-x"
with system.locked(here):
    try:
        fit("data.csv.gz", target="π", out=here, fresh=True)
    except DataError as error:
        print(error)
gone.touch(), living.touch()
files.clear(here)
print(sorted(path.name for path in here.glob(".*")) == [living.name], system.memory() == MEMORY)
living.unlink()
"""


def run(code: str, folder: Path) -> str:
    (folder / "temporary").mkdir()
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "TMPDIR": str(folder / "temporary")}
    command = [sys.executable, "-X", "warn_default_encoding", str(PROGRAM), code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="cp1252")
    assert done.returncode == 0, done.stderr
    assert not list((folder / "temporary").iterdir())
    return done.stdout


@pytest.mark.slow
def test_every_module_is_imported(tmp_path):
    assert int(run(EVERY_MODULE, tmp_path)) > 150


@pytest.mark.medium
def test_a_table_is_forecast(tmp_path):
    hours = [f"2024-{3 + i // 480:02d}-{i // 24 % 20 + 1:02d}T{i % 24:02d}:00:00+01:00" for i in range(ROWS)]
    rows = ["when;π", *(f"{hour};{value}" for hour, value in zip(hours, WAVE, strict=True))]
    (tmp_path / "data.csv.gz").write_bytes(gzip.compress("\r\n".join(rows).encode()))
    options = ("--target", "π", "--window", "6", "--units", "2", "--epochs", "1", "--seeds", "1", "--origins", "1")
    fit = ("fit", "data.csv.gz", *options, "--out", "run", "--unit", "m²")
    predict = ("predict", "run", "data.csv.gz", "--json")
    prune = ("runs", "prune", "run", "--keep", "0", "--yes")
    said = run("\n".join((COMMANDS.format([fit, predict]), FILES, LOCKS, COMMANDS.format([prune]))), tmp_path)
    assert "Forecast of '\\u03c0', 1 row ahead" in said
    assert "m²" in said
    (forecast,) = (line for line in said.splitlines() if line.startswith("["))
    assert forecast.isascii()
    assert json.loads(forecast)[0]["π"] is not None
    assert "another elman fit is at work in run; expected one at a time." in said
    assert "\nTrue True\n" in said
    assert "Removed 1 run" in said
    assert not (tmp_path / "run").exists()
