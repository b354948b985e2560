# SPDX-License-Identifier: Apache-2.0
"""One framework in a process of its own, and the parent's handle on it.

`Session` is what a worker does; `Worker.ask` calls its methods over a pipe, one pickled question and one answer at a
time. A worker does nothing between questions. What is asked, and in which order, is not known here.
"""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, Self

from elman._native import NativeUnavailable, library
from elman.bench import clock
from elman.bench.shapes import Array


class Calls(NamedTuple):
    """One subject's work on one problem, all arrays ready. Each call returns when its results are there."""

    forward: Callable[[], Any]  # -> y
    forward_backward: Callable[[], Any]  # -> y, dkernel, drecurrent_kernel, dbias
    arrays: Callable[[Any, Any], list[Array]]  # what the two returned -> NumPy arrays in the order of check.TENSORS
    before: Callable[[], None] = lambda: None  # runs ahead of a timing

    def results(self) -> list[Array]:
        """What is compared before a time is shown."""
        return self.arrays(self.forward(), self.forward_backward())


class Subject(Protocol):
    """What is timed: `Calls`, or a `train.Trainer`. Its passes are attributes that are called."""

    @property
    def before(self) -> Callable[[], None]:
        """Runs ahead of a timing."""

    @property
    def results(self) -> Callable[[], list[Array]]:
        """Returns what is compared before a time is shown."""


class Framework(Protocol):
    """What a module `on_<backend>` or `train_on_<backend>` offers."""

    BUILD: dict[str, Callable[[Any], Subject]]  # of a problem, by the subject's name

    def facts(self) -> dict[str, Any]:
        """Versions and number of threads."""


class Session:
    """Answers for one framework, in the process that imports it."""

    def __init__(self, module: str) -> None:
        self.framework: Framework = importlib.import_module(f"elman.bench.{module}")
        self.calls: dict[str, Subject] = {}

    def facts(self) -> dict[str, Any]:
        """Versions and number of threads."""
        return self.framework.facts()

    def prepare(self, problem: Any) -> dict[str, list[Array] | str]:
        """Builds every subject for this problem and runs it once: its results, or why it cannot run natively."""
        self.calls = {}
        answers: dict[str, list[Array] | str] = {}
        for name, build in self.framework.BUILD.items():
            try:
                calls = build(problem)
                calls.before()
                answers[name] = calls.results()
                self.calls[name] = calls
            except NativeUnavailable as error:
                answers[name] = f"{name} is left out: {error}"
        clock.settle()
        return answers

    def count(self, name: str, which: str, seconds: float) -> int:
        """How many calls of a subject's pass last about `seconds`."""
        self.calls[name].before()
        calls = clock.calls_for(getattr(self.calls[name], which), seconds)
        clock.settle()
        return calls

    def time(self, name: str, which: str, calls: int) -> tuple[float, bool]:
        """Seconds per call, and whether this process's threads slept when it was over."""
        call = getattr(self.calls[name], which)
        self.calls[name].before()
        call()
        return clock.seconds_per_call(call, calls), clock.settle()

    def peak(self, threads: int, milliseconds: int) -> float:
        """The machine's float32 multiply-adds on registers alone, GFLOP/s."""
        peak = library().elman_peak_gflops(0, threads, milliseconds)
        clock.settle()
        return peak


class Worker:
    """A `Session` in a child process; a context, at whose end the process has gone.

    Args:
        backend: Name of the framework.
        work: `"on"`: a layer's passes, `"train_on"`: training.
    """

    def __init__(self, backend: str, work: str = "on") -> None:
        self.backend = backend
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        module = f"{work}_{backend}"
        answer = f"import sys; sys.path = {sys.path!r}; from elman.bench.worker import answer; answer({module!r})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", answer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment(backend),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()  # it holds nothing that needs a farewell
        with suppress(BrokenPipeError):
            self.process.communicate()
        self.errors.close()

    def ask(self, method: str, *arguments: Any) -> Any:
        """The answer of that method of the session.

        Raises:
            RuntimeError: If the process has ended; the message has its last words.
        """
        assert self.process.stdin
        assert self.process.stdout
        try:
            pickle.dump((method, arguments), self.process.stdin)
            self.process.stdin.flush()
            return pickle.load(self.process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:  # OSError: the pipe has no reader or writer
            status = self.process.wait()
            self.errors.seek(0)
            words = self.errors.read()[-4000:].decode(errors="replace")
            raise RuntimeError(
                f"The {self.backend} process of the benchmark ended with status {status} when asked to {method}; "
                f"its last words:\n{words}"
            ) from error


def environment(backend: str) -> dict[str, str]:
    """The child's environment: this backend for Keras, and the CPU for everyone."""
    own = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "KERAS_TORCH_DEVICE": "cpu"}
    return {**os.environ, **own, **({} if backend == "numpy" else {"KERAS_BACKEND": backend})}


def answer(module: str) -> None:
    """Answers questions from stdin until it closes. Answers have the first stdout to themselves: what a framework
    prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    session = Session(module)
    while True:
        try:
            method, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(getattr(session, method)(*arguments), answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()
