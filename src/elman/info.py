# SPDX-License-Identifier: Apache-2.0
"""What is installed here, and whether the native path works under each framework, which is found by running it.

In: nothing. Out: an `Info`. Each framework runs one small forward and backward in a process of its own and is compared
with the reference there. So the frameworks cannot disturb each other, and a crash is a line in the report. Only the
answer of a process is printed.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import elman
from elman import _native, _numpy, reference, route
from elman.operands import Operands
from elman.options import Options

Array = np.ndarray
SECONDS = 120  # for one framework's process; TensorFlow's import takes a few
ULPS = 32  # largest error of a float32 result, in units in the last place of its tensor's largest value
MARK = "elman-info: "  # starts each line of an answer, since frameworks print lines as well
TENSORS = ("y", "h", "dx", "dkernel", "drecurrent_kernel", "dbias", "dinitial_state")


@dataclasses.dataclass(frozen=True)
class Framework:
    """One framework.

    Attributes:
        name: The name it is imported by.
        version: Its version, or `None` where it is not installed.
        native: Whether a forward and a backward ran natively and agreed with the reference.
        reason: The sentence that says why not, else `None`.
    """

    name: str
    version: str | None
    native: bool
    reason: str | None


@dataclasses.dataclass(frozen=True)
class Library:
    """The native library.

    Attributes:
        version: Its version.
        isa: The instruction set in use.
        isas: Those that this machine could run, slowest first.
        threads: Threads that one call may use.
    """

    version: str
    isa: str
    isas: list[str]
    threads: int


@dataclasses.dataclass(frozen=True)
class Info:
    """What `collect` found; `library` is `None` where there is none or it does not open."""

    elman: str
    python: str
    platform: str
    numpy: str
    keras: str | None
    library: Library | None
    frameworks: list[Framework]

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return dataclasses.asdict(self)


def collect() -> Info:
    """Collects versions, and tries every installed framework in a process of its own.

    Returns:
        An `Info`. It takes as long as the slowest framework's import, and a little more.
    """
    with ThreadPoolExecutor() as pool:
        answers = dict(zip(PROBES, pool.map(_ask, PROBES), strict=True))
    return Info(
        elman=elman.__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        numpy=np.__version__,
        keras=_version("keras"),
        library=answers["numpy"][1],
        frameworks=[framework for framework, _ in answers.values()],
    )


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


# --- one process per framework -------------------------------------------------------------------------------------


def _ask(name: str) -> tuple[Framework, Library | None]:
    """The answer of a framework's process, and how the process ended if it did not finish."""
    if importlib.util.find_spec(name) is None:
        return Framework(name, None, False, "not installed"), None
    code = f"import sys; sys.path = {sys.path!r}; from elman.info import answer; answer({name!r})"
    try:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return Framework(name, None, False, f"its check did not end within {SECONDS} s"), None
    lines = [line.removeprefix(MARK) for line in done.stdout.splitlines() if line.startswith(MARK)]
    answers = {key: value for line in lines for key, value in json.loads(line).items()}
    reason = answers["reason"] if "reason" in answers else _ending(done)
    library = answers.get("library")
    return Framework(name, answers.get("version"), reason is None, reason), library and Library(**library)


def _ending(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"its check was ended by {signal.Signals(-done.returncode).name}"
    last = [line.strip() for line in done.stderr.splitlines() if line.strip()][-1:]
    return f"its check ended with status {done.returncode}: {''.join(last) or 'it printed nothing'}"


def answer(name: str) -> None:
    """Tries one framework in this process, and prints each finding at once, so that a crash does not lose it."""
    sys.excepthook = lambda kind, error, _: print(f"{kind.__name__}: {' '.join(str(error).split())}", file=sys.stderr)
    _say(library=_library())
    _say(version=importlib.import_module(name).__version__)
    _say(reason=probe(name))


def _say(**found: Any) -> None:
    print(MARK + json.dumps(found), flush=True)


def _library() -> dict[str, Any] | None:
    try:
        opened = _native.library()
    except _native.NativeUnavailable:
        return None
    isas = opened.elman_isas().decode().split(",")
    texts = {"version": opened.elman_version().decode(), "isa": opened.elman_isa().decode()}
    return {**texts, "isas": isas, "threads": opened.elman_num_threads()}


def probe(name: str) -> str | None:
    """Runs the native path under one framework, which this imports.

    Args:
        name: One of `PROBES`.

    Returns:
        `None` if every output and gradient agrees with the reference, else a sentence.
    """
    rng = np.random.default_rng(0)
    batch, time, features, units = 3, 5, 4, 8
    shapes = (batch, time, features), (features, units), (units, units), (units,), (batch, units)
    arrays = [rng.uniform(-1, 1, shape).astype("float32") for shape in shapes]
    dy, dh = (rng.uniform(-1, 1, shape).astype("float32") for shape in ((batch, time, units), (batch, units)))
    if _native.environment().mode == "off":
        return route.reason("off")
    try:
        results = PROBES[name](arrays, dy, dh)
    except elman.NativeUnavailable as error:
        return str(error)
    for tensor, got, expected in zip(TENSORS, results, _truth(arrays, dy, dh), strict=True):
        off, allowed = np.abs(got - expected).max(), ULPS * np.spacing(np.float32(np.abs(expected).max()))
        if not off <= allowed:  # true for NaN as well
            return f"{tensor} is off by {off:.2g}; expected at most {allowed:.2g}. Please report it."
    return None


def _truth(arrays: Sequence[Array], dy: Array, dh: Array) -> list[Array]:
    x, kernel, recurrent_kernel, bias, h = (array.astype("float64") for array in arrays)
    operands = Operands(x, kernel, recurrent_kernel, bias, (h,))
    y, (final,), tape = reference.forward(*operands)
    back = reference.backward(*operands, tape, dy, (dh,))
    return [y, final, *_gradients(back)]


# --- a forward and a backward: arrays, dy, dh -> y, h, and the gradients of sum(y * dy) + sum(h * dh) --------------


def _numpy_probe(arrays: Sequence[Array], dy: Array, dh: Array) -> list[Array]:
    x, kernel, recurrent_kernel, bias, h = arrays
    y, final = elman.simple_rnn(*arrays, native="require")
    operands = Operands(x, kernel, recurrent_kernel, bias, (h,))
    _, _, tape = _numpy.forward(Options(), operands, keep_tape=True)
    back = _numpy.backward(Options(), operands, y, tape, dy, (dh,))
    return [y, final, *_gradients(back)]


def _gradients(back: reference.Gradients) -> list[Array]:
    """In the order of `TENSORS`."""
    assert back.dbias is not None
    return [back.dx, back.dkernel, back.drecurrent_kernel, back.dbias, *back.dinitial_states]


def _tensorflow_probe(arrays: Sequence[Array], dy: Array, dh: Array) -> list[Array]:
    import tensorflow as tf

    tensors = [tf.constant(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        y, h = elman.simple_rnn(*tensors, native="require")
    return [t.numpy() for t in (y, h, *tape.gradient((y, h), tensors, (tf.constant(dy), tf.constant(dh))))]


def _jax_probe(arrays: Sequence[Array], dy: Array, dh: Array) -> list[Array]:
    import jax

    def recurrence(*tensors: Any) -> Any:
        return elman.simple_rnn(*tensors, native="require")

    (y, h), pull_back = jax.vjp(recurrence, *(jax.numpy.asarray(array) for array in arrays))
    return [np.asarray(t) for t in (y, h, *pull_back((jax.numpy.asarray(dy), jax.numpy.asarray(dh))))]


def _torch_probe(arrays: Sequence[Array], dy: Array, dh: Array) -> list[Array]:
    import torch

    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    y, h = elman.simple_rnn(*tensors, native="require")
    gradients = torch.autograd.grad((y, h), tensors, (torch.tensor(dy), torch.tensor(dh)))
    return [t.detach().numpy() for t in (y, h, *gradients)]


PROBES: dict[str, Callable[[Sequence[Array], Array, Array], list[Array]]] = {
    "numpy": _numpy_probe,
    "tensorflow": _tensorflow_probe,
    "jax": _jax_probe,
    "torch": _torch_probe,
}
