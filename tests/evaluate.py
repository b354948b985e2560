# SPDX-License-Identifier: Apache-2.0
"""The long counts, and every figure that a page quotes.

In: names of suites. Out: evidence/<step>.json, one per step, each with the command, the versions and the commit.
A step that passed on this commit, with nothing changed since, is not run again. The tests take their longest grids:
see size.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import run as checks

EVIDENCE = checks.ROOT / "evidence"
LINE = 400  # characters; one subject's times on one shape take 120
CODE = ("--", ".", ":!evidence", ":!docs/figures/claims")  # evidence stays valid after a commit of evidence alone


def execute(command: list[str], more: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a command and keeps its output; its errors are printed."""
    environment = checks.environment(more or {})
    return subprocess.run(command, cwd=checks.ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def output(command: list[str]) -> str:
    """The output of a command that must not fail."""
    done = execute(command)
    if done.returncode:
        raise SystemExit(
            f"evaluate needs `{' '.join(command[:3])}` to work, and it ended with status {done.returncode}."
        )
    return done.stdout.strip()


def commit() -> str:
    """The last commit that changed anything but evidence, followed by `+` if the tree has changed since."""
    last = output(["git", "log", "-1", "--format=%H", *CODE])
    return last + ("+" if output(["git", "status", "--porcelain", *CODE]) else "")


def counts(run: checks.Run) -> dict[str, Any]:
    """One test run as evidence."""
    count = checks.execute(run._replace(environment={"ELMAN_TEST_SIZE": "large"} | run.environment))
    return {"passed": count.passed, "failed": list(count.failures), "skipped": count.skipped}


def figures(name: str, command: list[str], more: dict[str, str] | None = None) -> dict[str, Any]:
    """The JSON that one benchmark prints, as evidence."""
    print(f"\n=== {name}", flush=True)
    done = execute(command, more)
    failed = [f"{name}: ended with status {done.returncode}"] if done.returncode else []
    return {"failed": failed, name: json.loads(done.stdout or "null")}


def rounded(value: Any) -> Any:
    """The same data with four significant digits: more are noise in a measurement, and in a change's diff."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value


def compact(value: Any, indent: str = "") -> str:
    """JSON with what fits a line on one line, so that a figure is a line."""
    line = json.dumps(value)
    if len(line) <= LINE or not isinstance(value, (dict, list)):
        return line
    inner = indent + " "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {compact(each, inner)}" for key, each in value.items()]
    else:
        items = [compact(each, inner) for each in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(items) + f"\n{indent}{closing}"


def steps(suites: list[str]) -> Iterator[tuple[str, list[str], Callable[[], dict[str, Any]]]]:
    """Name, command and work of each step; the work's result has its failures under `failed`."""
    for suite in suites:
        for run in checks.suite(suite):
            yield f"tests_{run.name}", run.command, lambda run=run: counts(run)
    fits = ("fit_table", "fit_kill", "fit_unmet", "fit_verdicts", "fit_real", "fit_time")
    own = ("operands", "import_time", *fits, "compare_known", "c_header")
    with_frameworks = ("stream", "torch_layers", "torch_programs") if set(checks.BACKENDS) <= set(suites) else ()
    for name in (*own, *with_frameworks):
        command = [sys.executable, f"benchmarks/{name}.py"]
        yield name, command, lambda name=name, command=command: figures(name, command)
    command = [sys.executable, "benchmarks/claims.py", "--pictures", "docs/figures/claims"]
    yield "claims", command, lambda command=command: figures("claims", command)
    for backend in (suite for suite in suites if suite in checks.BACKENDS):
        more = {"KERAS_BACKEND": backend}
        for name in ("diagnose_trained", "diagnose_advice"):
            command = [sys.executable, f"benchmarks/{name}.py"]
            yield (
                f"{name}_{backend}",
                command,
                lambda name=name, more=more, command=command: figures(name, command, more),
            )
    if "zig" in suites:
        command = [sys.executable, "benchmarks/compilers.py", "build/zig/site/elman/libelman.so"]
        yield "compilers", command, lambda command=command: figures("compilers", command)
    for cell in ("simple_rnn", "lstm", "gru"):
        name = f"bench_{cell}"
        command = [sys.executable, "-m", "elman.cli", "bench", "--cell", cell, "--json"]
        yield name, command, lambda name=name, command=command: figures(name, command)
    command = [sys.executable, "-m", "elman.cli", "bench", "--train", "--json"]
    yield "bench_train", command, lambda: figures("bench_train", command)


def main(suites: list[str]) -> int:
    """Runs the steps that are missing, and prints the failures."""
    EVIDENCE.mkdir(exist_ok=True)
    at = commit()
    versions = json.loads(output([sys.executable, "-m", "elman.cli", "info", "--json"]))
    failed = []
    for name, command, work in steps(suites):
        path = EVIDENCE / f"{name}.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        if not at.endswith("+") and known.get("commit") == at and not known["result"]["failed"]:
            print(f"{path.relative_to(checks.ROOT)}: has this commit")
            continue
        start = time.monotonic()
        result = work()
        seconds = round(time.monotonic() - start, 1)
        shown = ["python", *command[1:]]
        evidence = {"commit": at, "command": shown, "seconds": seconds, "result": result, "info": versions}
        path.write_text(compact(rounded(evidence)) + "\n")
        failed += result["failed"]
    print("\n" + "".join(f"failed: {failure}\n" for failure in failed) + f"{len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
