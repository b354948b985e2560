# SPDX-License-Identifier: Apache-2.0
"""A stream returns what the network returns for the whole sequence; its states, files and errors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars
import pytest

import elman
import isa
import network_cases as cases
import tolerance
from elman import _native, checkpoint
from elman.errors import DataError
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
)
from elman.stream import Stream
from elman.stream.program import STEPS
from size import by_size
from test_native_header import NATIVE, compiler

ROOT = Path(__file__).parents[1]
WINDOW, FEATURES = 6, 3
Array = np.ndarray


def rows(rng: np.random.Generator, *shape: int) -> Array:
    """Random rows, some of them zero, which a `Mask` takes for missing ones."""
    x = rng.normal(size=(*shape, FEATURES))
    x[rng.random(shape) < 0.2] = 0
    return x.astype("float32")


def wide(network: Network) -> Network:
    """The same network in float64."""
    twin = Network([network.layers], input_shape=network.input_shape, dtype="float64")
    twin.set_weights(network.weights)
    return twin


def streamable(seed: int, time: int | None, dtype: str) -> tuple[Network, np.random.Generator] | None:
    rng = np.random.default_rng(seed)
    network = Network(cases.random_layers(rng, FEATURES), input_shape=(WINDOW, FEATURES), dtype=dtype)
    if time is None:
        if any(type(each.layer).__name__ == "Flatten" for each in network.bound):
            return None
        network = Network([network.layers], input_shape=(None, FEATURES), dtype=dtype)
    cases.random_weights(network, rng)
    if any(isinstance(each.layer, Reverse) or getattr(each.layer, "go_backwards", False) for each in network.bound):
        with pytest.raises(ValueError, match="have not come yet"):
            Stream(network)
        return None
    return network, rng


def compared(grid: tolerance.Grid, network: Network, got: Array, x: Array, what: object) -> None:
    if network.dtype == np.float64:
        tolerance.assert_float64(got, network(x), what)
    else:
        grid.check("y", got, wide(network)(x), network(x), what)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("time", [WINDOW, None])
def test_a_stream_is_the_network_after_each_row(time, dtype):
    grid, found = tolerance.Grid(), 0
    for seed in range(by_size(40, 80, 2000)):
        if not (case := streamable(seed, time, dtype)):
            continue
        network, rng = case
        found += 1
        x = rows(rng, 4, 14)
        for _ in isa.each():
            y = Stream(network).run(x)
            for t in range(WINDOW - 1, 14):
                seen = x[:, max(0, t + 1 - WINDOW) : t + 1] if time else x[:, : t + 1]
                compared(grid, network, y[:, t], seen, f"network {seed}, step {t}")
        one = Stream(network)
        compared(grid, network, one.run(x[0])[-1][None], x[:1, -WINDOW:] if time else x[:1], f"network {seed}")
    assert found > 5


@pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
def test_ten_thousand_steps_do_not_drift(kind):
    network = Network([kind(32, return_sequences=True), Dense(1)], input_shape=(None, FEATURES))
    x = rows(np.random.default_rng(0), 10_000)
    y = Stream(network).run(x)
    tolerance.Grid().check("y", y, wide(network)(x[None])[0], network(x[None])[0], kind.__name__)
    hidden = Network([kind(32, return_sequences=True)], input_shape=(None, FEATURES))
    np.testing.assert_array_equal(Stream(hidden).run(x), hidden(x[None])[0])  # the same arithmetic


def test_every_row_of_the_layer_table_has_a_step():
    assert set(STEPS) == set(LAYERS.values())


@pytest.fixture
def network():
    layers = [
        Normalize(0.5, 2.0),
        Mask(0.0),
        LSTM(4, return_sequences=True, learn_initial_state=True),
        Last(),
        Dense(2),
    ]
    made = Network(layers, input_shape=(None, FEATURES))
    cases.random_weights(made, np.random.default_rng(0))
    return made


def test_steps_are_a_run(network):
    x = rows(np.random.default_rng(1), 5, 7)
    stream, out = Stream(network), np.empty((5, 2), "float32")
    for t, y in enumerate(Stream(network).run(x).swapaxes(0, 1)):
        assert stream.step(x[:, t], out) is out
        np.testing.assert_array_equal(out, y)
    lists = Stream(network)
    np.testing.assert_array_equal([lists.step(row.tolist()) for row in x[0]], Stream(network).run(x[0]))
    np.testing.assert_array_equal(Stream(network).run(x[0].astype("float64")), Stream(network).run(x[0]))


def test_a_long_run_is_cut_into_calls_that_end_soon(monkeypatch):
    small, large = (
        Stream(Network([LSTM(units)], input_shape=(window, 1)), batch=4) for units, window in ((4, None), (64, 500))
    )
    steps: list[int] = []
    for stream in (small, large):
        monkeypatch.setattr(stream._native, "run", lambda x, y, n: steps.append(n))
        stream.run(np.zeros((4, 100, 1)))
    assert steps[0] == sum(steps[1:]) == 100
    work = 4 * 500 * 4 * 64 * 65  # multiply-adds of a step
    assert 1 < max(steps[1:]) <= 1e9 // work + 1


def test_a_state_is_read_set_and_reset(network):
    x = rows(np.random.default_rng(1), 3, 8)
    stream = Stream(network, batch=3)
    begin = stream.state
    assert {name: array.shape for name, array in begin.items()} == {
        "lstm/h": (3, 4), "lstm/c": (3, 4), "lstm/y": (3, 4), "last/row": (3, 4), "last/kept": (3,),
    }  # fmt: skip
    stream.run(x[:, :4])
    middle, branch = stream.state, stream.copy()
    y = stream.run(x[:, 4:])
    np.testing.assert_array_equal(branch.run(x[:, 4:]), y)
    stream.state = middle
    np.testing.assert_array_equal(stream.run(x[:, 4:]), y)
    stream.reset(1)
    np.testing.assert_array_equal(stream.state["lstm/c"][1], begin["lstm/c"][1])
    assert (stream.state["lstm/c"][0] != begin["lstm/c"][0]).any()
    stream.reset([False, False, True])
    np.testing.assert_array_equal(stream.state["lstm/h"][2], begin["lstm/h"][2])
    stream.reset()
    np.testing.assert_array_equal(stream.run(x[:, :4]), Stream(network).run(x[:, :4]))
    with pytest.raises(ValueError, match=r"state has .*; expected .*lstm/h"):
        stream.state = {"lstm/h": np.zeros((3, 4))}
    with pytest.raises(ValueError, match="expected numbers from 0 to 2"):
        stream.reset(3)


def test_a_stream_goes_on_from_its_file(network, tmp_path):
    x = rows(np.random.default_rng(1), 8)
    stream = Stream(network)
    stream.run(x[:4])
    stream.save(tmp_path / "stream.safetensors")
    again = Stream.load(tmp_path / "stream.safetensors")
    assert again.warmup == stream.warmup
    np.testing.assert_array_equal(again.run(x[4:]), stream.run(x[4:]))
    data = (tmp_path / "stream.safetensors").read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(data), by_size(50, 200, 5000)).tolist():
        (tmp_path / "bad").write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        with pytest.raises(DataError):
            Stream.load(tmp_path / "bad")
        (tmp_path / "bad").write_bytes(data[:place])
        with pytest.raises(DataError):
            Stream.load(tmp_path / "bad")


@pytest.mark.parametrize("layers", [[Latest(1 << 29)], [SimpleRNN(2)]])
def test_a_file_that_asks_for_more_rows_than_it_has_takes_no_memory(layers, tmp_path, monkeypatch):
    network = Network(layers, input_shape=(None if isinstance(layers[0], Latest) else 1 << 29, 1))
    arrays = {f"weights/{name}": array for name, array in network.weights.items()}
    texts = {"description": json.dumps(network.describe()), "format": "elman.Stream", "version": "1"}
    facts = {"settle": False, "warmup": 1, "batch": []}
    checkpoint.write(
        tmp_path / "s", arrays | {"state": np.zeros((1, 3), "float32")}, texts | {"stream": json.dumps(facts)}
    )
    monkeypatch.setattr("elman.stream.stream.native_stream", lambda *_: pytest.fail("memory is taken"))
    with pytest.raises(DataError, match="its states have 3 numbers; expected 536870912 and more"):
        Stream.load(tmp_path / "s")


def test_a_network_comes_from_a_file_or_a_folder(network, tmp_path):
    x = rows(np.random.default_rng(1), 8)
    network.save(tmp_path / "model.safetensors")
    for source in (tmp_path / "model.safetensors", str(tmp_path)):
        np.testing.assert_array_equal(Stream(source).run(x), Stream(network).run(x))
    with pytest.raises(DataError, match="does not exist"):
        Stream(tmp_path / "none.safetensors")
    with pytest.raises(TypeError, match="got int; expected an elman.Network"):
        Stream(3)


def test_later_training_does_not_reach_a_stream(network):
    x = rows(np.random.default_rng(1), 8)
    stream = Stream(network)
    y = stream.copy().run(x)
    network.flat[:] = 0
    np.testing.assert_array_equal(stream.run(x), y)


def test_what_needs_rows_that_have_not_come_is_not_a_number():
    network = Network([Sum([[SimpleRNN(2)], [Latest(3), Dense(2)]])], input_shape=(None, FEATURES))
    y = Stream(network).run(rows(np.random.default_rng(0), 5))
    np.testing.assert_array_equal(np.isnan(y).all(axis=1), [True, True, False, False, False])
    assert np.isfinite(y[2:]).all()


def test_words():
    network = Network([Embedding(7, 3, mask_zero=True), GRU(4), Dense(2)], input_shape=(None,))
    x = np.array([3, 0, 6, 0, 1])
    stream = Stream(network)
    y = [stream.step(word) for word in x]
    np.testing.assert_array_equal(y, Stream(network).run(x))
    tolerance.Grid().check("y", y[-1][None], wide(network)(x[None]), network(x[None]), "words")
    before = stream.state
    with pytest.raises(ValueError, match="x goes from 7 to 7; expected the numbers of words, 0 to 6"):
        stream.step(7)
    with pytest.raises(ValueError, match="x goes from 1 to 7"):
        stream.run(np.array([1, 2, 7]))
    np.testing.assert_equal(stream.state, before)
    with pytest.raises(TypeError, match="expected integers"):
        stream.step(1.5)
    with pytest.raises(ValueError, match="from 0"):
        stream.step(-1)


def test_the_words_of_a_window_are_checked_when_a_state_is_set():
    stream = Stream(Network([Embedding(7, 3), GRU(4)], input_shape=(WINDOW,)))
    stream.step(3)
    before = stream.state
    for wrong in (-1, 7, 1e8, np.nan):
        with pytest.raises(ValueError, match="not the number of a word"):
            stream.state = before | {"window/rows": np.full_like(before["window/rows"], wrong)}
    np.testing.assert_equal(stream.state, before)


@pytest.mark.parametrize(
    ("features", "operations", "words"),
    [
        (2, [("embedding", (0,), 3)], "an Embedding that does not read rows of one integer"),
        (1, [("dense", (0,), 1), ("embedding", (1,), 3)], "an Embedding that does not read rows of one integer"),
        (3, [("dense", (0,), 2), ("sum", (0, 1), 0)], "inputs of different sizes: operation 1"),
        (4, [("latest", (0,), 1 << 30)], "too many numbers: operation 0"),
        (2, [("dense", (0,), (1 << 31) - 1)], "too many numbers: operation 0"),
    ],
)
def test_the_library_refuses_operations_that_do_not_fit(features, operations, words):
    weights = np.zeros(64, "float32")
    made = [
        _native.NativeOperation(kind, inputs, size=size, words=5, weights=(weights.ctypes.data,) * 2)
        for kind, inputs, size in operations
    ]
    with pytest.raises(ValueError, match=words):
        _native.NativeStream(made, 1, features, None, "float32")


def test_the_library_refuses_what_is_null(network):
    functions, whole = _native._stream_functions(), Stream(network, batch=1)
    stream = whole._native.handle
    calls = (
        lambda: functions.elman_stream_step_of(None),
        lambda: functions.elman_stream_step_of(_native._STREAM_CALL.pack(0, 0, 0)),
        lambda: functions.elman_stream_step_of(_native._STREAM_CALL.pack(stream.value, 0, 0)),
        lambda: functions.elman_stream_reset(None, 0),
        lambda: functions.elman_stream_get_state(stream, 0, None),
        lambda: functions.elman_stream_set_state(stream, 0, None),
    )
    for call in calls:
        with pytest.raises(ValueError, match="is null. Pass its address"):
            _native.raise_last_error(call())
    assert [functions.elman_stream_state_columns(stream, i) for i in (99, -3)] == [0, 0]
    with pytest.raises(ValueError, match="elman_set_num_threads got -1; expected"):
        _native.raise_last_error(_native.library().elman_set_num_threads(-1))


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros(FEATURES + 1), r"\(4,\); expected \(features,\) or \(batch, features\) with 3"),
        (np.zeros((2, 2, FEATURES)), "expected"),
        (np.float32(1), "expected"),
        (np.zeros((0, FEATURES)), "expected"),
    ],
)
def test_a_row_of_another_shape_is_refused(network, x, words):
    with pytest.raises(ValueError, match=words):
        Stream(network).step(x)


def test_a_batch_is_chosen_once(network):
    stream = Stream(network)
    stream.step(np.zeros((2, FEATURES)))
    with pytest.raises(ValueError, match="Make another Stream for another batch"):
        stream.step(np.zeros((3, FEATURES)))
    with pytest.raises(TypeError, match="dtype <U1; expected numbers"):
        stream.step(["a", "b", "c"])
    with pytest.raises(ValueError, match=r"out has shape \(2,\)"):
        stream.step(np.zeros((2, FEATURES)), np.zeros(2))


def test_an_out_that_cannot_hold_the_output_is_refused(network):
    stream = Stream(network)
    for out, words in ((np.zeros(stream.outputs, int), "out has dtype int64"), ([0.0] * stream.outputs, "out is list")):
        with pytest.raises(TypeError, match=f"{words}; expected an array of float numbers. Pass np.empty"):
            stream.step(np.zeros(FEATURES), out)
    half = np.empty(stream.outputs, "float16")
    assert stream.step(np.zeros(FEATURES), half) is half
    np.testing.assert_allclose(half, Stream(network).step(np.zeros(FEATURES)), rtol=1e-3)


def test_a_bidirectional_layer_is_refused_with_the_reason():
    both = Concat([[SimpleRNN(2, return_sequences=True)], [SimpleRNN(2, return_sequences=True, go_backwards=True)]])
    with pytest.raises(ValueError, match=r"layer 'simple_rnn_1' reads time backwards .* have not come yet"):
        Stream(Network([both], input_shape=(None, FEATURES)))


def test_a_window_that_is_too_long_is_refused():
    for steps in (1 << 31, 1 << 70):
        with pytest.raises(ValueError, match=f"a window of {steps} rows; expected fewer than 2,147,483,648"):
            Stream(Network([SimpleRNN(2)], input_shape=(steps, FEATURES)))


def test_warmup_is_the_memory_of_the_network():
    fading = Network([SimpleRNN(1, "linear", use_bias=False)], input_shape=(None, 1))
    for factor, low, high in ((0.5, 3, 8), (0.9, 20, 40), (1.0, None, None)):
        fading.set_weights({"simple_rnn/kernel": [[1.0]], "simple_rnn/recurrent_kernel": [[factor]]})
        found = Stream(fading).warmup
        assert found is None if low is None else low <= found <= high, factor
    assert Stream(Network([Dense(1)], input_shape=(None, 1))).warmup == 1
    assert Stream(Network([Latest(5)], input_shape=(None, 1))).warmup == 5
    assert Stream(Network([SimpleRNN(1)], input_shape=(9, 1))).warmup == 9


def test_a_settled_stream_does_not_move_at_the_mean():
    network = Network([Normalize([2.0], [3.0]), GRU(4), Dense(1)], input_shape=(None, 1), seed=1)
    cases.random_weights(network, np.random.default_rng(0))
    y = Stream(network, settle=True).run(np.full((3, 1), 2.0))
    far = Stream(network).run(np.full((3000, 1), 2.0))[-1]
    np.testing.assert_allclose(y, np.broadcast_to(far, y.shape), atol=1e-4)
    assert abs(Stream(network).step([2.0]) - far) > 1e-3


def test_streams_are_at_the_top_of_the_package():
    assert elman.Stream is Stream


# --- C -------------------------------------------------------------------------------------------------------------


def built(tmp_path: Path, source: Path, *flags: str) -> Path:
    library = _native.library_path()
    build = [compiler("c"), "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}", *flags, source, library]
    program = tmp_path / source.stem
    subprocess.run([*build, f"-Wl,-rpath,{library.parent}", "-o", program], check=True)
    return program


def test_the_example_in_c_computes_what_the_network_computes(tmp_path):
    network = Network([SimpleRNN(2, return_sequences=True), Dense(1)], input_shape=(None, 1))
    network.set_weights(
        {
            "simple_rnn/kernel": [[0.5, -0.25]],
            "simple_rnn/recurrent_kernel": [[0.1, 0.2], [-0.3, 0.4]],
            "simple_rnn/bias": [0, 0.1],
            "dense/kernel": [[1], [-1]],
            "dense/bias": [0],
        }
    )
    program = built(tmp_path, ROOT / "docs" / "stream.c", "-pedantic")
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    expected = network(np.arange(4.0).reshape(1, 4, 1))[0, :, 0]
    np.testing.assert_allclose([float(text) for text in printed], expected, atol=1e-6)


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("ldd") is None, reason="counts by means of glibc and seccomp"
)
def test_a_step_allocates_nothing_locks_nothing_and_calls_no_system(tmp_path):
    program = built(tmp_path, ROOT / "tests" / "stream_calls.c", "-lpthread")
    for cell in range(3):
        for window in (0, 4):
            done = subprocess.run([program, str(cell), str(window)], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout) == (0, "none"), (cell, window)


@pytest.mark.parametrize("settle", [False, True])
@pytest.mark.parametrize("time", [None, WINDOW])
def test_resets_before_a_row_begin_a_stream_again(time, settle):
    layers = [LSTM(4, return_sequences=time is None), Dense(2)]
    network = Network(layers, input_shape=(time, FEATURES), seed=3)
    x, resets = rows(np.random.default_rng(1), 2, 9), np.zeros((2, 9), bool)
    resets[0, [0, 4]] = resets[1, 7] = True
    stream = Stream(network, settle=settle)
    got = np.stack([stream.step(x[:, t], resets=resets[:, t]) for t in range(9)], axis=1)
    np.testing.assert_array_equal(Stream(network, settle=settle).run(x, resets=resets), got)
    for row, first in ((0, 4), (1, 7)):
        before, after = Stream(network, settle=settle).run(x[row, :first]), Stream(network, settle=settle)
        np.testing.assert_allclose(got[row], np.concatenate([before, after.run(x[row, first:])]), atol=1e-6)
    alone, out = Stream(network, settle=settle), np.empty(2, "float32")
    for t in range(9):
        alone.step(x[0, t], out, resets=resets[0, t])
        np.testing.assert_allclose(out, got[0, t], atol=1e-6)


def test_resets_that_do_not_fit(network):
    with pytest.raises(ValueError, match=r"resets has shape \(2,\) and dtype bool; expected \(\) and bool"):
        Stream(network).step(np.zeros(FEATURES), resets=[True, False])
    with pytest.raises(ValueError, match=r"resets has shape \(\) and dtype int64; expected \(\) and bool"):
        Stream(network).step(np.zeros(FEATURES), resets=1)
    with pytest.raises(ValueError, match=r"resets has shape \(3,\) and dtype bool; expected \(4,\) and bool"):
        Stream(network).run(np.zeros((4, FEATURES)), resets=np.zeros(3, bool))


@pytest.mark.usefixtures("no_pictures")
def test_a_run_of_fit_row_by_row(tmp_path):
    values = np.sin(np.arange(300) / 5) + 0.1 * np.arange(300)
    run = elman.fit(polars.DataFrame({"value": values}), window=8, ahead=3, units=4, epochs=1, out=tmp_path / "run")
    x = values[:40, None].astype("float32")
    windows, grid = np.stack([x[t - 8 : t] for t in range(8, 41)]), tolerance.Grid()
    for source in (run, tmp_path / "run", str(tmp_path / "run" / "model.safetensors")):
        stream = Stream(source)
        compared(grid, run.model, stream.run(x)[7:], windows, source)
        assert stream.warmup == stream.window == 8  # before, the linear part has no output
