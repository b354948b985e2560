# SPDX-License-Identifier: Apache-2.0
"""Imports run one way: each module may import those of the layers above its own in LAYERS, and its own package.

Read from the source with ast, so that imports inside functions count too.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "elman"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A new module gets a place here. `elman` is the package's own __init__.
LAYERS = (
    {"assessment", "options", "operands", "cells", "checks", "backend", "errors", "_hooks", "charts", "plain_values"},
    {"system"},
    {"files", "page", "patching", "progress", "torch_forms", "tracking"},
    {"running"},
    {"archives", "checkpoint"},
    {"reference", "_plain", "_native", "_portable"},
    {"_calls_torch", "_vmap_torch"},
    {"_operators_torch", "_plain_torch"},
    {"route", "_autograd_torch"},
    {"_numpy", "_tensorflow", "_jax", "_torch"},
    {"frameworks", "stack_torch", "state_gradient"},
    {"functional", "layer_arguments", "network", "stock_defects"},
    {"layer_states"},
    {"layer_checks"},
    {"layers"},
    {"initializers", "keras_2", "keras_rnn", "sklearn", "torch"},
    {"compiled", "layer_routes"},
    {"models", "torch_modules"},
    {"loading"},
    {"conversion"},
    {"stream"},
    {"exporting"},
    {"diagnosis"},
    {"elman"},
    {"bench", "datasets", "forecasting", "info"},
    {"claims", "comparison"},
    {"fitting"},
    {"cli"},
    {"__main__"},
)
# The same inside diagnosis/, and those of its modules that run a Keras model.
DIAGNOSIS = (
    {"__init__", "figures", "call"},
    {"gradient", "gates", "need", "pictures", "observed"},
    {"page", "verdict"},
    {"report", "observe", "losses", "on_network", "on_keras"},
    {"inputs", "horizon", "settings"},
    {"measure", "monitor", "trace"},
)
DIAGNOSIS_WITH_KERAS = {"on_keras", "monitor"}
# Loaded with Keras, or when one of their names is used.
WITH_KERAS = {
    "from_keras",
    "to_keras",
    "compiled",
    "initializers",
    "keras_2",
    "keras_rnn",
    "layer_routes",
    "layers",
    "layer_arguments",
    "layer_checks",
    "layer_states",
    "loading",
    "models",
    "run_keras",
    "torch_modules",
    "train_with_keras",
}
FRAMEWORKS = {"tensorflow": "tensorflow", "jax": "jax", "jaxlib": "jax", "torch": "torch"}


def room(path: Path) -> str:
    """`elman/bench/run.py` -> bench; `elman/route.py` -> route; `elman/__init__.py` -> elman."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "elman" if first == "__init__" else first


def layer(room: str) -> int:
    found = [i for i, rooms in enumerate(LAYERS) if room in rooms]
    assert found, f"{room} has no layer; expected it in LAYERS. Say there what it may import."
    return found[0]


def imported(tree: ast.AST) -> Iterator[str]:
    """The dotted names that a tree imports; `from elman import x` counts as elman.x."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} is a relative import; expected a full name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_at_the_top(tree: ast.Module) -> set[str]:
    """The packages that importing the module imports: not those inside a function or for a type checker only."""
    names: set[str] = set()
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update(name.partition(".")[0] for name in imported(node))
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)
    return names


ROOMS = {room(path) for path in MODULES}


@pytest.fixture(scope="module")
def trees():
    return {path: ast.parse(path.read_text()) for path in MODULES}


@pytest.mark.slow
def test_a_module_imports_only_what_is_beneath_it(trees):
    found = [sentence for path, tree in trees.items() for sentence in not_beneath(path, tree)]
    assert not found, "\n".join(found)


def not_beneath(path: Path, tree: ast.Module) -> Iterator[str]:
    """A sentence for each import of a module that is not beneath its own."""
    mine = room(path)
    beneath = {room for rooms in LAYERS[: layer(mine)] for room in rooms}
    for name in imported(tree):
        package, _, rest = name.partition(".")
        if package != "elman" or rest == "__version__":
            continue
        first = rest.partition(".")[0]
        theirs = first if first in ROOMS else "elman"  # a public name, or the package itself
        # `Network.from_keras` meets the Keras side of the package, in the one file that has it.
        converts = {"conversion"} if path == PACKAGE / "network" / "network.py" else set()
        if theirs not in beneath | {mine} | converts:
            yield f"{path.relative_to(PACKAGE)} imports {name}, which is not beneath {mine}"


def test_a_module_of_the_diagnosis_imports_only_what_is_beneath_it():
    beneath: set[str] = set()
    for modules in DIAGNOSIS:
        for name in modules:
            tree = ast.parse((PACKAGE / "diagnosis" / f"{name}.py").read_text())
            parts = [full.split(".") for full in imported(tree) if full.startswith("elman.diagnosis.")]
            assert {part[2] for part in parts} <= beneath, f"diagnosis/{name}.py imports what is not beneath it"
        beneath |= modules
    assert beneath == {path.stem for path in (PACKAGE / "diagnosis").glob("*.py")}


def test_what_the_diagnosis_computes_and_shows_needs_no_keras():
    names = sorted(set().union(*DIAGNOSIS) - DIAGNOSIS_WITH_KERAS - {"__init__", "pictures", "page"})  # with Matplotlib
    lines = "\n".join(f"import elman.diagnosis.{name}" for name in names)
    code = f"import sys\n{lines}\nprint(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"keras", "matplotlib"} & {name.partition(".")[0] for name in printed.split()}


def test_a_framework_is_imported_at_the_top_only_where_the_file_is_named_for_it(trees):
    for path, tree in trees.items():
        own = path.stem.rpartition("_")[2]
        for name in imported_at_the_top(tree):
            where = f"{path.relative_to(PACKAGE)} imports {name} at its top"
            if name == "keras":
                assert room(path) != "network", f"{where}, and a Network needs NumPy alone"
                runs_a_model = room(path) == "diagnosis" and path.stem in DIAGNOSIS_WITH_KERAS
                assert own in FRAMEWORKS or path.stem in WITH_KERAS or runs_a_model, where
            elif name in FRAMEWORKS:
                assert own == FRAMEWORKS[name], where


def test_a_file_named_for_a_framework_knows_no_other(trees):
    for path, tree in trees.items():
        own = path.stem.rpartition("_")[2]
        known = {FRAMEWORKS[name] for name in (n.partition(".")[0] for n in imported(tree)) if name in FRAMEWORKS}
        assert own not in FRAMEWORKS.values() or known <= {own}, path.relative_to(PACKAGE)


def test_nothing_private_of_keras(trees):
    for path, tree in trees.items():
        assert not [name for name in imported(tree) if name.startswith("keras.src")], path.relative_to(PACKAGE)


def test_the_reference_needs_numpy_and_records_alone():
    tree = ast.parse((PACKAGE / "reference.py").read_text())
    others = {name.partition(".")[0] for name in imported(tree)} - sys.stdlib_module_names
    assert others == {"numpy", "elman"}
    own = {name for name in imported(tree) if name.startswith("elman")}
    assert own == {"elman.cells.CELLS", "elman.operands.Operands", "elman.options.Options"}


def test_import_elman_loads_numpy_and_nothing_else():
    code = "import sys, numpy; before = set(sys.modules); import elman; print(*(set(sys.modules) - before))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    packages = {name.partition(".")[0] for name in printed.split()}
    assert packages - sys.stdlib_module_names <= {"elman", "numpy"}
    assert "elman" in packages
