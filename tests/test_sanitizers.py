# SPDX-License-Identifier: Apache-2.0
"""The native library by itself: under AddressSanitizer and UndefinedBehaviorSanitizer, under ThreadSanitizer, and with
every allocation counted. native_sanitize.cc drives it.

CMakeLists.txt builds the library and the driver, in the folders of `make sanitize`. The short run builds one
instruction set alone, without the checks of every pointer for null and alignment, and makes few of the calls. A C++
compiler is part of what these tests need: without one they fail.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from elman import _native

ROOT = Path(__file__).parents[1]
LEVELS = _native.library().elman_isas().decode().split(",")
LIMIT = 1200  # seconds after which a compiler or a driver counts as hung
FEW = "15"  # percent of the random calls of a mode
SANITIZERS = {"address": "address,undefined", "thread": "thread"}
pytestmark = [
    pytest.mark.medium,
    pytest.mark.skipif(sys.platform != "linux", reason="the sanitizers and the symbols of glibc are those of Linux"),
]


def program(name: str) -> str:
    """The path of a tool that the extra `dev` installs next to Python, or of one on the PATH."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found, f"{name} is not installed"
    return found


def driver(sanitizer: str, *, one_level: bool = False) -> Path:
    """Builds the library and its driver, for the lowest level or for all, and gives the driver's path."""
    folder = ROOT / "build" / (f"{sanitizer}_{LEVELS[0]}" if one_level else sanitizer)
    settings = [f"-DELMAN_SANITIZE={SANITIZERS[sanitizer]}", f"-DELMAN_BASELINE_ONLY={'ON' if one_level else 'OFF'}"]
    configure = [program("cmake"), "-S", ROOT, "-B", folder, *settings]
    build = [program("cmake"), "--build", folder, "--parallel", str(os.cpu_count()), "--target", "native_sanitize"]
    for command in (configure, build):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=LIMIT)
    return folder / "native_sanitize"


def assert_clean(command: list[str | Path], level: str) -> None:
    environment = {**os.environ, "ELMAN_ISA": level, "TSAN_OPTIONS": "halt_on_error=1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, f"{command} on {level}:\n{done.stdout}{done.stderr}"


def test_no_access_is_out_of_bounds_and_no_operation_undefined() -> None:
    program = driver("address", one_level=True)
    for mode in ("shapes", "streams", "concurrent", "modes"):
        assert_clean([program, mode, FEW], LEVELS[0])


@pytest.mark.large
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("mode", ["shapes", "streams", "concurrent", "modes"])
def test_the_same_at_every_level(mode: str, level: str) -> None:
    assert_clean([driver("address"), mode], level)


@pytest.mark.large
@pytest.mark.parametrize("mode", ["shapes", "concurrent"])
def test_threads_do_not_race(mode: str) -> None:
    # ThreadSanitizer needs its addresses free of what a randomized layout may have put there.
    assert_clean([program("setarch"), "-R", driver("thread"), mode], LEVELS[-1])


def test_the_number_of_allocations_does_not_depend_on_the_number_of_steps(tmp_path: Path) -> None:
    counting, library = tmp_path / "counting", _native.library_path()
    compiler = shlex.split(os.environ.get("CXX", "")) or [program("c++")]
    flags = ["-std=c++17", "-O1", "-fno-builtin", "-DELMAN_COUNT_ALLOCATIONS", f"-I{ROOT / 'native'}"]
    linked = [library, f"-Wl,-rpath,{library.parent}", "-pthread"]
    source = Path(__file__).with_name("native_sanitize.cc")
    subprocess.run([*compiler, *flags, source, *linked, "-o", counting], check=True, timeout=LIMIT)
    assert_clean([counting, "allocations"], LEVELS[-1])
