# SPDX-License-Identifier: Apache-2.0
"""Runs the checks and adds them up: pytest, one process per framework, and the linters.

In: names of suites. Out: each line of their output as it comes, after the name of the run and in build/test/<run>.log;
then `N passed, N failed[, N skipped]` alone on the last line. The status is 0 if nothing failed and every run ran
something. The folder of a test decides where it runs: files of tests/ itself once and without a framework,
on_each_isa/ once, and again under sanitizers, on_<framework>/ and
on_each_backend/ with that framework. A linter counts as one test.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
REPORTS = ROOT / "build" / "test"
BACKENDS = ("tensorflow", "jax", "torch")
LINTERS = (("ruff", "format", "--check", "."), ("ruff", "check", "."), ("mypy",))
FORMAT_CPP = ("clang-format", "--dry-run", "-Werror")
SANITIZERS = {"address": "libasan.so", "thread": "libtsan.so"}  # the first build has the undefined sanitizer as well
# With one run per CPU at a time there is no CPU for more threads, which would wait for one another in busy loops. The
# threads of elman itself are not limited.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
PRINTING = threading.Lock()
QUICKEST_FIRST = ("torch", "tensorflow", "jax")  # tests marked `once` run on the first of these that is tested
LONGEST_FIRST = ("jax_layers", "numpy", "jax", "tensorflow_layers", "torch", "isa", "torch_layers", "tensorflow")


class Run(NamedTuple):
    """One process: a command, what it needs in its environment, and the path of pytest's report."""

    name: str
    command: list[str]
    environment: dict[str, str]
    report: Path | None


class Count(NamedTuple):
    """The result of a run, or of several; `failures` are names."""

    passed: int
    failures: tuple[str, ...]
    skipped: int

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {len(self.failures)} failed{skipped}"


def pytest_run(name: str, paths: list[Path], environment: dict[str, str]) -> Run:
    """One pytest process over the files that exist among `paths`."""
    report = REPORTS / f"{name}.xml"
    files = [str(path.relative_to(ROOT)) for path in paths if path.exists()] or ["no_such_test"]
    options = ["-ra", "--durations=25", f"--junitxml={report.relative_to(ROOT)}"]
    return Run(name, [sys.executable, "-m", "pytest", *options, *files], ONE_THREAD | environment, report)


def isa_run(prefix: str, under: dict[str, str]) -> Run:
    """The kernel's tests, in one process for all instruction sets that this machine can run."""
    return pytest_run(f"{prefix}isa", [TESTS / "on_each_isa"], under)


def other_build(name: str) -> dict[str, str]:
    """The environment that tests the library of build/<name>/site, at medium size.

    A sanitizer takes ten times the time, and finds as much in the shorter grids.
    """
    return {"PYTHONPATH": str(ROOT / "build" / name / "site"), "ELMAN_TEST_SIZE": "medium"}


def sanitized_runs(name: str) -> list[Run]:
    """The kernel's tests on a library that was built with a sanitizer."""
    compiler = os.environ.get("CXX", "c++")
    print_name = [compiler, f"-print-file-name={SANITIZERS[name]}"]
    runtime = subprocess.run(print_name, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    under = other_build(name) | {
        "LD_PRELOAD": runtime,
        "PYTHONMALLOC": "malloc",  # so that the sanitizer knows the bounds of every array
        "ASAN_OPTIONS": "detect_leaks=0",  # Python frees little before it ends
        "TSAN_OPTIONS": "die_after_fork=0",
    }
    if name == "address":
        return [isa_run(f"{name}_", under)]
    # ThreadSanitizer needs addresses that a randomized layout may give to a library. One level is enough: what threads
    # share is the same at every level.
    run = isa_run(f"{name}_", under | {"ELMAN_TEST_ISA": "widest"})
    return [run._replace(command=["setarch", "-R", *run.command])]


def clang_runs() -> list[Run]:
    """The whole suite on a library that Clang built."""
    backends = filter(importlib.util.find_spec, BACKENDS)
    return [run for name in ("isa", "numpy", *backends) for run in suite(name, "clang_", other_build("clang"))]


def zig_runs() -> list[Run]:
    """The kernel's tests on the library that a machine without a compiler gets."""
    return suite("isa", "zig_", other_build("zig"))


def linters() -> list[Run]:
    """A run per tool, each from the environment of this Python."""
    folder = Path(sys.executable).parent
    sources = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("*/*") if path.suffix in (".cc", ".h"))
    commands = [*LINTERS, (*FORMAT_CPP, *sources)]
    return [Run("_".join(command[:2]), [str(folder / command[0]), *command[1:]], {}, None) for command in commands]


def suite(name: str, prefix: str = "", under: dict[str, str] | None = None) -> list[Run]:
    """The runs of a suite, their names with this prefix, in this environment."""
    under = under or {}
    if name == "numpy":
        return [pytest_run(prefix + name, sorted(TESTS.glob("test_*.py")), under)]
    if name == "isa":
        return [isa_run(prefix, under)]
    if name in BACKENDS:
        folders = {f"{prefix}{name}_layers": TESTS / "on_each_backend", prefix + name: TESTS / f"on_{name}"}
        return [pytest_run(run, [folder], {"KERAS_BACKEND": name} | under) for run, folder in folders.items()]
    if name in SANITIZERS:
        return sanitized_runs(name)
    others = {"lint": linters, "clang": clang_runs, "zig": zig_runs}
    if name not in others:
        names = ("numpy", "isa", *BACKENDS, *SANITIZERS, *others)
        raise SystemExit(f"{name!r} is not a suite; expected some of {', '.join(names)}.")
    return others[name]()


def environment(more: dict[str, str]) -> dict[str, str]:
    """The environment of this process without PYTHONPATH, so that the installed wheel is tested and not src/."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {"TF_CPP_MIN_LOG_LEVEL": "2"} | kept | more


def show(line: str) -> None:
    """Prints a line whole: runs print next to each other, and `print` writes a line and its end one after the other."""
    with PRINTING:
        print(line, flush=True)


def execute(run: Run) -> Count:
    """Runs it, shows each line as it comes, keeps the lines in a log, and counts."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    if run.report:
        run.report.unlink(missing_ok=True)
    show(f"=== {run.name}: starts")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    log = (REPORTS / f"{run.name}.log").open("w")
    with log, subprocess.Popen(run.command, env=environment(run.environment), cwd=ROOT, **pipes) as process:
        for line in process.stdout:
            log.write(line)
            show(f"{run.name}| {line.rstrip()}")
    if run.report is None:
        return Count(0, (run.name,), 0) if process.returncode else Count(1, (), 0)
    written = run.report.exists()
    count = read(run.name, run.report) if written else Count(0, (), 0)
    if count.failures or (written and not process.returncode):
        return count
    # No test, a crash, an exit in the middle or an error outside a test is a failure.
    unseen = f"{run.name}: pytest ended with status {process.returncode}, {'and a' if written else 'without a'} report"
    return count._replace(failures=(unseen,))


def read(name: str, report: Path) -> Count:
    """Counts a JUnit report."""
    passed, skipped, failures = 0, 0, []
    for case in ElementTree.parse(report).iter("testcase"):
        outcomes = {element.tag for element in case}
        if outcomes & {"failure", "error"}:
            failures.append(f"{name}: {case.get('classname')}.{case.get('name')}")
        elif "skipped" in outcomes:
            skipped += 1
        else:
            passed += 1
    return Count(passed, tuple(failures), skipped)


def total(counts: list[Count]) -> Count:
    """The sum."""
    return Count(
        sum(count.passed for count in counts),
        tuple(failure for count in counts for failure in count.failures),
        sum(count.skipped for count in counts),
    )


def place(run: Run) -> int:
    """The place of a run in the order of their starts: the longest first, so that none is alone at the end."""
    return LONGEST_FIRST.index(run.name) if run.name in LONGEST_FIRST else len(LONGEST_FIRST)


def main(names: list[str]) -> int:
    """Runs the suites, one process per CPU at a time, and prints the sum."""
    under = {"ELMAN_TEST_BACKENDS": " ".join(name for name in QUICKEST_FIRST if name in names)}
    runs = sorted((run for name in names for run in suite(name, under=under)), key=place)
    counts = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        started = {pool.submit(execute, run): run for run in runs}
        for done in as_completed(started):
            counts.append(done.result())
            show(f"=== {started[done].name}: {counts[-1]}; {len(runs) - len(counts)} of {len(runs)} to end")
    count = total(counts)
    show("\n" + "".join(f"failed: {failure}\n" for failure in count.failures) + str(count))
    return 1 if count.failures or not count.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
