# SPDX-License-Identifier: Apache-2.0
"""Which files of the tests run in this process. In: the folder of tests, the backend, what is installed. Out: the paths
to leave out, each with the reason.

Keras has one backend per process, so on_each_backend/ and on_<framework>/ run on that one. A file that imports a module
at its top is left out where that module is not installed. A path on the command line is collected in any case.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from elman import backend

if TYPE_CHECKING:
    import pytest

TESTS = Path(__file__).parent
EACH = "on_each_backend"
# Of ten cases that run on one backend, how many each takes: a case on JAX, which compiles it, takes five times as long.
SHARES = {"torch": 6, "tensorflow": 3, "jax": 1}


def keras_backend() -> str | None:
    """The backend that Keras runs in this process, chosen as `import elman` chooses it; None without Keras."""
    backend.choose()
    return (os.environ.get("KERAS_BACKEND") or backend._configured()) if is_installed("keras") else None


def is_installed(name: str) -> bool:
    """Whether a module can be imported, or a program of this name is on the PATH."""
    return importlib.util.find_spec(name) is not None or shutil.which(name) is not None


def left_out(folder: Path, chosen: str | None) -> dict[Path, str]:
    """The folders and files that cannot run here, with the reason."""
    reasons = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name.startswith("on_"):
            reason = not_here(path.name.removeprefix("on_"), chosen)
            reasons |= {path: reason} if reason else left_out(path, chosen)
        elif path.match("test_*.py") and (missing := missing_imports(path)):
            reasons[path] = f"needs {', '.join(missing)}"
    return reasons


def not_here(kind: str, chosen: str | None) -> str | None:
    """Why on_<kind>/ does not run on this backend."""
    if kind == "each_backend" and chosen not in backend.BACKENDS:
        return f"Keras's backend is {chosen}" if chosen else "needs Keras"
    if kind in backend.BACKENDS and kind != chosen:
        return f"KERAS_BACKEND is {chosen}" if is_installed(kind) else f"needs {kind}"
    return None


def few(items: list[pytest.Item], most: int) -> list[pytest.Item]:
    """The items with at most so many cases of each test, evenly spread over its cases."""
    kept = {id(cases[i * len(cases) // most]) for cases in cases_of(items) for i in range(most)}
    return [item for item in items if id(item) in kept]


def at_most(items: list[pytest.Item]) -> list[pytest.Item]:
    """The items with at most so many cases of each test as its mark `at_most` says."""
    kept = set()
    for cases in cases_of(items):
        mark = cases[0].get_closest_marker("at_most")
        # The first, and a fixed choice of the others that mixes the parameters of a product.
        chosen = [cases[0], *sorted(cases[1:], key=lambda item: zlib.crc32(item.name.encode()))]
        kept |= {id(item) for item in (chosen[: mark.args[0]] if mark else cases)}
    return [item for item in items if id(item) in kept]


def share(items: list[pytest.Item], chosen: str | None, tested: list[str]) -> list[pytest.Item]:
    """The items that one of several tested backends runs, so that together they run every case.

    Of a test in on_each_backend/ the first case runs on every backend and each other case on one. A test that is marked
    `shared` has no case on every backend, and one that is marked `once` runs on the first backend.
    """
    left = set()
    for cases in cases_of(items):
        for i, item in enumerate(cases):
            shared = bool(item.get_closest_marker("shared")) or (i > 0 and item.path.parent.name == EACH)
            if item.get_closest_marker("once"):
                left |= {id(item)} if tested[0] != chosen else set()
            elif shared and one_of(tested, item.name) != chosen:
                left.add(id(item))
    return [item for item in items if id(item) not in left]


def one_of(tested: list[str], name: str) -> str:
    """The backend for a case: a fixed choice that mixes the parameters, in proportion to SHARES."""
    places = [backend for backend in tested for _ in range(SHARES[backend])]
    return places[zlib.crc32(name.encode()) % len(places)]


def cases_of(items: list[pytest.Item]) -> list[list[pytest.Item]]:
    """The items of each test, in their order."""
    cases: dict[tuple[str, str], list[pytest.Item]] = {}
    for item in items:
        cases.setdefault((item.nodeid.rpartition("::")[0], getattr(item, "originalname", item.name)), []).append(item)
    return list(cases.values())


def missing_imports(path: Path) -> list[str]:
    """The modules that a file imports at its top and that are not installed."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return sorted(name for name in names if importlib.util.find_spec(name) is None)
