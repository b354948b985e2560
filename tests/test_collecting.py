# SPDX-License-Identifier: Apache-2.0
"""What is collected where: by backend, by what is installed, and by size."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import collecting

TESTS = Path(__file__).parent
FILES = {
    "on_each_backend/test_layer.py": "import keras",
    "on_each_isa/test_kernel.py": "import numpy as np",
    "on_jax/test_jax.py": "import jax",
    "on_torch/test_torch.py": "import torch\n",
    "on_torch/test_files.py": "import torch\nfrom onnx.reference import Evaluator",
    "test_top.py": "import os\n\ndef test(): import onnx",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, source in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    return tmp_path


@pytest.mark.parametrize(
    ("installed", "chosen", "expected"),
    [
        ({"keras", "jax"}, "jax", {"on_torch": "needs torch"}),
        ({"keras", "jax", "torch"}, "jax", {"on_torch": "KERAS_BACKEND is jax"}),
        ({"keras", "torch"}, "torch", {"on_jax": "needs jax", "on_torch/test_files.py": "needs onnx"}),
        ({"keras", "torch", "onnx"}, "torch", {"on_jax": "needs jax"}),
        (set(), None, {"on_each_backend": "needs Keras", "on_jax": "needs jax", "on_torch": "needs torch"}),
        (
            {"keras", "jax"},
            "numpy",
            {
                "on_each_backend": "Keras's backend is numpy",
                "on_jax": "KERAS_BACKEND is numpy",
                "on_torch": "needs torch",
            },
        ),
    ],
)
def test_what_cannot_run_here_is_left_out_with_its_reason(folder, monkeypatch, installed, chosen, expected):
    others = {"keras", "jax", "torch", "onnx"} - installed
    find = importlib.util.find_spec
    known = installed | others
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: (name in installed or None) if name in known else find(name)
    )
    reasons = collecting.left_out(folder, chosen)
    assert {path.relative_to(folder).as_posix(): reason for path, reason in reasons.items()} == expected


def test_a_module_and_a_program_count_as_installed(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/tool" if name == "tool" else None)
    assert collecting.is_installed("numpy")
    assert collecting.is_installed("tool")
    assert not collecting.is_installed("no_such_module")


def collected(folder: Path, *, named: bool = True, **environment: str) -> list[str]:
    """The names of the tests that pytest collects in a folder with the project's conftest, named or by itself."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "conftest", *[str(folder)] * named]
    path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": path} | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.rpartition("::")[2] for line in done.stdout.splitlines() if "::" in line]


MARKED = """
import pytest
def test_quick(): pass
@pytest.mark.medium
def test_longer(): pass
@pytest.mark.large
def test_long(): pass
@pytest.mark.needs("numpy")
def test_with_numpy(): pass
@pytest.mark.needs("numpy", "no_such_module")
def test_with_nothing(): pass
@pytest.mark.backends("no_such_backend")
def test_on_no_backend(): pass
@pytest.mark.once
def test_once(): pass
@pytest.mark.shared
@pytest.mark.parametrize("n", range(30))
def test_shared(n): pass
"""
SHARED = [f"test_shared[{n}]" for n in range(30)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "names"),
    [
        ("", ["test_quick", "test_with_numpy"]),
        ("small", ["test_quick", "test_with_numpy"]),
        ("medium", ["test_quick", "test_longer", "test_with_numpy"]),
        ("large", ["test_quick", "test_longer", "test_long", "test_with_numpy"]),
    ],
)
def test_a_test_is_collected_from_its_size_on_and_where_its_needs_are_met(tmp_path, size, names):
    (tmp_path / "test_marked.py").write_text(MARKED)
    assert collected(tmp_path, ELMAN_TEST_SIZE=size, ELMAN_TEST_BACKENDS="")[: -len(SHARED)] == [*names, "test_once"]


@pytest.mark.needs("keras")
@pytest.mark.parametrize(("tested", "runs"), [("jax torch", True), ("torch jax", False), ("", True)])
@pytest.mark.medium
def test_a_test_of_one_backend_runs_on_the_first(tmp_path, tested, runs):
    (tmp_path / "test_marked.py").write_text(MARKED)
    names = collected(tmp_path, KERAS_BACKEND="jax", ELMAN_TEST_BACKENDS=tested)
    assert ("test_once" in names) is runs


@pytest.mark.medium
@pytest.mark.needs("keras")
def test_each_shared_case_runs_on_one_backend_and_on_all_in_the_large_size(tmp_path):
    (tmp_path / "test_marked.py").write_text(MARKED)
    tested = {"ELMAN_TEST_BACKENDS": "jax torch"}
    shares = [collected(tmp_path, KERAS_BACKEND=name, **tested) for name in ("jax", "torch")]
    assert sorted(name for share in shares for name in share if name in SHARED) == sorted(SHARED)
    assert all(set(SHARED) & set(share) for share in shares)
    everything = collected(tmp_path, KERAS_BACKEND="jax", ELMAN_TEST_SIZE="large", **tested)
    assert set(SHARED) <= set(everything)


@pytest.mark.medium
@pytest.mark.needs("keras")
def test_a_test_for_each_backend_has_its_first_case_on_each_and_every_case_on_one(tmp_path):
    folder = tmp_path / "on_each_backend"
    folder.mkdir()
    (folder / "test_marked.py").write_text(
        'import pytest\n@pytest.mark.parametrize("n", range(30))\ndef test_case(n): pass\ndef test_single(): pass'
    )
    cases = [f"test_case[{n}]" for n in range(30)]
    tested = {"ELMAN_TEST_BACKENDS": "torch jax"}
    shares = [collected(folder, KERAS_BACKEND=name, **tested) for name in ("torch", "jax")]
    assert sorted(shares[0] + shares[1]) == sorted([*cases, cases[0], "test_single", "test_single"])
    assert all(share[0] == cases[0] and len(share) > 2 for share in shares)
    assert collected(folder, KERAS_BACKEND="jax", ELMAN_TEST_SIZE="large", **tested) == [*cases, "test_single"]
    assert collected(folder, KERAS_BACKEND="jax", ELMAN_TEST_BACKENDS="") == [*cases, "test_single"]


@pytest.mark.slow
def test_a_test_has_at_most_the_cases_of_its_mark_below_the_large_size(tmp_path):
    (tmp_path / "test_marked.py").write_text(
        "import pytest\n@pytest.mark.at_most(3)\n@pytest.mark.parametrize('n', range(10))\ndef test_case(n): pass\n"
        "@pytest.mark.at_most(3)\ndef test_single(): pass"
    )
    few = collected(tmp_path, ELMAN_TEST_SIZE="medium")
    assert (len(few), few[0], few[-1]) == (4, "test_case[0]", "test_single")
    assert collected(tmp_path, ELMAN_TEST_SIZE="small") == few
    assert collected(tmp_path, ELMAN_TEST_SIZE="large") == [*(f"test_case[{n}]" for n in range(10)), "test_single"]


HIDING = "import sys\nfor name in {}: sys.modules[name] = None"
OPTIONAL = ("keras", "tensorflow", "jax", "torch", "onnx", "onnxruntime", "onnxscript", "tf2onnx", "statsmodels")


@pytest.mark.medium
def test_the_tests_of_the_project_are_collected_without_what_is_optional(tmp_path):
    (tmp_path / "hiding.py").write_text(HIDING.format(OPTIONAL))
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "hiding", str(TESTS)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_pytest_by_itself_takes_one_case_of_each_quick_test(tmp_path):
    marked = f"{MARKED}\n@pytest.mark.slow\ndef test_slow(): pass\n"
    for name in ("test_marked.py", "test_other.py"):
        (tmp_path / name).write_text(marked)
    names = ["test_quick", "test_with_numpy", "test_once", "test_shared[0]"]
    assert collected(tmp_path, named=False, ELMAN_TEST_BACKENDS="", ELMAN_TEST_SIZE="small") == names * 2
    named = collected(tmp_path, ELMAN_TEST_BACKENDS="", ELMAN_TEST_SIZE="small")
    assert set(names) < set(named)
    assert named.count("test_slow") == 2
    assert len(collected(tmp_path, named=False, ELMAN_TEST_BACKENDS="", ELMAN_TEST_SIZE="medium")) == 2 * 35


def test_an_unknown_size_gets_a_sentence():
    code = "import size"
    environment = os.environ | {"PYTHONPATH": str(TESTS), "ELMAN_TEST_SIZE": "huge"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "ELMAN_TEST_SIZE is 'huge'; expected one of small, medium, large" in done.stderr
