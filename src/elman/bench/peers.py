# SPDX-License-Identifier: Apache-2.0
"""Who is timed: a table of subjects, one row per implementation and framework, and which frameworks are here.

Pure facts: no framework is imported, only looked for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import NamedTuple


class Subject(NamedTuple):
    """Attributes:
    name: Implementation and framework.
    backend: The process that it runs in.
    role: `"elman"` and `"peer"` are compared in the ratio; `"native"` (NumPy, no framework) is for information.
    stock: Whether it is Keras's own layer, whose error is a yardstick.
    """

    name: str
    backend: str
    role: str
    stock: bool = False


SUBJECTS = (
    Subject("elman on numpy", "numpy", "native"),
    Subject("elman on numpy, 1 thread", "numpy", "native"),
    Subject("elman on numpy, 2 threads", "numpy", "native"),
    Subject("elman on tensorflow", "tensorflow", "elman"),
    Subject("keras on tensorflow", "tensorflow", "peer", stock=True),
    Subject("keras on tensorflow, jit", "tensorflow", "peer", stock=True),
    Subject("elman on jax", "jax", "elman"),
    Subject("keras on jax", "jax", "peer", stock=True),
    Subject("elman on torch", "torch", "elman"),
    Subject("keras on torch", "torch", "peer", stock=True),
    Subject("torch.nn", "torch", "peer"),
)
BACKENDS = ("numpy", "tensorflow", "jax", "torch")

NOTES = """\
forward + backward returns y and the gradients of kernel, recurrent kernel and bias for a given dy; dx is not \
needed (a first layer) and not computed.
TensorFlow runs concrete functions (jit: with jit_compile=True), JAX one jit, PyTorch eagerly; torch.compile is left \
out: it breaks Keras's loop over time into many small graphs, and leaves torch.nn (its RNN, LSTM or GRU) as it is.
ratio: the fastest peer's median over elman's on its fastest framework; NumPy's call is for information.
share: flops 2BT(F+H)GH forward, and 2BT(F+H)GH + 2BTHGH more backward (G gates), over the NumPy call's median and \
over the register-only FMA peak of as many threads, measured in the same rounds.""".splitlines()


def named(name: str) -> Subject:
    """The subject of that name."""
    return next(subject for subject in SUBJECTS if subject.name == name)


def installed(backends: Iterable[str]) -> tuple[list[str], list[str]]:
    """Which of these backends can run, and one sentence for each that cannot.

    Raises:
        ValueError: If a name is none of `BACKENDS`.
    """
    here, sentences = [], []
    for backend in dict.fromkeys(backends):
        if backend not in BACKENDS:
            raise ValueError(f"{backend!r} is not a backend; expected some of {', '.join(BACKENDS)}.")
        needed = ("numpy",) if backend == "numpy" else (backend, "keras")
        missing = [module for module in needed if importlib.util.find_spec(module) is None]
        if missing:
            sentences.append(
                f"{backend} is left out: {' and '.join(missing)} cannot be found. Install elman[{backend}]."
            )
        else:
            here.append(backend)
    return here, sentences
