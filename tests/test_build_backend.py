# SPDX-License-Identifier: Apache-2.0
"""The build backend: when it asks for Zig's compiler, and what it passes to CMake."""

import importlib.util
import os
import platform
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("elman_build", ROOT / "packaging" / "elman_build.py")
backend = importlib.util.module_from_spec(spec)
spec.loader.exec_module(backend)

VARIABLES = ("CXX", "CMAKE_TOOLCHAIN_FILE", "CMAKE_ARGS", "SKBUILD_CMAKE_ARGS", "SKBUILD_CMAKE_DEFINE", "ELMAN_NATIVE")


@pytest.fixture(autouse=True)
def nothing_is_named(monkeypatch):
    monkeypatch.chdir(ROOT)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def path(monkeypatch, tmp_path):
    """The only folder of PATH, without a compiler."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


HOOKS = [backend.get_requires_for_build_wheel, backend.get_requires_for_build_editable]


@pytest.mark.parametrize("hook", HOOKS)
def test_zig_is_required_where_no_compiler_is(path, hook):
    assert backend.ZIG in hook()


@pytest.mark.skipif(sys.platform == "win32", reason="the stub is a script of sh")
def test_a_compiler_that_compiles_nothing_is_none(path):
    program(path, "c++", "exit 1")
    assert backend.working_compiler() is None
    assert backend.zig_requirement({}) == [backend.ZIG]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows finds only programs on PATH")
@pytest.mark.parametrize("content", ["of another processor", "#!/nonexistent/sh"])
def test_a_compiler_that_the_system_cannot_start_is_none(path, content):
    (path / "c++").write_text(content)
    (path / "c++").chmod(0o755)
    assert backend.working_compiler() is None
    assert backend.zig_requirement({}) == [backend.ZIG]


@pytest.mark.skipif(sys.platform == "win32", reason="the stub is a script of sh")
def test_the_first_compiler_that_works_is_used_and_zig_is_not_required(path, monkeypatch):
    program(path, "c++", "exit 1")
    program(path, "clang++", "exit 0")
    assert backend.zig_requirement({}) == []
    monkeypatch.setenv("CXX", "")
    assert set(backend.with_compiler({})) == {"build-dir"}
    assert os.environ["CXX"] == str(path / "clang++")


@pytest.mark.slow
def test_a_compiler_here_leaves_the_requirements_as_they_are():
    if not backend.working_compiler():
        pytest.skip("no compiler works here")
    for hook in HOOKS:
        assert not [need for need in hook() if "zig" in need]


@pytest.mark.parametrize(
    ("variables", "settings"),
    [
        ({"CXX": "/nonexistent/c++"}, {}),
        ({"CMAKE_TOOLCHAIN_FILE": "mine.cmake"}, {}),
        ({"CMAKE_ARGS": "-DCMAKE_CXX_COMPILER=mine"}, {}),
        ({"SKBUILD_CMAKE_DEFINE": "CMAKE_CXX_COMPILER=mine"}, {}),
        ({"ELMAN_NATIVE": "0"}, {}),
        ({}, {"cmake.define.CMAKE_CXX_COMPILER": "mine"}),
        ({}, {"cmake.args": ["-DCMAKE_TOOLCHAIN_FILE=mine.cmake"]}),
    ],
)
def test_what_the_user_names_is_left_alone(path, monkeypatch, variables, settings):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert backend.zig_requirement(settings) == []
    assert backend.with_compiler(settings) == backend.own_folder() | settings


def test_each_compiler_and_its_flags_have_a_build_folder_of_their_own(monkeypatch):
    folders = set()
    for name, value in (("CXX", "g++"), ("CXX", "clang++"), ("CXXFLAGS", "-g"), ("LDFLAGS", "-g")):
        monkeypatch.setenv(name, value)
        folders |= {backend.with_compiler({})["build-dir"], backend.with_compiler({})["build-dir"]}
    assert len(folders) == 4
    assert backend.with_compiler({"build-dir": "mine"})["build-dir"] == "mine"


def test_a_build_with_zig_keeps_the_users_settings(path, monkeypatch, tmp_path):
    (tmp_path / "ziglang").mkdir()
    (tmp_path / "ziglang" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(tmp_path))
    settings = backend.with_compiler({"build-dir": "mine"})
    assert settings["build-dir"] == "mine"
    assert settings["cmake.define.ELMAN_ZIG"].startswith((tmp_path / "ziglang" / "zig").as_posix())
    assert settings["cmake.define.ELMAN_TARGET"] == backend.target()
    assert Path(settings["cmake.define.CMAKE_TOOLCHAIN_FILE"]).exists()
    assert "CXX" not in os.environ


@pytest.mark.parametrize(
    ("name", "machine", "libc", "target"),
    [
        ("linux-x86_64", "x86_64", "glibc", "x86_64-linux-gnu.2.17"),
        ("linux-aarch64", "aarch64", "", "aarch64-linux-musl"),
        ("linux-riscv64", "riscv64", "glibc", None),
        ("macosx-11.0-arm64", "arm64", "", "aarch64-macos.11.0"),
        ("macosx-10.9-universal2", "x86_64", "", "x86_64-macos.10.13"),
        ("win-amd64", "ARM64", "", "x86_64-windows-gnu"),
        ("win-arm64", "ARM64", "", "aarch64-windows-gnu"),
        ("win32", "AMD64", "", None),
    ],
)
def test_the_target_is_the_platform_of_this_python(monkeypatch, name, machine, libc, target):
    monkeypatch.setattr(sysconfig, "get_platform", lambda: name)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    assert backend.target() == target
