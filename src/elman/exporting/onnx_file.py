# SPDX-License-Identifier: Apache-2.0
"""A network as an ONNX file: written, run by ONNX Runtime and the reference evaluator, and left only where both agree.

In: a network. Out: the file and what was found. Without ONNX Runtime the reference evaluator runs it alone; where that
one lacks an operation nothing is compared, and the notes say so.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from elman import files
from elman.conversion.check import random_input
from elman.errors import DataError
from elman.exporting.found import Exported, allowed, comparable, largest_error
from elman.exporting.twin import twin
from elman.network import Latest, Mask, Network, Reverse
from elman.stream import Stream
from elman.stream.program import program_of
from elman.stream.settling import typical_rows

Array = np.ndarray
Run = Callable[[dict[str, Array]], list[Array]]
_TIME, _STEPS = 11, 200  # of the comparison; the reference evaluator takes a millisecond a step


def write(network: Network, path: Path, *, step: bool = False, state: bool = False) -> Exported:
    """Writes the file.

    Args:
        network: The network; one of float64 is rounded to float32.
        path: The file.
        step: A graph of one step, with states in and out.
        state: A graph of sequences with initial and final states as inputs and outputs.

    Raises:
        DataError: If the file computes something else; it is removed then, and an earlier one stays.
        ImportError: If onnx is not installed.
        ValueError: If a layer cannot be written.
    """
    if importlib.util.find_spec("onnx") is None:
        raise ImportError(f'{path} needs onnx, not installed here. Install with: python -m pip install "elman[onnx]".')
    from elman.exporting import onnx_graph, onnx_sequence, onnx_step

    single = twin(network)
    if step:
        program = program_of(single)
        model, begin = onnx_step.model_of(program)
    else:
        model, begin = onnx_sequence.model_of(single, state=state)
    content, compare = onnx_graph.checked(model).SerializeToString(), _compared_steps if step else _compared
    errors, notes = [], [model.doc_string] if model.doc_string else []

    def write_compared(to: Path) -> None:
        to.write_bytes(content)
        for name, run in _runners(to, model):
            errors.append(compare(path, name, run, single, begin))
            notes.append(f"compared in {name}")

    files.write_with(path, write_compared)
    if not errors:
        notes.append("not compared: ONNX Runtime is not installed, and the reference evaluator lacks what the file has")
    return Exported(path, len(content), max(errors, default=None), tuple(notes))


def _runners(path: Path, model: Any) -> list[tuple[str, Run]]:
    from onnx.reference import ReferenceEvaluator

    found: list[tuple[str, Run]] = []
    if importlib.util.find_spec("onnxruntime"):
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        found.append(("ONNX Runtime", lambda feeds: session.run(None, feeds)))
    if _has_reference(model):
        evaluator = ReferenceEvaluator(model)

        def evaluate(feeds: dict[str, Array]) -> list[Array]:
            with np.errstate(all="ignore"):  # a NaN may be a result
                return list(evaluator.run(None, feeds))

        found.append(("the reference evaluator", evaluate))
    return found


def _has_reference(model: Any) -> bool:
    """Whether the reference evaluator computes all recurrent nodes: it knows forward ones with usual activations, and
    no lengths."""
    usual = {"RNN": [b"Tanh"], "GRU": [b"Sigmoid", b"Tanh"], "LSTM": [b"Sigmoid", b"Tanh", b"Tanh"]}
    for node in model.graph.node:
        if node.op_type in usual:
            options = {each.name: each for each in node.attribute}
            if node.input[4]:  # lengths
                return False
            if options["direction"].s != b"forward" or list(options["activations"].strings) != usual[node.op_type]:
                return False
    return True


def _compared(path: Path, name: str, run: Run, network: Network, begin: dict[str, Array]) -> float:
    """The largest error of the outputs over sequences; with states also of their second half, after the states that the
    first half ended with."""
    shape = network.input_shape
    assert shape is not None
    x = _padded(network, random_input(network, shape, _TIME))
    x = x.astype("int64") if network.takes_integers else x
    feeds = {key: np.tile(value, (len(x), 1)) for key, value in begin.items()}
    y, *_ = run({"x": x, **feeds})
    expected = network(x)
    limit = allowed(expected, twin(network, "float64")(x))
    error = _judged(path, name, y, expected, limit)
    if begin and _goes_on(network):
        half = x.shape[1] // 2
        _, *after = run({"x": x[:, :half], **feeds})
        y, *_ = run({"x": x[:, half:], **dict(zip(begin, after, strict=True))})
        error = max(error, _judged(path, name, y, expected[:, -y.shape[1] :] if y.ndim == 3 else expected, limit))
    return error


def _goes_on(network: Network) -> bool:
    """Whether the second half of a sequence is computed from the states after the first half alone."""
    assert network.input_shape is not None
    apart = any(
        isinstance(each.layer, Reverse | Latest | Mask)
        or getattr(each.layer, "go_backwards", False)
        or getattr(each.layer, "mask_zero", False)
        for each in network.bound
    )
    return network.input_shape[0] is None and not apart


def _padded(network: Network, x: Array) -> Array:
    """The sequences of a network that masks steps, with masked steps at their ends alone."""
    values = [each.layer.value for each in network.bound if isinstance(each.layer, Mask)]
    words = any(getattr(each.layer, "mask_zero", False) for each in network.bound)
    if not values and not words:
        return x
    rng = np.random.default_rng(1)
    x = np.maximum(x, 1) if words else rng.normal(size=x.shape).astype(x.dtype)
    x[np.arange(x.shape[1]) >= rng.integers(1, x.shape[1] + 1, (len(x), 1))] = 0 if words else values[0]
    return x


def _compared_steps(path: Path, name: str, run: Run, network: Network, begin: dict[str, Array]) -> float:
    """The largest error over steps that hand their states on."""
    program = program_of(network)
    x = typical_rows(program, np.random.default_rng(0), (_STEPS,))
    rows: Array = x[:, 0].astype("int64") if program.integers else x.astype("float32")
    expected, wide = Stream(network).run(rows), Stream(twin(network, "float64")).run(rows)
    states, outputs = {key: value[None] for key, value in begin.items()}, []
    for row in rows:
        y, *after = run({"x": np.asarray(row)[None], **states})
        states = dict(zip(states, after, strict=True))
        outputs.append(y[0])
    rows_compared = comparable(expected, wide)
    got, expected, wide = (np.asarray(each)[:rows_compared] for each in (outputs, expected, wide))
    return _judged(path, name, got, expected, allowed(expected, wide))


def _judged(path: Path, name: str, got: Array, expected: Array, limit: float) -> float:
    error = largest_error(got, expected)
    if not error <= limit:
        raise DataError(
            f"{path} differs by {error:.3g} from the network in {name}, and was removed; allowed are {limit:.3g}."
        )
    return error
