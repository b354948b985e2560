# SPDX-License-Identifier: Apache-2.0
"""Runs the checks and adds them up: the linters, then pytest, one process per framework and instruction set.

In: names of suites. Out: their output, then `N passed, N failed[, N skipped]` alone on the last line; status 0 if
nothing failed and every run ran something. Which test runs where is told by its folder: files of tests/ itself
once and without a framework, on_each_isa/ once per instruction set that this machine has (and under sanitizers),
on_<framework>/ and on_each_backend/ with that framework. A linter counts as one test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
REPORTS = ROOT / "build" / "test"
BACKENDS = ("tensorflow", "jax", "torch")
LINTERS = (("ruff", "format", "--check", "."), ("ruff", "check", "."), ("mypy",))
SANITIZERS = {"address": "libasan.so", "thread": "libtsan.so"}  # the former brings undefined behaviour with it
# Most of the time of a test on JAX is XLA's, which optimizes what runs once. For the long counts it does.
QUICK = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
LIST_LEVELS = "from elman import _native; print(_native.library().elman_isas().decode())"


class Run(NamedTuple):
    """One process: a command, what it needs in its environment, and for pytest where its report goes."""

    name: str
    command: list[str]
    environment: dict[str, str]
    report: Path | None


class Count(NamedTuple):
    """What came of a run, or of several; `failures` are names."""

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
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-ra",
        f"--junitxml={report.relative_to(ROOT)}",
        *(files or ["no_such_test"]),
    ]
    return Run(name, command, environment, report)


def isa_runs(prefix: str = "", under: dict[str, str] | None = None) -> list[Run]:
    """A run for each instruction set that the installed library has and this machine can run, in an environment."""
    command = [sys.executable, "-c", LIST_LEVELS]
    listed = subprocess.run(command, env=environment({}), cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        return [Run("elman's native library opens", command, {}, None)]  # fails once more, and says why
    levels = listed.stdout.strip().split(",")
    here = [TESTS / "on_each_isa"]
    return [pytest_run(prefix + level, here, {"ELMAN_ISA": level} | (under or {})) for level in levels]


def sanitized_runs(name: str) -> list[Run]:
    """The same runs on a library that was built with a sanitizer, in build/<name>/site."""
    compiler = os.environ.get("CXX", "c++")
    print_name = [compiler, f"-print-file-name={SANITIZERS[name]}"]
    runtime = subprocess.run(print_name, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    under = {
        "LD_PRELOAD": runtime,
        "PYTHONPATH": str(ROOT / "build" / name / "site"),
        "PYTHONMALLOC": "malloc",  # so that the sanitizer sees every array's bounds
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps what it has until it ends
        "TSAN_OPTIONS": "die_after_fork=0",
        "OPENBLAS_NUM_THREADS": "1",
        "ELMAN_EVALUATE": "",  # a sanitizer costs ten times the time, and sees as much in the small counts
    }
    runs = isa_runs(f"{name}_", under)
    if name == "address":
        return runs
    # ThreadSanitizer wants its shadow memory where the randomized layout of a process may have put a library. What
    # threads share is the same at every level.
    return [runs[-1]._replace(command=["setarch", "-R", *runs[-1].command])]


def suite(name: str) -> list[Run]:
    """The runs that a name stands for."""
    if name == "lint":
        return [Run(" ".join(linter), [sys.executable, "-m", *linter], {}, None) for linter in LINTERS]
    if name == "numpy":
        return [pytest_run(name, sorted(TESTS.glob("test_*.py")), {})]
    if name == "isa":
        return isa_runs()
    if name in SANITIZERS:
        return sanitized_runs(name)
    if name in BACKENDS:
        folders = {f"{name}_layers": TESTS / "on_each_backend", name: TESTS / f"on_{name}"}
        return [pytest_run(run, [folder], {"KERAS_BACKEND": name}) for run, folder in folders.items()]
    raise SystemExit(f"{name!r} is no suite; expected some of lint, numpy, isa, {', '.join((*SANITIZERS, *BACKENDS))}.")


def environment(more: dict[str, str]) -> dict[str, str]:
    """This process's environment without PYTHONPATH, so that the installed wheel is tested and not src/."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {"TF_CPP_MIN_LOG_LEVEL": "2"} | kept | more


def execute(run: Run, more: dict[str, str] | None = None) -> Count:
    """Runs it, shows each line as it comes behind the run's name, keeps them in a log, and counts."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    if run.report:
        run.report.unlink(missing_ok=True)
    surroundings = environment((more or {}) | run.environment)
    log = REPORTS / f"{run.name}.log"
    with (
        log.open("w") as kept,
        subprocess.Popen(
            run.command, env=surroundings, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        for line in process.stdout:
            kept.write(line)
            print(f"{run.name}| {line}", end="", flush=True)
    status = process.returncode
    if run.report is None:
        return Count(0, (run.name,), 0) if status else Count(1, (), 0)
    written = run.report.exists()
    count = read(run.name, run.report) if written else Count(0, (), 0)
    if count.failures or (written and not status):
        return count
    # No test, a crash, an exit in the middle, or an error outside a test: such a run must not pass unseen.
    unseen = f"{run.name}: pytest ended with status {status}, {'and a' if written else 'without a'} report"
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


def main(names: list[str]) -> int:
    """Runs the suites, as many processes at a time as there are CPUs, and prints the sum."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = [run for name in names for run in suite(name)]
        count = total(list(pool.map(lambda run: execute(run, QUICK), runs)))
    print("\n" + "".join(f"failed: {failure}\n" for failure in count.failures) + str(count), flush=True)
    return 1 if count.failures or not count.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
