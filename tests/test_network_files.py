# SPDX-License-Identifier: Apache-2.0
"""A network in a file: what is read is what was written, and a bad file is a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import network_cases as cases
from elman.errors import DataError
from elman.network import Dense, Network, SimpleRNN

X = np.random.default_rng(0).normal(size=(3, 5, 2))


@pytest.mark.parametrize("seed", range(10))
def test_a_network_is_read_as_it_was_written(tmp_path, seed):
    rng = np.random.default_rng(seed)
    network = Network(cases.random_layers(rng, 2), input_shape=(5, 2), dtype=str(rng.choice(["float32", "float64"])))
    cases.random_weights(network, rng)
    network.save(tmp_path / "net.safetensors")
    again = Network.load(tmp_path / "net.safetensors")
    assert again.describe() == network.describe()
    np.testing.assert_array_equal(again(X), network(X))


def test_a_network_without_weights_is_not_written(tmp_path):
    with pytest.raises(DataError, match="no weights yet"):
        Network([SimpleRNN(3)]).save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


def described(layer):
    return '{"dtype": "float32", "input_shape": [null, 2], "layers": [' + layer + "]}"


@pytest.fixture
def parts(tmp_path):
    """The arrays and the header of a good file, and a function that writes a changed one."""
    path = tmp_path / "net.safetensors"
    network = Network([SimpleRNN(3), Dense(1)], input_shape=(None, 2))
    network.save(path)
    arrays = load_file(path)
    header = {"format": "elman.Network", "version": "1", "description": json.dumps(network.describe())}

    def write(header, arrays=arrays):
        save_file(arrays, path, header)
        return path

    return arrays, header, write


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "not of an elman.Network"),
        ({"version": "2"}, "has version '2' of the format; this elman reads up to 1. Update elman"),
        ({"version": "x" * 5000}, "has version"),
        ({"description": "{"}, "is damaged"),
        ({"description": "[" * 100_000}, "is damaged"),
        ({"description": "null"}, "is damaged"),
        ({"description": described('{"layer": "os.system"}')}, "is damaged"),
        ({"description": described('{"layer": "Dense", "units": 9}')}, "is damaged"),
        ({"description": described('{"layer": "Dense", "rm": 9}')}, "is damaged"),
        ({"description": '{"dtype": "float32", "input_shape": 3, "layers": []}'}, "is damaged"),
        ({"description": " " * (1 << 21)}, "characters; expected at most"),
    ],
)  # fmt: skip
def test_a_header_that_does_not_fit(parts, change, words):
    _, header, write = parts
    path = write(header | change)
    with pytest.raises(DataError, match=words):
        Network.load(path)


@pytest.mark.parametrize("units", [4, 50_000, 10**9, 10**30])
def test_a_description_that_asks_for_more_than_the_arrays(parts, units):
    """Memory is only taken for a network whose arrays are in the file."""
    arrays, header, write = parts
    description = json.loads(header["description"])
    description["layers"][0]["units"] = units
    path = write(header | {"description": json.dumps(description)}, arrays)
    with pytest.raises(DataError, match="damaged"):
        Network.load(path)


def test_arrays_that_do_not_fit(parts):
    arrays, header, write = parts
    name = "dense/kernel"
    for changed in ({name: arrays[name].T}, {name: arrays[name].astype("float64")[:2]}, {"more": arrays[name]}):
        with pytest.raises(DataError, match="damaged"):
            Network.load(write(header, arrays | {key: np.ascontiguousarray(a) for key, a in changed.items()}))


def test_a_file_that_is_cut_or_missing(parts, tmp_path):
    _, header, write = parts
    path = write(header)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="not a safetensors file, or is damaged"):
        Network.load(path)
    entry = {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}  # which NumPy lacks, unless ml_dtypes is loaded
    text = json.dumps({"a": entry, "__metadata__": {"format": "elman.Network"}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(DataError, match="not a safetensors file, or is damaged|has version ''"):
        Network.load(path)
    with pytest.raises(DataError, match="does not exist"):
        Network.load(tmp_path / "none")
