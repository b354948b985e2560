# SPDX-License-Identifier: Apache-2.0
"""The installed package and what is built from its sources: the types, the wheels, the sdist, the hooks."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import elman
from elman import _native

ROOT = Path(__file__).resolve().parents[1]
INSTALLED = Path(elman.__file__).parent


def build(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`pip wheel` on the sources, with the build backend that is installed here, and without a network."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", *arguments, str(ROOT)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


def test_the_package_is_typed():
    assert (INSTALLED / "py.typed").exists()
    assert (INSTALLED / "__init__.pyi").exists()


def test_dir_and_the_stub_name_the_same_things():
    stub = ast.parse((INSTALLED / "__init__.pyi").read_text())
    imported = {a.asname for node in stub.body if isinstance(node, ast.ImportFrom) for a in node.names if a.asname}
    declared = {node.target.id for node in stub.body if isinstance(node, ast.AnnAssign)}
    classes = {node.name for node in stub.body if isinstance(node, ast.ClassDef)}
    private = {name for name in declared if name.startswith("_") and not name.endswith("__")}  # aliases of types
    assert (imported | declared | classes) - private == set(dir(elman)) == {*elman.__all__, "__version__"}


@pytest.mark.needs("torch")
def test_each_name_of_dir_is_there():
    assert all(hasattr(elman, name) for name in dir(elman))


def test_one_version():
    assert importlib.metadata.version("elman") == elman.__version__
    assert _native.library().elman_version().decode() == elman.__version__


def test_the_installed_wheel_serves_every_python_3_of_this_platform():
    wheel = importlib.metadata.distribution("elman").read_text("WHEEL")
    assert "Tag: py3-none-" in wheel
    assert "Tag: py3-none-any" not in wheel
    assert "Root-Is-Purelib: false" in wheel
    assert _native.library_path().parent == _native.library_path("elman_tensorflow").parent
    assert _native.library_path().parent in map(Path, elman.__path__)
    assert _native.library_path("elman_tensorflow").exists()


def test_an_editable_install_keeps_the_library_apart_from_the_sources(monkeypatch, tmp_path):
    sources, compiled, name = tmp_path / "src", tmp_path / "site-packages", _native.library_path().name
    for folder in (sources, compiled):
        folder.mkdir()
    monkeypatch.setattr(_native, "__file__", str(sources / "_native.py"))
    monkeypatch.setattr(elman, "__path__", [str(sources), str(compiled)])
    assert _native.library_path() == sources / name, "the folder of the sources is the one that an error names"
    (compiled / name).touch()
    assert _native.library_path() == compiled / name


def test_it_needs_numpy_and_safetensors_alone():
    needs = importlib.metadata.requires("elman") or []
    assert {need.partition(">")[0] for need in needs if "extra ==" not in need} == {"numpy", "safetensors"}


def test_the_commit_hooks_have_the_versions_and_requirements_of_the_package():
    declared = {need.partition(";")[0].strip() for need in importlib.metadata.requires("elman") or []}
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    used = set(re.findall(r"[\w-]+[=>]=[\w.]+", hooks))
    assert {need.partition("=")[0] for need in used} > {"ruff", "clang-format", "mypy"}
    assert used <= declared


def test_the_conda_recipe_has_the_requirements_of_the_package():
    """Python alone has no version there: conda-forge builds for each of its own, and skips those that are too old."""
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load((ROOT / "packaging" / "conda-forge" / "recipe.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needs = {part: {need.replace(" ", "") for need in recipe["requirements"][part]} for part in ("host", "run")}
    assert recipe["context"]["version"] == elman.__version__
    assert needs["run"] == {"python", *project["project"]["dependencies"]}
    assert needs["host"] == {"python", "pip", *project["build-system"]["requires"]}
    oldest = project["project"]["requires-python"].removeprefix(">=")
    assert f'match(python, "<{oldest}")' in recipe["build"]["skip"]


def test_the_citation_has_this_version():
    assert f"\nversion: {elman.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_pip_gets_options_that_the_one_of_python_3_11_has():
    """Python 3.11 brings pip 22.3, in which --config-settings has no short name yet."""
    calls = {
        "Makefile": r"\$\(PIP\).*|/pip .*",
        "packaging/make_wheels.py": r".*settings\.items\(\).*",
    }
    for name, pattern in calls.items():
        found = re.findall(pattern, (ROOT / name).read_text(encoding="utf-8"))
        assert any("--config-settings" in call for call in found)
        assert not [call for call in found if re.search(r"-C\b", call)]


@pytest.mark.medium
def test_without_the_native_library_the_wheel_is_pure(tmp_path):
    built = build("-w", str(tmp_path), ELMAN_NATIVE="0")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.iterdir()
    assert wheel.name == f"elman-{elman.__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert "elman/reference.py" in names
    assert not [name for name in names if name.endswith((".so", ".dylib"))]


@pytest.mark.medium
def test_without_a_compiler_the_build_says_so_and_names_the_way_out(tmp_path):
    built = build(
        "-w",
        str(tmp_path),
        "--config-settings",
        f"build-dir={tmp_path / 'build'}",
        CXX="/nonexistent/c++",
        CXXFLAGS="",
        LDFLAGS="-L/mine",
    )
    assert built.returncode != 0
    said = " ".join((built.stdout + built.stderr).split())
    assert "needs a C++17 compiler, and there is none that works" in said
    assert 'CXX is "/nonexistent/c++", CXXFLAGS "", LDFLAGS "-L/mine"' in said
    backend = (ROOT / "packaging" / "elman_build.py").read_text(encoding="utf-8")
    zig = re.search(r'^ZIG = "(.*?)"', backend, re.MULTILINE)[1]
    assert f"with --no-build-isolation, pip install {zig} first" in said
    assert "ELMAN_NATIVE=0" in said


@pytest.mark.medium
@pytest.mark.skipif(sys.platform == "win32", reason="the launcher is a script of sh")
def test_a_compiler_is_taken_with_its_arguments(tmp_path):
    compiler = next((found for found in map(shutil.which, ("c++", "g++", "clang++")) if found), None)
    if compiler is None:
        pytest.skip("no compiler is installed here")
    launcher = tmp_path / "launcher"  # as ccache: what it starts is its first argument
    launcher.write_text('#!/bin/sh\nexec "$@"\n')
    launcher.chmod(0o755)
    command = [
        sys.executable,
        "-m",
        "cmake",
        "-S",
        str(ROOT),
        "-B",
        str(tmp_path / "build"),
        "-DELMAN_BASELINE_ONLY=ON",
    ]
    environment = os.environ | {"CXX": f"{launcher} {compiler} -DNAMED_HERE"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rules = [path.read_text() for path in (tmp_path / "build").rglob("CMakeCXXCompiler.cmake")]
    assert f'ARG1 " {compiler} -DNAMED_HERE"' in "".join(rules)


@pytest.mark.slow
def test_the_sdist_holds_the_sources_and_nothing_built(tmp_path):
    code = f"from elman_build import build_sdist; build_sdist({str(tmp_path)!r})"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "packaging")}
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    (sdist,) = tmp_path.iterdir()
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = [path.relative_to(ROOT).as_posix() for path in (ROOT / "native").iterdir()]
    backend = ["packaging/elman_build.py", "packaging/zig.cmake"]
    assert {"CMakeLists.txt", "LICENSE", "README.md", "src/elman/__init__.pyi", *backend, *sources} <= names
    assert not [name for name in names if name.startswith(("build", ".venv")) or name.endswith((".so", ".o"))]


def test_every_native_source_opens_with_its_licence():
    for path in (ROOT / "native").iterdir():
        assert path.read_text().startswith("// SPDX-License-Identifier: Apache-2.0\n"), path.name
