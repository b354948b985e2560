# SPDX-License-Identifier: Apache-2.0
"""Damaged files in every loader that needs no framework: one clear error, no crash, little memory."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

import elman
import fuzzing
from elman import checkpoint
from elman.errors import DataError
from elman.network import GRU, LSTM, Concat, Dense, Embedding, Last, Network, SimpleRNN, Sum
from elman.stream import Stream
from size import by_size

COUNT = by_size(30, 120, 5000)


def network() -> Network:
    layers = [Concat([[LSTM(3)], [GRU(2)]]), Sum([[Dense(4)], [Dense(4, activation="tanh")]])]
    return Network(layers, input_shape=(None, 2), seed=0)


def saved_network(path: Path) -> None:
    network().save(path)


def saved_words(path: Path) -> None:
    Network([Embedding(6, 3), SimpleRNN(4)], input_shape=(None,), seed=0).save(path)


def saved_stream(path: Path) -> None:
    stream = Stream(network(), settle=True)
    stream.step(np.zeros((3, 2)))
    stream.save(path)


def saved_stream_of_words(path: Path) -> None:
    layers = [Embedding(6, 3, mask_zero=True), SimpleRNN(4, return_sequences=True), Last()]
    stream = Stream(Network(layers, input_shape=(5,), seed=0))
    stream.step(2)
    stream.save(path)


def saved_checkpoint(path: Path) -> None:
    checkpoint.write(path, {"a": np.zeros((3, 4), "float32")}, {"facts": json.dumps({"rows": 3, "keys": ["a"]})})


LOADERS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "network": (saved_network, Network.load),
    "network of words": (saved_words, Network.load),
    "stream": (saved_stream, Stream.load),
    "stream of words": (saved_stream_of_words, Stream.load),
    "stream of a network": (saved_network, Stream),
    "checkpoint": (saved_checkpoint, functools.partial(checkpoint.read, remedy="Delete it.")),
}


def stepped(rng: np.random.Generator, stream: Stream) -> None:
    """Steps a stream, and once more from a state with flipped bits: it is set as it is, or refused and not set."""
    x = np.zeros(stream._known(), stream.dtype if stream.words is None else int)
    shape, state = stream.step(x).shape, stream.flat_state()
    changed = np.frombuffer(fuzzing.flipped(rng, state.tobytes()), state.dtype).reshape(state.shape)
    try:
        stream.set_flat_state(changed)
    except ValueError as error:
        assert stream.words is not None
        assert "expected an integer from 0 below its size" in str(error)  # noqa: PT017
        changed = state
    assert stream.flat_state().tobytes() == changed.tobytes()
    assert stream.step(x).shape == shape


@pytest.mark.parametrize("kind", LOADERS)
def test_a_damaged_file_is_one_clear_error(kind, tmp_path):
    save, load = LOADERS[kind]
    good = tmp_path / "good.safetensors"
    save(good)
    load(good)
    data, loaded = good.read_bytes(), 0
    made: list[Any] = []
    errors = (DataError, ValueError) if load is Stream else (DataError,)  # which refuses layers that read backwards
    for seed in range(COUNT):
        rng = np.random.default_rng(seed)
        change = fuzzing.SAFETENSORS[rng.integers(len(fuzzing.SAFETENSORS))]
        path = tmp_path / "bad.safetensors"
        path.write_bytes(change(rng, data))
        try:
            loaded += fuzzing.check(lambda path: made.append(load(path)), path, errors)
            while made:
                if isinstance(one := made.pop(), Stream):
                    stepped(rng, one)
        except BaseException:
            print(f"file {seed} of {kind}, by {change.__name__}")
            raise
    assert loaded < 0.7 * COUNT  # those that hold other values of the right kind


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, no_pictures):
    folder = tmp_path_factory.mktemp("run") / "run"
    x = np.sin(np.arange(300) / 5)
    elman.fit(polars.DataFrame({"value": x}), target="value", out=folder, window=8, ahead=2, units=2, epochs=1)
    return folder


def test_a_damaged_run_is_one_clear_error(run_folder, tmp_path):
    names = [name for name in ("metrics.json", "model.safetensors", "forecast.csv") if (run_folder / name).exists()]
    for seed in range(COUNT):
        rng = np.random.default_rng(seed)
        name = names[rng.integers(len(names))]
        folder = tmp_path / "bad"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(run_folder, folder)
        changes = fuzzing.SAFETENSORS if name.endswith(".safetensors") else fuzzing.PLAIN
        change, data = changes[rng.integers(len(changes))], (run_folder / name).read_bytes()
        (folder / name).write_bytes(
            json.dumps(fuzzing.with_odd_value(rng, json.loads(data))).encode()
            if name == "metrics.json" and rng.random() < 0.7
            else change(rng, data)
        )
        try:
            for load in (lambda folder: elman.Run.load(folder).model, lambda folder: elman.Run.load(folder).forecast):
                fuzzing.check(lambda path, load=load: load(path.parent), folder / name)
        except BaseException:
            print(f"file {seed}: {name} by {change.__name__}")
            raise
