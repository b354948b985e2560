# SPDX-License-Identifier: Apache-2.0
"""The native library by itself under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer, and with
every allocation counted: native_sanitize.cc drives it, at the widest instruction set that this machine has, and the
first of them at every one if ELMAN_EVALUATE is set.

Sources and flags are those of CMakeLists.txt. A compiler is part of what these tests need: without one they fail.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from elman import _native

ROOT = Path(__file__).parents[1]
DRIVER = Path(__file__).with_name("native_sanitize.cc")
LEVELS = _native.library().elman_isas().decode().split(",")
WRAPPED = ("malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "mmap")
LIMIT = 600  # seconds until a compiler or a driver counts as hung


class Build(NamedTuple):
    """How the driver is built, and the levels that these flags go to; the others are there to link.

    With the first the optimizer takes three times as long to compile as the driver then saves.
    """

    flags: tuple[str, ...]
    levels: list[str]


BUILDS = {
    "address": Build(
        ("-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
        LEVELS if os.environ.get("ELMAN_EVALUATE") else LEVELS[-1:],
    ),
    "thread": Build(("-O1", "-g1", "-fsanitize=thread"), LEVELS[-1:]),
    "allocations": Build(
        ("-O1", "-DELMAN_COUNT_ALLOCATIONS", "-fno-builtin", *(f"-Wl,--wrap={name}" for name in WRAPPED)), LEVELS[-1:]
    ),
}


def recipe() -> tuple[dict[str, list[str]], list[str], list[str]]:
    """Of CMakeLists.txt: the flags of each level, the sources compiled per level, and those compiled once."""
    settings = re.findall(r"^\s*set\((\w+) ([^)]*)\)", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)
    lists = {name: value.split() for name, value in reversed(settings)}
    known = next(levels for name, value in settings if name == "levels" and set(LEVELS) <= set(levels := value.split()))
    return {level: lists.get(f"{level}_flags", []) for level in known}, lists["per_level"], lists["once"]


def compiler() -> str:
    names = [os.environ.get("CXX"), "g++", "clang++", "c++"]
    found = [path for name in names if name and (path := shutil.which(name))]
    assert found, "no C++ compiler; install g++ or clang++"
    return found[0]


def build(name: str, folder: Path) -> Path:
    """Compiles every source at once, and links."""
    flags, sanitized = BUILDS[name]
    levels, per_level, once = recipe()
    common = [compiler(), "-std=c++17", "-ffp-contract=fast", f"-I{ROOT / 'native'}", '-DELMAN_VERSION="0"']
    jobs = [(ROOT / source, flags) for source in once] + [(DRIVER, flags)]
    for level, set_flags in levels.items():
        own = flags if level in sanitized else ("-O0",)
        jobs += [(ROOT / source, (*own, *set_flags, f"-DELMAN_LEVEL={level}")) for source in per_level]
    objects = [folder / f"{i}.o" for i in range(len(jobs))]
    running = [
        subprocess.Popen([*common, *own, "-c", source, "-o", to])
        for (source, own), to in zip(jobs, objects, strict=True)
    ]
    assert [process.wait(LIMIT) for process in running] == [0] * len(jobs)
    subprocess.run([compiler(), *flags, *objects, "-o", folder / name, "-pthread", "-ldl"], check=True, timeout=LIMIT)
    return folder / name


@pytest.fixture(scope="module", params=BUILDS)
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, build(request.param, tmp_path_factory.mktemp(request.param))


MODES = {
    "address": ("shapes", "concurrent", "modes"),
    "thread": ("shapes", "concurrent"),
    "allocations": ("allocations",),
}


def test_the_driver_ends_clean(driver: tuple[str, Path]) -> None:
    name, program = driver
    for level in BUILDS[name].levels:
        for mode in MODES[name]:
            done = subprocess.run(
                [program, mode],
                env={**os.environ, "ELMAN_ISA": level, "TSAN_OPTIONS": "halt_on_error=1"},
                capture_output=True,
                text=True,
                timeout=LIMIT,
            )
            assert done.returncode == 0, f"{mode} on {level}:\n{done.stdout}{done.stderr}"
