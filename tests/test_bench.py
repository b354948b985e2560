# SPDX-License-Identifier: Apache-2.0
"""`elman bench`: its arithmetic, its refusals, and that a file holds what a table shows.

Most tests give the workers' answers themselves, times included. Those that start workers look at no time.
"""

from __future__ import annotations

import json
from typing import Any, Self

import numpy as np
import pytest
from typer.testing import CliRunner

import elman
from elman import _native
from elman.bench import BACKENDS, Report, Shape, bench, check, clock, parse, peers, report, run, shapes, tables, train
from elman.bench.worker import Worker
from elman.cli.app import app

SHAPE = Shape(2, 3, 2, 4)
OTHER = Shape(3, 2, 1, 5)
SECONDS = {
    "elman on numpy": 1e-6,
    "elman on numpy, 1 thread": 3e-6,
    "elman on numpy, 2 threads": 2e-6,
    "elman on tensorflow": 5e-6,
    "elman on jax": 2e-6,
    "elman on torch": 3e-6,
    "keras on tensorflow": 90e-6,
    "keras on tensorflow, jit": 12e-6,
    "keras on jax": 8e-6,
    "keras on torch": 900e-6,
    "torch.nn": 10e-6,
}


class Answers:
    """Stands in for a worker: the reference's results, and times from the table above."""

    busy = 0.0
    asked: list[tuple[str, str, tuple[Any, ...]]]
    results: dict[str, Any]  # subject -> what it returns in place of the reference's results

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def ask(self, method: str, *arguments: Any) -> Any:
        self.asked.append((self.backend, method, arguments))
        return getattr(self, method)(*arguments)

    def facts(self) -> dict[str, Any]:
        return {"versions": {self.backend: "1"}, "threads": 2, "isa": "avx2", "isas": "baseline,avx2"}

    def prepare(self, problem: shapes.Problem) -> dict[str, Any]:
        right = check.truth(problem, np.float32)
        names = [subject.name for subject in peers.SUBJECTS if subject.backend == self.backend]
        return {name: self.results.get(name, right) for name in names}

    def count(self, name: str, which: str, seconds: float) -> int:
        return 7

    def time(self, name: str, which: str, calls: int) -> tuple[float, bool]:
        return SECONDS[name], True

    def peak(self, threads: int, milliseconds: int) -> float:
        return 100.0 * threads


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> type[Answers]:
    """Every backend is installed, and its worker is an `Answers`."""
    monkeypatch.setattr(run, "Worker", Answers)
    monkeypatch.setattr(clock, "settle", lambda: True)
    monkeypatch.setattr(clock, "busy_cpus", lambda: Answers.busy)
    monkeypatch.setattr(peers, "installed", lambda backends: (list(backends), []))
    monkeypatch.setattr(Answers, "asked", [], raising=False)
    monkeypatch.setattr(Answers, "results", {}, raising=False)
    return Answers


def row(found: Report, which: str) -> dict[str, Any]:
    (only,) = [row for row in found.data["rows"] if row["pass"] == which]
    return only


# --- arithmetic ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cell", "gates"), [("simple_rnn", 1), ("lstm", 4), ("gru", 3)])
def test_flops_are_the_multiply_adds_of_the_products(cell: str, gates: int) -> None:
    for batch, time, features, units in (*shapes.DEFAULT, SHAPE):
        x, h = (batch, features), (batch, units)
        step = 2 * x[0] * x[1] * units + 2 * h[0] * h[1] * units  # x W, h U
        step_back = 2 * features * batch * units + 2 * units * batch * units + 2 * batch * units * units  # dW, dU, dh
        shape = Shape(batch, time, features, units)
        assert shapes.flops(shape, "forward", cell) == gates * time * step
        assert shapes.flops(shape, "forward_backward", cell) == gates * time * (step + step_back)


def test_geometric_mean() -> None:
    assert report.geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert report.geometric_mean([3.0]) == pytest.approx(3.0)


def test_ratio_is_the_fastest_peer_over_elman_on_its_fastest_framework(answers: type[Answers]) -> None:
    found = bench(shapes=[SHAPE, OTHER], repeats=3)
    for each in found.data["rows"]:
        assert (each["fastest_peer"], each["fastest_elman"]) == (
            "keras on jax",
            "elman on jax",
        )  # NumPy's call is no framework
        assert each["ratio"] == pytest.approx(4.0)
        assert each["two_threads_over_one"] == pytest.approx(1.5)
        assert each["share"] == pytest.approx(each["flops"] / 1e-6 / 1e9 / 200.0)
    for which in shapes.PASSES:
        summary = found.data["summary"][which]
        assert summary["geometric_mean"] == pytest.approx(4.0)
        assert summary["minimum"] == pytest.approx(4.0)
        assert (summary["shapes_with_a_ratio"], summary["shapes"]) == (2, 2)
    assert found.data["one_step"]["best_us"] == pytest.approx(1.0)
    assert found.data["one_step"]["shape"] == {"batch": 1, "time": 1, "features": 8, "units": 32}


def test_medians_and_spread_are_over_rounds() -> None:
    time = report.timing([5.0, 1.0, 2.0, 3.0, 4.0], 7)
    assert (time["median_s"], time["best_s"], time["calls"]) == (3.0, 1.0, 7)
    assert (time["p10_s"], time["p90_s"]) == pytest.approx((1.4, 4.6))


def test_workers_take_turns(answers: type[Answers]) -> None:
    bench(shapes=[SHAPE], backends=("jax", "torch"), repeats=3)
    turns = [backend for backend, method, _ in answers.asked if method == "time"]
    jax, torch = ["jax"] * 4, ["torch"] * 6  # subjects times passes
    assert turns == [*jax, *torch, *torch, *jax, *jax, *torch]


@pytest.mark.parametrize("cell", run.TIMED)
def test_problem_is_the_same_for_the_same_seed(cell: str) -> None:
    first, again, other = (shapes.problem(SHAPE, seed, cell) for seed in (1, 1, 2))
    assert first.cell == cell
    for one, two, three in zip(first.arrays, again.arrays, other.arrays, strict=True):
        assert one.dtype == np.float32
        assert one.flags.c_contiguous
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, three)


# --- arguments ----------------------------------------------------------------------------------------------


def test_shapes_are_read_as_they_are_written() -> None:
    assert parse("32x50x8x32, 7x33x5x47") == (Shape(32, 50, 8, 32), Shape(7, 33, 5, 47))
    assert parse(",".join(map(str, shapes.DEFAULT))) == shapes.DEFAULT


@pytest.mark.parametrize("text", ["", "32x50x8", "32x50x8x0", "axbxcxd", "1x2x3x4;1x2x3x4", "1x2x3x-4"])
def test_what_is_no_shape_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a shape; expected batch x time x features x units"):
        parse(text)


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(ValueError, match=r"cell is 'lstn'; expected one of simple_rnn"):
        bench(cell="lstn")
    with pytest.raises(ValueError, match=r"repeats is 0; expected a positive number"):
        bench(repeats=0)
    with pytest.raises(ValueError, match=r"'theano' is not a backend; expected some of numpy, tensorflow"):
        bench(backends=["theano"])


def test_a_backend_that_is_not_installed_is_left_out_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None if name in ("jax", "keras") else name)
    here, sentences = peers.installed(["numpy", "jax"])
    assert here == ["numpy"]
    assert sentences == ["jax is left out: jax and keras cannot be found. Install elman[jax]."]


def test_nothing_is_timed_without_the_native_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "native_reason", lambda: "elman has no native library. Reinstall elman.")
    with pytest.raises(elman.NativeUnavailable, match=r"^There is nothing to time: elman has no native library\."):
        bench(quick=True, backends=["numpy"])


# --- results are compared before a time is shown ---------------------------------------------------------


@pytest.mark.parametrize("tensor", range(len(check.TENSORS)))
@pytest.mark.parametrize("spoil", ["much", "nan", "shape"])
def test_a_difference_in_any_tensor_is_found(tensor: int, spoil: str) -> None:
    problem = shapes.problem(SHAPE, 0)
    wrong = check.truth(problem, np.float32)
    if spoil == "shape":
        wrong[tensor] = wrong[tensor][..., :-1]
    else:
        wrong[tensor] = wrong[tensor].copy()
        wrong[tensor].flat[0] += np.nan if spoil == "nan" else 1e-3
    results = {"elman on jax": check.truth(problem, np.float32), "elman on torch": wrong}
    sentences = check.differences(problem, results, stock=())
    assert list(sentences) == ["elman on torch"]
    assert f"its {check.TENSORS[tensor]} differs from the float64 reference" in sentences["elman on torch"]


def test_a_wrong_stock_layer_is_no_yardstick() -> None:
    problem = shapes.problem(SHAPE, 0)
    right = check.truth(problem, np.float32)
    wrong = [array + np.float32(0.1) for array in right]
    results = {"keras on jax": wrong, "elman on jax": wrong, "elman on torch": right}
    assert set(check.differences(problem, results, stock=["keras on jax"])) == {"keras on jax", "elman on jax"}


@pytest.mark.parametrize(
    ("name", "relative", "refused"),
    [("torch.nn", 5e-5, False), ("torch.nn", 2e-4, True), ("elman on torch", 5e-5, True)],
)
def test_a_peer_may_round_more_than_elman(name: str, relative: float, refused: bool) -> None:
    problem = shapes.problem(SHAPE, 0)
    right = check.truth(problem, np.float32)
    rough = [array + np.float32(relative * np.abs(array).max()) for array in right]
    assert (name in check.differences(problem, {name: rough, "elman on jax": right}, stock=())) is refused


@pytest.mark.parametrize("wrong", ["elman on jax", "keras on torch"])
def test_a_subject_whose_results_differ_has_no_time_and_its_shape_no_ratio(answers: type[Answers], wrong: str) -> None:
    answers.results[wrong] = [array * 2 for array in check.truth(shapes.problem(SHAPE, 0), np.float32)]
    found = bench(shapes=[SHAPE], repeats=1)
    assert found.refused
    assert wrong not in {arguments[0] for _, method, arguments in answers.asked if method == "time"}
    for which, table in zip(shapes.PASSES, tables(found.data), strict=False):
        each = row(found, which)
        assert each["refused"][wrong].startswith(f"{wrong} is refused: its y of the forward differs")
        assert wrong not in each["times"]
        assert each["ratio"] is None
        assert found.data["summary"][which]["geometric_mean"] is None
        assert dict(zip(table.columns, table.rows[0], strict=True))[wrong] == "refused"
    (told,) = [line for line in report.lines(found.data) if f"{wrong} is refused" in line]
    assert told.startswith(f"{SHAPE}: ")


def test_a_subject_that_cannot_run_natively_is_left_out(answers: type[Answers]) -> None:
    answers.results["elman on jax"] = "elman on jax is left out: no handler."
    found = bench(shapes=[SHAPE], repeats=1)
    assert not found.refused
    assert row(found, "forward")["left_out"] == {"elman on jax": "elman on jax is left out: no handler."}
    assert row(found, "forward")["fastest_elman"] == "elman on torch"
    assert f"{SHAPE}: elman on jax is left out: no handler." in report.lines(found.data)


def test_a_busy_machine_is_told(answers: type[Answers], monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = report.lines(bench(shapes=[SHAPE], repeats=1).data)
    monkeypatch.setattr(answers, "busy", 1.5)
    busy = report.lines(bench(shapes=[SHAPE], repeats=1).data)
    told = "Others kept up to 1.5 of the CPUs busy during the run: trust no figure. Run it alone."
    assert told in busy
    assert not any(line.startswith("Others kept") for line in quiet)


# --- what is shown --------------------------------------------------------------------------------------------


def test_a_file_holds_everything_that_is_shown(answers: type[Answers]) -> None:
    answers.results["elman on torch"] = "elman on torch is left out: no op."
    found = bench(shapes=[SHAPE, OTHER], repeats=2, seed=3, command=["elman", "bench"])
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read == found.to_dict()
    assert tables(read) == tables(found.data)
    assert report.lines(read) == report.lines(found.data)
    assert (read["seed"], read["repeats"], read["command"]) == (3, 2, ["elman", "bench"])
    assert read["machine"]["isa"] == "avx2"
    assert set(read["versions"]) == set(BACKENDS)
    assert set(read) >= {"date", "python", "threads", "left_out", "notes", "best_peak_gflops"}


def test_a_table_has_a_cell_for_every_time(answers: type[Answers]) -> None:
    found = bench(shapes=[SHAPE], repeats=2)
    forward, both, machine = tables(found.data)
    shown = dict(zip(forward.columns, forward.rows[0], strict=True))
    assert shown["B x T x F x H"] == "2x3x2x4"
    assert shown["elman on jax"] == "2 us ±0%"
    assert shown["keras on torch"] == "900 us ±0%"
    assert shown["ratio"] == "4.00"
    assert both.columns == forward.columns
    assert dict(zip(machine.columns, machine.rows[0], strict=True))["peak GFLOP/s on 1 / 2 threads"] == "100.0 / 200.0"


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4.2e-6, "4.2 us"), (5e-8, "0.05 us")]
)
def test_seconds_have_a_unit_that_suits_them(seconds: float, text: str) -> None:
    assert report.in_unit(seconds) == text


def test_the_command_prints_what_the_json_holds(answers: type[Answers]) -> None:
    words = ["bench", "--shapes", str(SHAPE), "--repeats", "1"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    data = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    for table in tables(data):
        assert table.title in done.stdout
        assert all(cell in done.stdout for cells in (table.columns, *table.rows) for cell in cells)
    assert all(line in done.stdout for line in report.lines(data))


def test_the_command_prints_json_alone(answers: type[Answers]) -> None:
    done = CliRunner().invoke(app, ["bench", "--shapes", str(SHAPE), "--repeats", "1", "--json"])
    assert done.exit_code == 0, done.output
    assert row(Report(json.loads(done.stdout)), "forward")["ratio"] == pytest.approx(4.0)


def test_the_command_fails_when_a_result_differs(answers: type[Answers]) -> None:
    answers.results["keras on jax"] = [array * 2 for array in check.truth(shapes.problem(SHAPE, 0), np.float32)]
    done = CliRunner().invoke(app, ["bench", "--shapes", str(SHAPE), "--repeats", "1"])
    assert done.exit_code == 1
    assert "keras on jax is refused" in done.stdout


@pytest.mark.parametrize(
    "words", [["--shapes", "3x4"], ["--backends", "theano"], ["--cell", "lstn"], ["--layer", "lstn"]]
)
def test_the_command_tells_a_wrong_option(words: list[str]) -> None:
    done = CliRunner().invoke(app, ["bench", *words])
    assert done.exit_code == 2
    assert "expected" in done.stderr


# --- with real workers ----------------------------------------------------------------------------------------


def test_numpy_alone_can_be_timed() -> None:
    found = bench(quick=True, backends=["numpy"], shapes=[SHAPE], repeats=1)
    threads = found.data["threads"]["numpy"]
    assert threads == _native.library().elman_num_threads()
    for which in shapes.PASSES:
        each = row(found, which)
        assert not each["refused"]
        assert each["ratio"] is None
        assert each["share"] > 0
        assert set(each["peak_gflops"]) == {"1", str(threads)}
        assert set(each["times"]) | set(each["left_out"]) == {
            name for name in SECONDS if name.startswith("elman on numpy")
        }
    assert found.data["one_step"]["best_us"] > 0


@pytest.mark.medium
@pytest.mark.at_most(1)  # PyTorch, which starts soonest
@pytest.mark.parametrize("backend", peers.installed(name for name in reversed(BACKENDS) if name != "numpy")[0])
def test_every_subject_of_a_framework_agrees_and_is_timed(backend: str) -> None:
    found = bench(quick=True, backends=[backend], shapes=[SHAPE], repeats=1)
    for which in shapes.PASSES:
        each = row(found, which)
        assert (each["refused"], each["left_out"]) == ({}, {})
        assert set(each["times"]) == {subject.name for subject in peers.SUBJECTS if subject.backend == backend}
        assert each["ratio"] > 0


def test_a_worker_that_ends_leaves_its_last_words() -> None:
    with (
        Worker("numpy") as worker,
        pytest.raises(RuntimeError, match=r"numpy process .* ended with status 1.*\n.*") as told,
    ):
        worker.ask("no_such_question")
    assert "AttributeError" in str(told.value)


# --- training ---------------------------------------------------------------------------------------------------

SMALL = train.Size(Shape(3, 4, 2, 5), 2)


class Trainers(Answers):
    """Stands in for a worker of training: the losses and weights of float64, and times by the subject's place."""

    def __init__(self, backend: str, work: str) -> None:
        super().__init__(backend)
        assert work == "train_on"

    def prepare(self, problem: Any) -> dict[str, Any]:
        right = train.truth(problem)
        return {name: self.results.get(name, right) for name, here in train.SUBJECTS.items() if here == self.backend}

    def time(self, name: str, which: str, calls: int) -> tuple[float, bool]:
        return (1 + list(train.SUBJECTS).index(name)) * (1e-6 if which == "step" else 1e-3), True


@pytest.fixture
def trainers(answers: type[Answers], monkeypatch: pytest.MonkeyPatch) -> type[Trainers]:
    monkeypatch.setattr(train, "Worker", Trainers)
    return Trainers


def test_training_is_compared_with_the_network_and_a_file_holds_what_is_shown(trainers: type[Trainers]) -> None:
    trainers.results["keras on jax"] = "keras on jax is left out: no reason."
    found = train.bench([SMALL], repeats=3, command=["elman", "bench", "--train"])
    (row,) = found.data["rows"]
    assert row["step_over_bare"] == pytest.approx(0.5)  # the first subject over the second
    assert row["over_network"]["epoch"]["loop in torch"] == pytest.approx(11)
    assert row["over_network"]["step"][train.NETWORK] == 1
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert train.tables(read) == train.tables(found.data)
    (table,) = train.tables(read)
    assert table.rows[0] == ("Network", "1 us ±0%", "1", "1 ms ±0%", "1")
    assert len(table.rows) == len(train.SUBJECTS) - 1
    assert "3x4x2x5: keras on jax is left out: no reason." in train.lines(read)
    assert not found.refused


@pytest.mark.parametrize(("what", "change"), [(0, 1.0001), (1, 1.01), (1, np.nan)])
def test_a_subject_that_trains_otherwise_has_no_time(trainers: type[Trainers], what: int, change: float) -> None:
    wrong = [array.copy() for array in train.truth(train.problem(SMALL, 0))]
    wrong[what] *= change
    trainers.results["loop in jax"] = wrong
    done = CliRunner().invoke(app, ["bench", "--train", "--shapes", "3x4x2x5", "--repeats", "1"])
    assert done.exit_code == 1
    assert "loop in jax is refused: after 20 steps its losses differ" in done.stdout
    assert "a step of the Network takes 0.50 times the native calls alone" in done.stdout


def test_the_command_trains_simple_rnn_alone() -> None:
    done = CliRunner().invoke(app, ["bench", "--train", "--cell", "lstm"])
    assert done.exit_code == 2
    assert "expected simple_rnn with" in done.stderr


# The frameworks compile for seconds, and `elman bench --train` itself compares before it times.
TRAINED = {"numpy": (), "jax": pytest.mark.medium, "tensorflow": pytest.mark.large, "torch": pytest.mark.large}


@pytest.mark.parametrize("backend", [pytest.param(name, marks=TRAINED[name]) for name in peers.installed(BACKENDS)[0]])
def test_every_way_to_train_agrees_and_is_timed(backend: str) -> None:
    found = train.bench([SMALL], backends=[backend], repeats=1)
    (row,) = found.data["rows"]
    assert (row["refused"], row["left_out"]) == ({}, {})
    for which in train.PASSES:
        assert set(row["times"][which]) == {name for name, here in train.SUBJECTS.items() if here == backend}
