# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of what changed. In: a commit to compare with, HEAD if none is named. Out: pytest's output and status.

The tests of a module are the files that import it and the files that are named for it: `layers.py` has
`test_layer_errors.py`. A module without such files has the tests of the modules that import it. The tests of native/
are those of the kernel, and the tests of a page are those of all pages. Only what runs on this backend is taken. `make
test` remains the answer to whether everything works.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import collecting

ROOT = collecting.TESTS.parent
KERNEL = ("on_each_isa", "test_native_header.py")
PAGES = ("on_each_backend/test_pages.py", "test_guide.py", "test_readme.py", "test_routes_page.py")


def changed(base: str) -> list[Path]:
    """The files that differ from a commit, and the new ones, relative to the root."""
    listings = (
        ["git", "diff", "--name-only", "--diff-filter=d", base],
        ["git", "ls-files", "--others", "--exclude-standard"],
    )
    names = [subprocess.run(c, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout for c in listings]
    return [Path(line) for line in "".join(names).splitlines()]


def tests_of(path: Path, files: list[Path]) -> set[Path]:
    """Those of the test files, or folders of them, that test a changed file."""
    if path.parts[0] == "native" or path.name == "CMakeLists.txt":
        return {collecting.TESTS / name for name in KERNEL}
    if path.suffix == ".md":
        return {collecting.TESTS / name for name in PAGES}
    if path.suffix != ".py" or path.parts[0] not in ("src", "tests"):
        return set()
    module = ".".join(path.relative_to(path.parts[0]).with_suffix("").parts).removesuffix(".__init__")
    word = module.rpartition(".")[2].strip("_").removesuffix("s")
    own = {file for file in files if ROOT / path == file or word in file.stem or module in imports(file)}
    if own or path.parts[0] == "tests":
        return own
    users = [file.relative_to(ROOT) for file in (ROOT / "src").rglob("*.py") if module in imports(file)]
    return {test for user in users for test in tests_of(user, files)}


@functools.cache
def imports(file: Path) -> set[str]:
    """The modules that a file imports, in functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def main(base: str) -> int:
    """Chooses, says what was chosen, and runs it."""
    left_out = collecting.left_out(collecting.TESTS, collecting.keras_backend())
    files = [f for f in collecting.TESTS.rglob("test_*.py") if not {f, *f.parents} & left_out.keys()]
    chosen = sorted({test for path in changed(base) for test in tests_of(path, files)} - left_out.keys())
    if not chosen:
        print(f"No test belongs to what changed since {base}.")
        return 0
    return subprocess.run([sys.executable, "-m", "pytest", "-x", *map(str, chosen)], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or ["HEAD"]))
