# SPDX-License-Identifier: Apache-2.0
"""A cell is added to a copy of the project by the list in CONTRIBUTING.md, built for one instruction set, and compared
with its own reference, forward and backward.

The cell is the update gate RNN (Collins, Sohl-Dickstein and Sussillo 2017, "Capacity and Trainability in Recurrent
Neural Networks"): g = gate(x W + h U + b), n = activation(likewise), h_t = g h_{t-1} + (1 - g) n.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from test_sanitizers import LIMIT, program

pytestmark = pytest.mark.medium
ROOT = Path(__file__).parents[1]

# By file: pairs of a text that the file has once, and what is put before it.
ADDED: dict[str, list[tuple[str, str]]] = {
    "src/elman/cells.py": [
        (
            "    )\n}\nBY_KERAS",
            '        Cell("ugrnn", 3, ("g", "n"), "n", ("h",), tape=("before_h", "g", "n"), interpolates=True),\n',
        )
    ],
    "src/elman/reference.py": [
        (
            "class Step(NamedTuple):",
            """def _ugrnn_step(
    x: Array, states: States, weights: Weights, dropout: Sequence[Array], options: Options
) -> tuple[States, Any]:
    activation, gate = _values(options)
    (h,) = states
    x_in, h_in = _for_each_gate(x, dropout[0], 2), _for_each_gate(h, dropout[1], 2)
    z_g, z_n = _input_sums(x_in, weights) + h_in @ _by_gate(weights.recurrent_kernel, 2)
    g, n = gate(z_g), activation(z_n)
    return (g * h + (1 - g) * n,), (x_in, h_in, h, g, n)


def _ugrnn_step_back(
    dstates: States, tape: Any, weights: Weights, dropout: Sequence[Array], options: Options
) -> tuple[Array, States, Weights]:
    (dh,) = dstates
    x_in, h_in, h, g, n = tape
    slope, gate_slope = _slopes(options)
    dz = np.stack([dh * (h - n) * gate_slope(g), dh * (1 - g) * slope(n)])
    dx, dbefore, dweights = _sums_back(dz, dz, x_in, h_in, weights, dropout)
    return dx, (dbefore + dh * g,), dweights


""",
        ),
        ('    "lstm": Step(', '    "ugrnn": Step(_ugrnn_step, _ugrnn_step_back),\n'),
    ],
    "src/elman/_plain.py": [
        (
            "STEPS = {",
            """def ugrnn_step(x, states, weights, dropout, ops, options):
    (h,), (kernel, recurrent_kernel, bias) = states, weights
    activation, gate = _functions(ops, options)
    inputs = _sums(_products(x, kernel, dropout[0], 2, ops), bias, ops)
    z_g, z_n = (a + u for a, u in zip(inputs, _products(h, recurrent_kernel, dropout[1], 2, ops), strict=True))
    g = gate(z_g)
    return (g * h + (1 - g) * activation(z_n),)


""",
        ),
        ('"lstm": lstm_step', '"ugrnn": ugrnn_step, '),
    ],
    "src/elman/functional.py": [
        (
            "for _name in CELLS:",
            """def ugrnn(x, kernel, recurrent_kernel, bias=None, initial_state=None):
    options = ("ugrnn", "tanh", "sigmoid", False, False, True, None, None, True)
    states = () if initial_state is None else (initial_state,)
    y, (h,) = _run(options, "require", (x, kernel, recurrent_kernel, bias, states, None, None, None), None, None)
    return y, h


""",
        )
    ],
    "src/elman/__init__.py": [
        ("from elman.functional import", "from elman.functional import ugrnn\n"),
        ('    "simple_rnn",', '    "ugrnn",\n'),
    ],
    "src/elman/__init__.pyi": [
        ("from elman.functional import simple_rnn", "from elman.functional import ugrnn as ugrnn\n"),
        ('    "simple_rnn",', '    "ugrnn",\n'),
    ],
    "native/elman.h": [(" };\nenum elman_dtype", ", ELMAN_UGRNN = 3")],
    "native/cells.h": [
        (
            "}  // namespace ELMAN_LEVEL",
            """// h_t = g h_{t-1} + (1 - g) n.  Blocks g n; tape g n, and h where y does not have it
struct Ugrnn : CellTraits {
  static constexpr int kGates = 2, kStateColumn = 2;
  static constexpr bool kPassesGradient = true;

  template <int kPhase, class F, class T>
  static ELMAN_INLINE void step(const F& f, const Row<T>& row, int64_t width) {
    for_vectors<T>(width, [&](int64_t j, int64_t n) {
      const Vector<T> g = activate<T>(f.gate, load(row.z + j));
      const Vector<T> candidate = activate<T>(f.activation, load(row.z + row.block + j));
      const Vector<T> h = fma(g, load(row.state + j), (T(1) - g) * candidate);
      row.keep(0, j, g, n);
      row.keep(1, j, candidate, n);
      store(row.state + j, h);
      row.put(j, h, n);
    });
  }

  template <class F, class T>
  static ELMAN_INLINE void step_back(const F& f, const RowBack<T>& row) {
    for_vectors<T>(row.units, [&](int64_t j, int64_t n) {
      const Vector<T> g = row.kept(0, j, n), candidate = row.kept(1, j, n), dh = load(row.dh + j);
      store(row.dz + j, times_slope<T>(f.gate, dh * (row.or_zero(row.before, j, n) - candidate), g));
      store(row.dz + row.block + j, times_slope<T>(f.activation, dh * (T(1) - g), candidate));
      store(row.dh + j, dh * g);
    });
  }
};

""",
        )
    ],
    "native/cell_table.h": [('  ROW(Lstm, "lstm"', '  ROW(Ugrnn, "ugrnn", ELMAN_UGRNN, 0, 2, 1, 1, 2, 3) \\\n')],
}
CHECK = """
import numpy as np
import cases, elman, tolerance
from elman import _plain, reference
from elman.cells import CELLS

SHAPES = [(3, 4, 2, 5), (2, 5, 3, 17), (9, 3, 8, 32)]
found = [case for case in cases.grid(SHAPES * len(cases.COVERING)) if case.options.cell == "ugrnn"]
assert len(found) > 20
for case in found:
    truth = cases.by_reference(case, np.longdouble)
    for name, got in cases.by_native(case, np.float64).items():
        tolerance.assert_float64(got, truth[name], f"{case}: {name}")

choice = {"cell": "ugrnn", "initial_state": True}
case = cases.make((2, 3, 2, 3), choice).astype(np.longdouble)
gradients = cases.by_reference(case, np.longdouble)
loss = lambda case: case.loss(*reference.forward(*case.operands, options=case.options)[:2])
for gradient, operand in cases.OPERANDS.items():
    if getattr(case, operand) is not None:
        quotients = cases.difference_quotients(loss, case, operand, 2**-14)
        assert np.abs(quotients - gradients[gradient]).max() < 1e-12, gradient

class Ops:
    activation = staticmethod(lambda name: reference.ACTIVATIONS[name].value)
    split = staticmethod(lambda x, parts: np.split(x, parts, axis=-1))

weights = (case.kernel, case.recurrent_kernel, case.bias)
(h,) = _plain.STEPS["ugrnn"](case.x[:, 0], case.initial_states, weights, (None, None), Ops(), case.options)
assert np.abs(h - reference.forward(*case.operands, options=case.options)[0][:, 0]).max() < 1e-15

case = cases.make((2, 3, 2, 3), choice)
y, _ = elman.ugrnn(*case.operands[:4], case.initial_state)
assert y.tobytes() == cases.by_native(case, np.float32)["y"].tobytes()
print("checked", list(CELLS))
"""


def test_the_list_in_contributing_names_the_files() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    steps, _, _ = text.partition("## Adding a cell")[2].partition("If Keras has the cell")
    assert set(re.findall(r"`((?:src|native)/[\w./]+)`", steps)) == set(ADDED)


def test_a_cell_that_is_added_by_the_list_runs_natively(tmp_path: Path) -> None:
    for name in ("src/elman", "native"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    build_file = (ROOT / "CMakeLists.txt").read_text()
    assert build_file.count("set(optimize -O3)") == 1
    (tmp_path / "CMakeLists.txt").write_text(build_file.replace("set(optimize -O3)", "set(optimize -O0)"))
    for name, additions in ADDED.items():
        text = (tmp_path / name).read_text()
        for anchor, addition in additions:
            assert text.count(anchor) == 1, f"{name} has {anchor!r} {text.count(anchor)} times"
            text = text.replace(anchor, addition + anchor)
        (tmp_path / name).write_text(text)
    build = tmp_path / "build"
    configure = [program("cmake"), "-S", tmp_path, "-B", build, "-DELMAN_BASELINE_ONLY=ON", "-DCMAKE_BUILD_TYPE=Debug"]
    make = [program("cmake"), "--build", build, "--parallel", str(os.cpu_count()), "--target", "elman"]
    for command in (configure, make):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=LIMIT)
    (library,) = build.glob("libelman.*")
    shutil.copy(library, tmp_path / "src/elman")
    path = os.pathsep.join([str(tmp_path / "src"), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": path, "ELMAN_ISA": ""}
    done = subprocess.run([sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("checked ['simple_rnn', 'lstm', 'gru', 'ugrnn']")
