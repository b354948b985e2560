# SPDX-License-Identifier: Apache-2.0
"""Files that `elman.export` writes compute what the network computes; one that does not is removed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import elman
import network_cases as cases
from elman.errors import DataError
from elman.exporting import c_header
from elman.exporting.c_file import _STRICT
from elman.network import (
    GRU,
    LAYERS,
    LSTM,
    Concat,
    Dense,
    Embedding,
    Last,
    Latest,
    Mask,
    Network,
    Normalize,
    Reverse,
    SimpleRNN,
    Sum,
)  # fmt: skip
from elman.stream import Stream
from elman.stream.program import STEPS
from size import by_size
from test_native_header import compiler

FEATURES = 3
CELLS = (SimpleRNN, LSTM, GRU)


def random_network(seed: int, time: int | None) -> Network | None:
    rng = np.random.default_rng(seed)
    network = Network(cases.random_layers(rng, FEATURES), input_shape=(6, FEATURES))
    if time is None:
        if any(type(each.layer).__name__ == "Flatten" for each in network.bound):
            return None
        network = Network([network.layers], input_shape=(None, FEATURES))
    cases.random_weights(network, rng)
    return network


def written(network: Network | None, path, **options) -> elman.exporting.Exported | None:
    """What the export found; `None` for a network that it refuses, with a reason."""
    if network is None:
        return None
    path.unlink(missing_ok=True)
    try:
        return elman.export(network, path, **options)
    except DataError:
        raise
    except ValueError as error:
        assert any(reason in str(error) for reason in ("not come yet", "masks steps", "sees a window"))  # noqa: PT017
        assert not path.exists()
        return None


UBSAN = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
TRAPPED = ("-fsanitize=undefined", "-fsanitize-trap=undefined")
ARM = "arm-linux-gnueabihf-gcc"


def run_selftest(path, cc: str | None = None, flags: tuple[str, ...] = UBSAN, under: tuple[str, ...] = ()) -> int:
    program = path.with_suffix("")
    build = [cc or compiler("c"), *_STRICT, *flags, f"-D{path.stem.upper()}_SELFTEST", "-x", "c"]
    subprocess.run([*build, path, "-o", program, "-lm"], check=True)
    return subprocess.run([*under, program], check=False).returncode


# --- C ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_random_networks_as_headers(tmp_path):
    """`export` compiles each one and compares 10,000 steps."""
    found = 0
    for seed in range(by_size(4, 12, 400)):
        for time in (6, None):
            exported = written(random_network(seed, time), tmp_path / "net.h", int8=bool(seed % 2))
            if exported:
                found += 1
                assert exported.error is not None
                if seed % 4 < 2:
                    assert run_selftest(tmp_path / "net.h") == 0, seed
    assert found > 3


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_every_cell_as_a_header(tmp_path, kind, int8):
    first = kind(8, return_sequences=True, zero_output_for_mask=True)
    layers = [Normalize(0.5, 2.0), Mask(0.0), first, kind(5), Dense(2)]
    exported = elman.export(Network(layers, input_shape=(None, 3)), tmp_path / "net.h", int8=int8)
    assert any(note.startswith("int8: largest error") for note in exported.notes) is int8
    assert run_selftest(tmp_path / "net.h") == 0


@pytest.mark.parametrize(
    ("cc", "flags", "under"),
    [
        # By the name of the C++ compiler: libclang, which TensorFlow installs, is a module `clang`.
        # The trap, since the sanitizer's runtime is a package of its own.
        pytest.param("clang", ("-O2", *TRAPPED), (), marks=pytest.mark.needs("clang++"), id="clang"),
        pytest.param(ARM, ("-O2", "-static"), ("qemu-arm",), marks=pytest.mark.needs(ARM, "qemu-arm"), id="arm"),
    ],
)
def test_headers_by_another_compiler_and_on_32_bit_arm(tmp_path, cc, flags, under):
    found = 0
    for seed in range(by_size(4, 10, 100)):
        if written(random_network(seed, None), tmp_path / "net.h", int8=bool(seed % 2)):
            found += 1
            assert run_selftest(tmp_path / "net.h", cc, flags, under) == 0, seed
    assert found


@pytest.mark.needs("arm-none-eabi-gcc")
def test_the_size_on_a_microcontroller_is_told(tmp_path):
    network = Network([SimpleRNN(64, return_sequences=True), Dense(32)], input_shape=(None, 32))
    for int8, most in ((False, 45_000), (True, 12_000)):
        (note,) = [n for n in elman.export(network, tmp_path / "net.h", int8=int8).notes if n.startswith("Cortex-M4F")]
        text, data, bss = map(int, re.findall(r"\d+", note.removeprefix("Cortex-M4F")))
        assert text + data < most
        assert data + bss < 2000


def test_words_as_a_header(tmp_path):
    layers = [Embedding(9, 4, mask_zero=True), GRU(5, reset_after=False), Dense(3, "softmax")]
    network = Network(layers, input_shape=(None,))
    assert elman.export(network, tmp_path / "words.h", name="w2").error < 1e-5
    assert "void w2_step(w2_state* s, const float* x, float* y)" in (tmp_path / "words.h").read_text()


def test_a_name_may_hold_the_words_that_stand_for_it(tmp_path):
    network = Network([SimpleRNN(2)], input_shape=(None, 1))
    assert elman.export(network, tmp_path / "net.h", name="SUPPER_NAME").error < 1e-5


def test_a_changed_weight_fails_the_selftest(tmp_path):
    path = tmp_path / "net.h"
    elman.export(Network([SimpleRNN(4), Dense(1)], input_shape=(None, 2), seed=3), path)
    assert run_selftest(path) == 0
    text = path.read_text()
    at = text.index("net_kernel1[8] = {") + len("net_kernel1[8] = {\n    ")
    path.write_text(text[:at] + "9" + text[at:])
    assert run_selftest(path) != 0


def test_several_instances_and_a_copy(tmp_path):
    network = Network([LSTM(4), Dense(1)], input_shape=(None, 1))
    elman.export(network, tmp_path / "net.h")
    (tmp_path / "two.c").write_text(
        '#include <stdio.h>\n#include "net.h"\nint main(void) {\n  net_state a, b;\n  float x, y;\n  int t;\n'
        "  net_init(&a);\n  for (t = 0; t < 3; ++t) { x = (float)t; net_step(&a, &x, &y); }\n  b = a;\n  x = 3.0f;\n"
        '  net_step(&b, &x, &y);\n  printf("%.6f ", (double)y);\n  net_step(&a, &x, &y);\n'
        '  printf("%.6f ", (double)y);\n  net_reset(&b);\n  net_step(&b, &x, &y);\n  printf("%.6f", (double)y);\n'
        "  return 0;\n}\n"
    )
    subprocess.run([compiler("c"), *_STRICT, "two.c", "-o", "two"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "two"], capture_output=True, text=True, check=True).stdout
    last, alone = Stream(network).run(np.arange(4.0)[:, None])[-1, 0], Stream(network).step([3.0])[0]
    np.testing.assert_allclose([float(word) for word in printed.split()], [last, last, alone], atol=2e-6)


# --- ONNX ------------------------------------------------------------------------------------------------------------


@pytest.mark.needs("onnx", "onnxruntime")
def test_random_networks_as_onnx(tmp_path):
    """`export` runs each one in ONNX Runtime and, where it can, in the reference evaluator."""
    found = 0
    for seed in range(by_size(10, 50, 2000)):
        for time in (6, None):
            for options in ({}, {"state": True}, {"step": True}):
                exported = written(random_network(seed, time), tmp_path / "net.onnx", **options)
                found += exported is not None
                assert exported is None or "compared in ONNX Runtime" in exported.notes
    assert found > 20


@pytest.mark.needs("onnx")
@pytest.mark.parametrize(("kind", "node"), [*zip(CELLS, ("RNN", "LSTM", "GRU"), strict=True)])
def test_a_cell_is_one_node_and_a_step_is_none(tmp_path, kind, node):
    import onnx

    network = Network([kind(32), Dense(1)], input_shape=(None, 8))
    for options in ({}, {"state": True}, {"step": True}):
        elman.export(network, tmp_path / "net.onnx", **options)
        kinds = [each.op_type for each in onnx.load(tmp_path / "net.onnx").graph.node]
        assert kinds.count(node) == ("step" not in options)
        assert not {"Loop", "Scan", "If"} & set(kinds)
        if options.get("step"):
            assert set(kinds) <= {"MatMul", "Add", "Mul", "Sub", "Tanh", "Sigmoid", "Identity"}
    assert tmp_path.joinpath("net.onnx").stat().st_size < 40_000
    if kind is SimpleRNN:
        assert elman.export(network, tmp_path / "net.onnx").size < 12_000


@pytest.mark.needs("onnx", "onnxruntime")
def test_without_onnx_runtime_the_notes_say_what_was_compared(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    network = Network([LSTM(3)], input_shape=(None, 2))
    assert elman.export(network, tmp_path / "a.onnx").notes == ("compared in the reference evaluator",)
    backwards = elman.export(Network([LSTM(3, go_backwards=True)], input_shape=(None, 2)), tmp_path / "b.onnx")
    assert backwards.error is None
    assert backwards.notes[0].startswith("not compared: ONNX Runtime is not installed")


@pytest.mark.needs("onnx", "onnxruntime")
@pytest.mark.parametrize("kind", CELLS)
def test_masked_steps_at_the_end_are_lengths(tmp_path, kind):
    """`export` compares sequences that end early; the file and the notes say where padding may be."""
    import onnx

    first = {"return_sequences": True}
    both = [[kind(4, **first)], [kind(4, go_backwards=True, **first), Reverse()]]
    for begin in ([Mask(0.5), Normalize(0.1, 2.0)], [Embedding(9, 3, mask_zero=True)]):
        for layers in (
            [kind(4)],
            [kind(4, **first)],
            [kind(4, zero_output_for_mask=True, **first), Dense(2)],
            [kind(3, **first), kind(4, go_backwards=True), Dense(2)],
            [Concat(both), Dense(3, "tanh"), Last()],
        ):
            shape = (None,) if isinstance(begin[0], Embedding) else (None, 3)
            network = Network([*begin, *layers], input_shape=shape)
            cases.random_weights(network, np.random.default_rng(2))
            exported = elman.export(network, tmp_path / "net.onnx", state=kind is LSTM)
            note = onnx.load(tmp_path / "net.onnx").doc_string
            assert "padding on the right" in note
            assert exported.notes == (note, "compared in ONNX Runtime")
    late = Network([Dense(3), Mask(0.0), kind(4)], input_shape=(None, 3))
    with pytest.raises(ValueError, match="masks steps and comes after other layers"):
        elman.export(late, tmp_path / "late.onnx")


@pytest.mark.needs("onnx", "onnxruntime")
def test_a_sequence_goes_on_in_another_call(tmp_path):
    import onnxruntime

    network = Network([LSTM(4, return_sequences=True), GRU(3), Dense(1)], input_shape=(None, 2))
    elman.export(network, tmp_path / "net.onnx", state=True)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(size=(2, 9, 2)).astype("float32")
    names = [each.name for each in session.get_inputs()][1:]
    assert names == ["lstm_h", "lstm_c", "gru_h"]
    states = {name: np.zeros((2, 3 if name == "gru_h" else 4), "float32") for name in names}
    _, *after = session.run(None, {"x": x[:, :5], **states})
    y, *_ = session.run(None, {"x": x[:, 5:], **dict(zip(names, after, strict=True))})
    np.testing.assert_allclose(y, network(x), atol=1e-6)


# --- tables, errors --------------------------------------------------------------------------------------------------


ELEMENTWISE = {"dense", "activation", "normalize", "rescale", "layer_norm"}
PROGRAM_KINDS = ELEMENTWISE | {"recurrent", "embedding", "latest", "last", "mask", "sum", "concat"}


def test_every_row_and_every_operation_has_its_form_in_c():
    assert set(LAYERS.values()) == set(STEPS)
    assert set(c_header.KINDS) == PROGRAM_KINDS
    assert set(c_header.CELLS) == {kind.cell for kind in CELLS}


@pytest.mark.needs("onnx")
def test_every_row_and_every_operation_has_its_form_in_onnx():
    from elman.exporting import onnx_sequence, onnx_step

    assert set(onnx_sequence.ROWS) == set(LAYERS.values())
    assert set(onnx_step.KINDS) == PROGRAM_KINDS - ELEMENTWISE
    assert set(onnx_step.CELLS_AS_NODES) == {kind.cell for kind in CELLS}


def test_a_file_that_differs_is_removed(tmp_path, monkeypatch):
    network = Network([SimpleRNN(4), Dense(1)], input_shape=(None, 2), seed=3)
    real = c_header.text

    def spoilt(*arguments):
        content = real(*arguments)
        at = content.index("net_kernel1[8] = {") + len("net_kernel1[8] = {\n    ")
        return content[:at] + "9" + content[at:]

    monkeypatch.setattr(c_header, "text", spoilt)
    with pytest.raises(DataError, match="differs by .* was removed"):
        elman.export(network, tmp_path / "net.h")
    assert not list(tmp_path.iterdir())
    (tmp_path / "net.h").write_text("an earlier one")
    with pytest.raises(DataError, match="differs by .* was removed"):
        elman.export(network, tmp_path / "net.h")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["an earlier one"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("net.txt", {}, "suffix '.txt'; expected one of .keras, .h, .onnx, .safetensors"),
        ("net.h", {"step": True}, "step=True is not an option of .h; it is one of .onnx"),
        ("net.onnx", {"int8": True}, "int8=True is not an option of .onnx; it is one of .h"),
        ("net.h", {"name": "2 nets"}, "expected letters, digits and _"),
    ],
)
def test_what_cannot_be_written_is_a_sentence(tmp_path, name, options, words):
    with pytest.raises(DataError, match=words):
        elman.export(Network([SimpleRNN(2)], input_shape=(None, 2)), tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_no_header(tmp_path):
    network = Network([SimpleRNN(2)], input_shape=(None, 2))
    network.weights["simple_rnn/bias"][0] = np.inf
    with pytest.raises(DataError, match="simple_rnn/bias has numbers that are not finite"):
        elman.export(network, tmp_path / "net.h")


@pytest.mark.needs("onnx")
def test_a_window_has_no_graph_of_one_step(tmp_path):
    network = Network([Sum([[SimpleRNN(2)], [Latest(2), Dense(2)]])], input_shape=(5, 2))
    with pytest.raises(ValueError, match=r"sees a window of 5 rows.*Leave out step=True"):
        elman.export(network, tmp_path / "net.onnx", step=True)


def test_the_own_file(tmp_path):
    network = Network([SimpleRNN(2)], input_shape=(None, 2))
    elman.export(network, tmp_path / "net.safetensors")
    x = np.ones((1, 3, 2))
    np.testing.assert_array_equal(Network.load(tmp_path / "net.safetensors")(x), network(x))


@pytest.mark.needs("onnx")
def test_the_page_shows_what_can_be_written(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "ship.md").read_text()
    (code,) = re.findall(r"```py\n(.*?)```", page, re.DOTALL)
    network = Network([SimpleRNN(32), Dense(1)], input_shape=(None, 8))
    exec(code, {"elman": elman, "network": network, "folder": tmp_path})
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", "step.onnx"}
