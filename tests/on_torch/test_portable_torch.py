# SPDX-License-Identifier: Apache-2.0
"""Files that `elman.portable()` makes on PyTorch, opened in a process without elman: torch.export and ONNX.

Stock Keras's own file is opened next to each. A model is exported after it has run natively. Left out where stock's
file does not work: `go_backwards` in Keras's own ONNX export (torch's newer exporter has it), an unknown length, a
stateful layer, and SavedModel, which needs torch_xla.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import keras
import pytest
import torch

import elman
import portable_cases

READER = """
import onnxruntime, torch

def open_and_run(path, x):
    if path.endswith(".onnx"):
        session = onnxruntime.InferenceSession(path)
        return session.run(None, {session.get_inputs()[0].name: x})[0]
    return torch.export.load(path).module()(torch.tensor(x)).detach().numpy()
"""
# What torch and its exporters do at any layer, stock ones too: copy weights into a file that are not all of their
# storage, call what torch no longer likes, and warn where TorchScript, which Keras's ONNX export takes, reads a shape.
pytestmark = [
    pytest.mark.filterwarnings("ignore:No complete tensor found in the group:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript-based ONNX export:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
each_layer = pytest.mark.parametrize("layer", [keras.layers.SimpleRNN, elman.SimpleRNN], ids=["stock", "elman"])


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[portable_cases.Reader]:
    with portable_cases.reader(tmp_path_factory.mktemp("reader"), READER) as reader:
        yield reader


@pytest.fixture(autouse=True)
def nothing_compiled() -> None:
    torch.compiler.reset()


class Recurrence(torch.nn.Module):
    """`elman.simple_rnn` with weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((portable_cases.FEATURES, portable_cases.UNITS), (portable_cases.UNITS,) * 2, (portable_cases.UNITS,))
        generator = torch.Generator().manual_seed(0)
        self.operands = torch.nn.ParameterList(torch.randn(size, generator=generator) for size in sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return elman.simple_rnn(x, *self.operands, truncate_gradient=2)[0]


def operators(program: torch.export.ExportedProgram) -> str:
    return str(program.graph)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.medium
@pytest.mark.at_most(4)
@portable_cases.each_case()
def test_an_exported_program_opens_without_elman(layer, name, reader, tmp_path):
    x, path = portable_cases.inputs(), tmp_path / "model.pt2"
    model = portable_cases.model(layer, name, batch=len(x))
    expected = portable_cases.output(model, x)
    with elman.portable():
        program = torch.export.export(model, (torch.tensor(x),))
    torch.export.save(program, path)
    portable_cases.assert_same(reader.run(path, x), expected)


@each_layer
def test_keras_own_exported_program_opens_without_elman(layer, reader, tmp_path):
    x, path = portable_cases.inputs(1), tmp_path / "model.pt2"  # Keras makes one for a batch of one
    model = portable_cases.model(layer, "masked")
    expected = portable_cases.output(model, x)
    with elman.portable():
        model.export(path, format="torch", verbose=False)
    portable_cases.assert_same(reader.run(path, x), expected)


@pytest.mark.needs("onnx", "onnxruntime")
@pytest.mark.at_most(4)
@portable_cases.each_case("backwards")
def test_an_onnx_file_of_keras_opens_without_elman(layer, name, reader, tmp_path):
    x, path = portable_cases.inputs(), tmp_path / "model.onnx"
    model = portable_cases.model(layer, name)
    expected = portable_cases.output(model, x)
    with elman.portable():
        model.export(path, format="onnx", verbose=False)
    portable_cases.assert_same(reader.run(path, x), expected)


@pytest.mark.parametrize("form", ["torch", "onnx"])
@pytest.mark.needs("onnxruntime", "onnxscript")
def test_an_export_is_portable_by_itself(form, reader, tmp_path):
    x, path = portable_cases.inputs(1), tmp_path / f"model.{'pt2' if form == 'torch' else 'onnx'}"
    model = portable_cases.model(elman.SimpleRNN, "plain", batch=1)
    expected = portable_cases.output(model, x)
    model.export(path, format=form, verbose=False)
    portable_cases.assert_same(reader.run(path, x), expected)


@pytest.mark.medium
@pytest.mark.needs("onnxruntime", "onnxscript")
@each_layer
def test_an_onnx_file_of_torch_opens_without_elman(layer, reader, tmp_path):
    x, path = portable_cases.inputs(), tmp_path / "model.onnx"
    model = portable_cases.model(layer, "backwards", batch=len(x))
    expected = portable_cases.output(model, x)
    with elman.portable():
        torch.onnx.export(model, (torch.tensor(x),), path, dynamo=True, verbose=False)
    portable_cases.assert_same(reader.run(path, x), expected)


@pytest.mark.parametrize("strict", [False, True])
def test_the_function_exports_without_elman(strict, reader, tmp_path):
    x, path, module = portable_cases.inputs(), tmp_path / "function.pt2", Recurrence()
    expected = module(torch.tensor(x)).detach().numpy()
    with elman.portable():
        program = torch.export.export(module, (torch.tensor(x),), strict=strict)
    assert "elman" not in operators(program)
    torch.export.save(program, path)
    portable_cases.assert_same(reader.run(path, x), expected)


# --- the context, as compilers of PyTorch see it ---------------------------------------------------------------------


def traced(function) -> str:
    """The graph of a function that torch.compile takes whole."""
    graphs = []

    def keep(graph, _):
        graphs.append(str(graph.graph))
        return graph

    torch.compiler.reset()
    torch.compile(function, fullgraph=True, backend=keep)(torch.tensor(portable_cases.inputs()))
    (graph,) = graphs
    return graph


def test_a_compiled_function_is_native_outside_and_plain_inside():
    module = Recurrence()
    assert "elman" in traced(module)
    with elman.portable():
        assert "elman" not in traced(module)
    assert "elman" in traced(module)


@pytest.mark.parametrize("strict", [False, True])
def test_an_export_outside_holds_the_native_operator(strict):
    program = torch.export.export(Recurrence(), (torch.tensor(portable_cases.inputs()),), strict=strict)
    assert "elman.forward" in operators(program)


@pytest.mark.medium
def test_a_thread_that_compiles_does_not_see_the_context_of_another():
    graphs = []
    with elman.portable():
        thread = threading.Thread(target=lambda: graphs.append(traced(Recurrence())))
        thread.start()
        thread.join()
    assert "elman" in graphs[0]
