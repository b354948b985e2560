# SPDX-License-Identifier: Apache-2.0
"""The wheels that `make wheels` has left in dist/, run where this machine can run them.

A library of another platform runs in an emulator under native_truth.cc, against a grid of calls with stored truth. A
test whose wheel or emulator is missing is skipped, and the reason names it.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import cases
import native_truth
from elman import _native

ROOT = Path(__file__).resolve().parents[1]
WHEELS = sorted((ROOT / "dist").glob("*.whl"))
SHAPES = ((1, 3, 2, 5), (4, 7, 3, 16), (5, 2, 8, 33), (13, 7, 1, 8), (33, 2, 17, 64), (2, 40, 3, 31))
CASES = 60
pytestmark = [
    pytest.mark.large,
    pytest.mark.needs("ziglang", "lief"),
    pytest.mark.skipif(platform.system() != "Linux", reason="the emulators are those of Linux"),
]
ON_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="for x86-64")
# A part of the wheel's tag, Zig's target, and what runs its programs.
RUNNERS = [
    pytest.param("manylinux_2_17_x86_64", "x86_64-linux-gnu.2.17", [], marks=ON_X86, id="glibc x86_64"),
    pytest.param("musllinux_1_1_x86_64", "x86_64-linux-musl", ["/lib/ld-musl-x86_64.so.1"], id="musl x86_64"),
    pytest.param(
        "manylinux_2_17_aarch64",
        "aarch64-linux-gnu.2.17",
        ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"],
        id="glibc aarch64",
    ),
    pytest.param("win_amd64", "x86_64-windows-gnu", ["wine"], id="windows amd64"),
]


def wheel(tag: str) -> Path:
    found = [path for path in WHEELS if tag in path.name]
    if not found:
        pytest.skip(f"dist/ has no wheel of {tag}: run make wheels")
    return found[0]


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> Path:
    """The file of calls and results."""
    path = tmp_path_factory.mktemp("truth") / "truth.bin"
    shapes = itertools.islice(itertools.cycle(SHAPES), CASES)
    assert native_truth.write(path, cases.grid(shapes)) == 2 * CASES
    return path


@pytest.mark.skipif(not WHEELS, reason="dist/ has no wheels: run make wheels")
def test_every_wheel_keeps_the_rules():
    command = [sys.executable, "packaging/check_wheels.py", *map(str, WHEELS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("tag", "target", "runner"), RUNNERS)
def test_the_library_gives_the_stored_results(tag, target, runner, truth, tmp_path):
    path = wheel(tag)
    if runner and not shutil.which(runner[0]):
        pytest.skip(f"{runner[0]} is not installed")
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if Path(name).stem == "libelman")
        library = Path(archive.extract(name, tmp_path))
    driver = tmp_path / "driver.exe"
    zig = [sys.executable, "-m", "ziglang", "c++", "-target", target, "-O1", "-std=c++17"]
    zig += ["-dynamic"] if "musl" in target else []  # a static program of musl opens no library
    subprocess.run(
        [*zig, f"-I{ROOT / 'native'}", str(ROOT / "tests" / "native_truth.cc"), "-o", str(driver)], check=True
    )
    command = [*runner, str(driver), str(library), str(truth)]
    done = subprocess.run(command, env=os.environ | {"WINEDEBUG": "-all"}, capture_output=True, text=True)
    levels, result = done.stdout.split()[0], done.stdout.splitlines()[-1]
    assert done.returncode == 0, done.stdout + done.stderr
    assert result == f"{2 * CASES * len(levels.split(','))} calls, 0 failed"


@pytest.mark.parametrize("tag", [pytest.param("manylinux_2_17_x86_64", marks=ON_X86), "none-any"])
def test_the_wheel_runs_in_a_new_environment_without_a_compiler(tag, tmp_path):
    path = wheel(tag)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "new")], check=True)
    python = tmp_path / "new" / "bin" / "python"
    environment = {"PATH": str(python.parent), "HOME": str(tmp_path)}
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(path)], env=os.environ | environment, check=True)
    call = "elman.simple_rnn(x, x[0].T @ x[0], np.eye(3, dtype='f'))"
    code = f"import elman, numpy as np; x = np.ones((1, 2, 3), 'f'); {call}; print(elman._native.reason())"
    done = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("None" if tag != "none-any" else "no native library") in done.stdout


# What README and docs/install.md say for a machine with make, and for one without; and where elman is installed then.
PAGES = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/install.md"))
DEMOS = [
    pytest.param(["make demo"], ("make", "find", "mkdir", "touch", "rm", "seq", "awk"), ".venv", id="make demo"),
    pytest.param(['pip install ".[cli]"', "elman fit --data walk --out build/demo"], (), "new", id="two lines"),
]


@pytest.mark.skipif(sys.platform == "win32", reason="its PATH is made of links")
@pytest.mark.parametrize(("commands", "more", "where"), DEMOS)
def test_the_demo_runs_where_no_compiler_is(commands, more, where, tmp_path):
    sources, programs = tmp_path / "elman", tmp_path / "bin"
    ignored = shutil.ignore_patterns(".*", "build", "dist", "*.so", "*.dylib", "__pycache__")
    shutil.copytree(ROOT, sources, ignore=ignored)
    programs.mkdir()
    for name in ("sh", "env", "uname", "cat", *more):
        (programs / name).symlink_to(shutil.which(name))
    (programs / "python3").symlink_to(Path(sys.executable).resolve())
    if where == "new":
        subprocess.run([sys.executable, "-m", "venv", str(sources / where)], check=True)
    environment = {key: value for key, value in os.environ.items() if key not in ("CXX", "CC", "ELMAN_NATIVE")}
    environment |= {"PATH": f"{sources / where / 'bin'}{os.pathsep}{programs}"}
    for command in commands:
        assert f"\n{command}" in PAGES
        done = subprocess.run(["sh", "-c", command], cwd=sources, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict" in json.loads((sources / "build" / "demo" / "metrics.json").read_text(encoding="utf-8"))["errors"]
    code = "import elman; print(elman._native.library().elman_isas().decode())"
    python = sources / where / "bin" / "python"
    done = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == _native.library().elman_isas().decode(), "a level is missing"
