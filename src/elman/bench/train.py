# SPDX-License-Identifier: Apache-2.0
"""Times training: `Network.fit`, Keras's `fit` with elman's layer and its own, and loops written by hand, in one run.

In: shapes, backends, a seed. Out: a `TrainReport`. The model is a SimpleRNN and a dense head of 16 outputs, trained by
Adam on the mean squared error. Everyone gets the same weights and batches, and the losses and weights after 20 steps
are compared before a time is shown. One process per framework, as in `run`, which times a layer's passes.
"""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from elman._native import NativeUnavailable
from elman._native import reason as native_reason
from elman.bench import clock, peers, report
from elman.bench.shapes import Array, Shape
from elman.bench.worker import Worker

OUTPUTS = 16  # of the head
LEARNING_RATE, EPSILON = 1e-3, 1e-7  # those of Keras's Adam
CHECKED = (4, 5)  # epochs and steps in each that are compared: 20 steps
LOSS, WEIGHTS = 1e-5, 1e-4  # relative difference of the losses, absolute one of the weights
PASSES = ("step", "epoch")
NETWORK, BARE = "Network", "native calls alone"
SUBJECTS = {  # name -> backend
    NETWORK: "numpy",
    BARE: "numpy",
    "elman in keras on tensorflow": "tensorflow",
    "keras on tensorflow": "tensorflow",
    "keras on tensorflow, jit": "tensorflow",
    "elman in keras on jax": "jax",
    "keras on jax": "jax",
    "loop in jax": "jax",
    "elman in keras on torch": "torch",
    "keras on torch": "torch",
    "loop in torch": "torch",
}
NOTES = """\
model: SimpleRNN, a dense head of 16 outputs, mean squared error, Adam; batches in order, without shuffling.
epoch: Network.fit; Keras's fit (on TensorFlow with steps_per_execution=16; jit: with jit_compile=True); a loop over \
torch.nn.RNN; one jit with lax.scan over the batches of an epoch, data on the device, x W hoisted out of the loop over \
time.
step: one batch: the same without the loop over batches; for Keras train_on_batch.
native calls alone: the forward and the backward of the recurrence, on arrays that stay in place.""".splitlines()


class Size(NamedTuple):
    """One case: a shape of batches, and how many an epoch has."""

    shape: Shape
    steps: int = 148


DEFAULT = (Size(Shape(32, 32, 3, 32)), Size(Shape(64, 100, 32, 128), 10))
QUICK = (Size(Shape(32, 32, 3, 32), 20),)


class Problem(NamedTuple):
    """Examples and first weights, float32."""

    x: Array  # (steps * B, T, F)
    y: Array  # (steps * B, outputs)
    batch: int
    weights: tuple[Array, ...]  # kernel, recurrent kernel, bias; kernel and bias of the head

    @property
    def units(self) -> int:
        """H."""
        return len(self.weights[1])

    @property
    def checked(self) -> tuple[Array, Array]:
        """x and y of the steps that are compared."""
        rows = CHECKED[1] * self.batch
        return self.x[:rows], self.y[:rows]


class Trainer(NamedTuple):
    """One subject's training on one problem. Each call returns when its results are there."""

    results: Callable[[], list[Array]]  # trains the checked steps: the loss of each epoch, then the weights
    step: Callable[[], object]
    epoch: Callable[[], object]
    before: Callable[[], None] = lambda: None


def problem(size: Size, seed: int) -> Problem:
    """Examples whose targets depend on the whole window, and weights with the distributions that Keras starts from."""
    (batch, time, features, units), steps = size
    rng = np.random.default_rng([seed, *size.shape])
    x = rng.normal(size=(max(steps, CHECKED[1]) * batch, time, features))
    y = np.tanh(x.reshape(len(x), -1) @ rng.normal(size=(time * features, OUTPUTS)) / np.sqrt(time * features))

    def glorot(rows: int, columns: int) -> Array:
        limit = np.sqrt(6 / (rows + columns))
        return rng.uniform(-limit, limit, (rows, columns))

    orthogonal = np.linalg.qr(rng.normal(size=(units, units))).Q
    weights = (glorot(features, units), orthogonal, np.zeros(units), glorot(units, OUTPUTS), np.zeros(OUTPUTS))
    x, y, *weights = (np.ascontiguousarray(array, np.float32) for array in (x, y, *weights))  # type: ignore[assignment]
    return Problem(x, y, batch, tuple(weights))


def differences(results: Mapping[str, Sequence[Array]], truth: Sequence[Array]) -> dict[str, str]:
    """The subjects whose losses or weights differ from the truth, each with a sentence."""
    sentences = {}
    for name, (losses, *weights) in results.items():
        loss = float(np.max(np.abs(losses / truth[0] - 1)))
        weight = max(float(np.max(np.abs(got - want))) for got, want in zip(weights, truth[1:], strict=True))
        if not (loss <= LOSS and weight <= WEIGHTS):
            sentences[name] = (
                f"{name} is refused: after {CHECKED[0] * CHECKED[1]} steps its losses differ from those in float64 by "
                f"{loss:.2g} (relative), and its weights by {weight:.2g}; expected at most {LOSS} and {WEIGHTS}. Its "
                "times would mean nothing."
            )
    return sentences


def bench(
    sizes: Sequence[Size] | None = None,
    backends: Sequence[str] = peers.BACKENDS,
    repeats: int | None = None,
    quick: bool = False,
    seed: int = 0,
    command: Sequence[str] | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> TrainReport:
    """Times training steps and epochs, in one run.

    Args:
        sizes: What to time; `DEFAULT` if there are none.
        backends: Names out of `peers.BACKENDS`. One that is not installed is left out, and the report says so. Ratios
            need `"numpy"`, which runs the `Network`.
        repeats: Rounds over all workers; medians are over rounds. 7 by default.
        quick: The small shape with short epochs, and 2 rounds, unless `sizes` or `repeats` say otherwise.
        seed: Seed of the arrays.
        command: The words of the command that made the report; the report keeps them.
        tell: Called with a sentence at each stage of the run.

    Returns:
        A `TrainReport`.

    Raises:
        ValueError: If a backend is unknown.
        elman.NativeUnavailable: If the native library cannot be opened: there is nothing to time.
        RuntimeError: If a framework's process ends.
    """
    here, left_out = peers.installed(backends)
    if reason := native_reason():
        raise NativeUnavailable(f"There is nothing to time: {reason}")
    sizes = tuple(sizes or (QUICK if quick else DEFAULT))
    repeats = repeats or (2 if quick else 7)
    with ExitStack() as stack:
        workers = {backend: stack.enter_context(Worker(backend, "train_on")) for backend in here}
        tell(f"starting {', '.join(workers)}")
        facts = {backend: worker.ask("facts") for backend, worker in workers.items()}
        rows = []
        for number, size in enumerate(sizes, 1):
            tell(f"shape {number} of {len(sizes)}: {size.shape}")
            rows.append(_measure(workers, size, repeats, seed))
    native = facts.get("numpy", {})
    return TrainReport(
        {
            "command": None if command is None else list(command),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seed": seed,
            "repeats": repeats,
            "left_out": left_out,
            "python": platform.python_version(),
            "versions": {name: v for each in facts.values() for name, v in each["versions"].items()},
            "machine": {**report.machine(), "isa": native.get("isa")},
            "threads": {backend: each["threads"] for backend, each in facts.items()},
            "rows": rows,
            "notes": list(NOTES),
        }
    )


def _measure(workers: Mapping[str, Worker], size: Size, repeats: int, seed: int) -> dict[str, Any]:
    """Checks, then times, every subject on one shape; the figures of the shape."""
    given = problem(size, seed)
    answers = {name: a for worker in workers.values() for name, a in worker.ask("prepare", given).items()}
    left_out = {name: answer for name, answer in answers.items() if isinstance(answer, str)}
    results = {name: answer for name, answer in answers.items() if name not in left_out}
    compared = {name: arrays for name, arrays in results.items() if name != BARE}
    refused = differences(compared, truth(given))
    keys = [(name, which) for name in results if name not in refused for which in PASSES]
    counts = {key: workers[SUBJECTS[key[0]]].ask("count", *key, 0.02) for key in keys}
    samples: dict[tuple[str, str], list[float]] = {key: [] for key in keys}
    restless, busy = set(), clock.busy_cpus()
    for first in range(repeats):
        for key in (*keys[first % len(keys) :], *keys[: first % len(keys)]):
            seconds, slept = workers[SUBJECTS[key[0]]].ask("time", *key, counts[key])
            samples[key].append(seconds)
            restless |= set() if slept else {key[0]}
    times = {
        which: {name: report.timing(values, counts[name, which]) for (name, p), values in samples.items() if p == which}
        for which in PASSES
    }
    return {
        "shape": size.shape._asdict(),
        "steps": size.steps,
        "times": times,
        "over_network": {which: _over(NETWORK, times[which]) for which in PASSES},
        "step_over_bare": _over(BARE, times["step"]).get(NETWORK),
        "left_out": left_out,
        "refused": refused,
        "restless": sorted(restless),
        "busy_cpus": busy,
    }


def _over(name: str, times: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Each median over that of the named subject; empty if it has none."""
    if name not in times:
        return {}
    return {other: time["median_s"] / times[name]["median_s"] for other, time in times.items()}


def truth(given: Problem) -> list[Array]:
    """The losses and weights of the checked steps in float64."""
    from elman.bench.train_on_numpy import network, trained

    return trained(network(given, "float64"), given)


class TrainReport(NamedTuple):
    """What `bench` returns. `data` holds everything, as JSON can: dicts, lists, strings, numbers and `None`."""

    data: dict[str, Any]

    @property
    def refused(self) -> bool:
        """Whether any subject's losses or weights differed."""
        return any(row["refused"] for row in self.data["rows"])

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return self.data


# --- what is shown ------------------------------------------------------------------------------------------


def tables(data: Mapping[str, Any]) -> list[report.Table]:
    """A table for each shape, a row for each subject."""
    return [
        report.Table(
            f"training, {Shape(**row['shape'])}, {row['steps']} steps an epoch: median, ± half of 10 % to 90 %",
            ("subject", "step", "over Network", "epoch", "over Network"),
            [
                (name, *(text for which in PASSES for text in _cells(row, which, name)))
                for name in SUBJECTS
                if name in row["times"]["step"] or name in row["refused"]
            ],
        )
        for row in data["rows"]
    ]


def _cells(row: Mapping[str, Any], which: str, name: str) -> tuple[str, str]:
    if name in row["refused"]:
        return "refused", "-"
    ratio = row["over_network"][which].get(name)
    return report.with_spread(row["times"][which][name]), "-" if ratio is None else f"{ratio:.3g}"


def lines(data: Mapping[str, Any]) -> list[str]:
    """The lines below the tables."""
    said = [
        f"{Shape(**row['shape'])}: a step of the Network takes {row['step_over_bare']:.2f} times the native calls alone"
        for row in data["rows"]
        if row["step_over_bare"] is not None
    ]
    machine, versions = data["machine"], {**data["versions"], "Python": data["python"]}
    said.append(f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['isa']}")
    said.append(", ".join(f"{name} {version}" for name, version in versions.items()))
    busy = max((row["busy_cpus"] or 0 for row in data["rows"]), default=0)
    if busy > report.BUSY:
        said.append(report.busy_line(busy))
    return [*said, *data["left_out"], *report.remarks(data["rows"]), *data["notes"]]
