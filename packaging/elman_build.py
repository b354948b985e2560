# SPDX-License-Identifier: Apache-2.0
"""The build backend: scikit-build-core, and Zig's C++ compiler on a machine that has none.

In: the hooks that pip calls (PEP 517, PEP 660). Out: the same as scikit-build-core's. If a wheel needs the native
library and no C++17 compiler works here, PyPI's `ziglang` becomes a requirement of the build, and CMake compiles with
it. A compiler that the user names, in CXX or in a setting of CMake, is used as it is: if it fails, the build fails.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zlib
from pathlib import Path

from scikit_build_core import build

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = dict[str, str | list[str]]

ZIG = "ziglang==0.17.1"  # a toolchain that changes from version to version: this one is tested
TOOLCHAIN = Path(__file__).with_name("zig.cmake")
COMPILERS = ("c++", "g++", "clang++")
MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
PROBE = """
#if defined(__clang__) ? __clang_major__ < 12 : __GNUC__ < 11
#error "older than the sources allow"
#endif
#include <optional>
#include <thread>
typedef float Vector __attribute__((vector_size(16)));
int main() {
  std::optional<Vector> sum = Vector{};
  std::thread([&] { *sum += 1; }).join();
  return int((*sum)[0]) - 1;
}
"""

build_sdist = build.build_sdist
get_requires_for_build_sdist = build.get_requires_for_build_sdist
prepare_metadata_for_build_editable = build.prepare_metadata_for_build_editable
prepare_metadata_for_build_wheel = build.prepare_metadata_for_build_wheel


def get_requires_for_build_wheel(config_settings: Settings | None = None) -> list[str]:
    """What pip installs before it builds a wheel."""
    return build.get_requires_for_build_wheel(config_settings) + zig_requirement(config_settings)


def get_requires_for_build_editable(config_settings: Settings | None = None) -> list[str]:
    """What pip installs before it makes an editable install."""
    return build.get_requires_for_build_editable(config_settings) + zig_requirement(config_settings)


def build_wheel(folder: str, config_settings: Settings | None = None, metadata_folder: str | None = None) -> str:
    """Builds a wheel and returns the name of its file."""
    return build.build_wheel(folder, with_compiler(config_settings), metadata_folder)


def build_editable(folder: str, config_settings: Settings | None = None, metadata_folder: str | None = None) -> str:
    """Builds the wheel of an editable install and returns the name of its file."""
    return build.build_editable(folder, with_compiler(config_settings), metadata_folder)


def zig_requirement(config_settings: Settings | None) -> list[str]:
    """Zig, if no compiler is named and none works, and Zig has this platform."""
    return [ZIG] if not is_decided(config_settings) and not working_compiler() and target() else []


def with_compiler(config_settings: Settings | None) -> Settings:
    """The settings of a build with the compiler that works here, which is Zig's if there is no other.

    Without any, CMake reports it.
    """
    given = config_settings or {}
    if is_decided(given):
        return own_folder() | given
    if compiler := working_compiler():
        os.environ["CXX"] = compiler
    elif target() and importlib.util.find_spec("ziglang"):
        os.environ.setdefault("ZIG_GLOBAL_CACHE_DIR", str(Path("build", "zig").absolute()))
        return {"build-dir": "build/zig/{wheel_tag}"} | zig_settings(target()) | given
    return own_folder() | given


def own_folder() -> Settings:
    """A build folder for this compiler and these flags, which CMake reads once and then keeps in the folder."""
    told = " ".join(os.environ.get(name, "") for name in ("CXX", "CXXFLAGS", "LDFLAGS"))
    return {"build-dir": f"build/{zlib.crc32(told.encode()):08x}/{{wheel_tag}}"}


def zig_settings(target: str) -> Settings:
    """Settings of a build with Zig for a target, as Zig names it."""
    import ziglang  # a requirement of the build only where it is used

    program = Path(ziglang.__file__).with_name("zig.exe" if sys.platform == "win32" else "zig")
    return {
        "cmake.define.CMAKE_TOOLCHAIN_FILE": TOOLCHAIN.as_posix(),
        "cmake.define.ELMAN_ZIG": program.as_posix(),
        "cmake.define.ELMAN_TARGET": target,
        "install.strip": "false",  # the toolchain does it: a machine without a compiler may lack `strip` as well
    }


def cmake_options() -> str:
    """The options of CMake for a build with Zig, without this backend, for this platform."""
    settings = zig_settings(target() or "an unknown target").items()
    return " ".join(f"-D{key.removeprefix('cmake.define.')}={value}" for key, value in settings if "define" in key)


def is_decided(config_settings: Settings | None) -> bool:
    """Whether no library is to be built, or the user names its compiler."""
    named = ("CMAKE_CXX_COMPILER", "CMAKE_TOOLCHAIN_FILE")
    variables = ("CXX", "CMAKE_TOOLCHAIN_FILE")
    lists = ("CMAKE_ARGS", "SKBUILD_CMAKE_ARGS", "SKBUILD_CMAKE_DEFINE")
    said = f"{config_settings} {[os.environ.get(name) for name in lists]}"
    return (
        os.environ.get("ELMAN_NATIVE") == "0"
        or any(os.environ.get(name) for name in variables)
        or any(name in said for name in named)
    )


def working_compiler() -> str | None:
    """The first C++ compiler on PATH that builds a program of the kind that elman is, or `None`."""
    found = filter(None, map(shutil.which, COMPILERS))
    return next((compiler for compiler in found if builds(compiler)), None)


def builds(compiler: str) -> bool:
    """Whether a compiler builds the probe: the command alone may be a stub, or lack its headers or its linker."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.cc")
        source.write_text(PROBE, encoding="utf-8")
        command = [compiler, "-std=c++17", "-pthread", str(source), "-o", str(source.with_suffix(".out"))]
        try:
            return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
        except OSError:  # a program of another processor, or a script whose interpreter is missing
            return False


def target() -> str | None:
    """Zig's name of this platform with the oldest C library that a wheel may ask for; `None` if it is another."""
    name = sysconfig.get_platform()  # of this Python, which may run under emulation
    machine = platform.machine() if name.endswith("universal2") else name.rpartition("-")[2]
    architecture = MACHINES.get(machine.lower())
    if architecture is None or sys.maxsize < 2**32:
        return None
    if name.startswith("linux"):
        return f"{architecture}-linux-gnu.2.17" if platform.libc_ver()[0] == "glibc" else f"{architecture}-linux-musl"
    if name.startswith("macosx"):
        return f"{architecture}-macos.{'11.0' if architecture == 'aarch64' else '10.13'}"
    return f"{architecture}-windows-gnu" if name.startswith("win") else None


if __name__ == "__main__":
    print(cmake_options())
