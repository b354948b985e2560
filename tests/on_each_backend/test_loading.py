# SPDX-License-Identifier: Apache-2.0
"""Files opened in a fresh process: with elman imported before or after Keras and nothing of it touched, and where it
cannot be imported. Files of Keras 2: such as Keras 3 writes, with their configs as Keras 2 wrote them. Damaged files.
What files say of training is tested in test_loading_keras_2.py."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import elman
from elman import archives
from elman.errors import DataError

CELLS = ("SimpleRNN", "LSTM", "GRU")
X = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")

LOAD = """
def check(name):
    model = keras.models.load_model(name + ".keras")
    kinds = {type(layer).__module__.partition(".")[0] for layer in model.layers}
    assert ("elman" in kinds) == (name == "ours"), kinds
    y = keras.ops.convert_to_numpy(model(np.load("x.npy")))
    np.testing.assert_allclose(y, np.load("y.npy"), rtol=0, atol=1e-6)
"""
ELMAN_FIRST = f"import elman, keras\nimport numpy as np\n{LOAD}\ncheck('ours')"
KERAS_FIRST = f"""
import sys
sys.modules["elman"] = None  # it cannot be imported
import keras
import numpy as np
{LOAD}
check("stock")
del sys.modules["elman"]
import elman
check("ours")
"""


def written(folder: Path) -> Path:
    """The folder, with a model of elman's layers, of Keras's own, and what they compute."""
    half = elman.SimpleRNN(4, return_sequences=True)
    layers = [keras.layers.Bidirectional(half), elman.SimpleRNN(3), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((5, 2)), *layers])
    model.compile("adam", "mse")
    model.train_on_batch(X, X[:, 0, :1])
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", outputs(model))
    model.save(folder / "ours.keras")
    elman.to_stock(model).save(folder / "stock.keras")
    return folder


def outputs(model: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(model(X)))


def run(code: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.once
@pytest.mark.medium
def test_a_file_loads_where_elman_is_imported_before_keras(tmp_path):
    run(ELMAN_FIRST, written(tmp_path))


@pytest.mark.once
@pytest.mark.medium
def test_a_stock_file_loads_without_elman_and_ours_once_it_is_imported(tmp_path):
    run(KERAS_FIRST, written(tmp_path))


@pytest.mark.medium
def test_load_model_takes_what_keras_takes(tmp_path):
    path = written(tmp_path) / "ours.keras"
    model = elman.load_model(path, custom_objects=None, compile=False, safe_mode=True)
    assert not model.compiled
    assert elman.load_model(path).compiled


# --- files of Keras 2 ----------------------------------------------------------------------------------------------


def rewrite(path: Path, change: Callable[[Any], Any], version: str = "2.15.0") -> None:
    """Changes the config in a file, and who wrote it."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(change(json.loads(file.attrs["model_config"])))
            file.attrs["keras_version"] = version
        return
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["config.json"] = json.dumps(change(json.loads(entries["config.json"]))).encode()
    entries["metadata.json"] = json.dumps({"keras_version": version}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def each_layer(change: Callable[[str, dict[str, Any]], Any]) -> Callable[[Any], Any]:
    """A change of a config that is handed the class and the config of each layer in it."""

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("config"), dict):
            change(value["class_name"].rpartition(">")[2], value["config"])
        return {key: walk(item) for key, item in value.items()}

    return walk


@each_layer
def as_keras_2(kind: str, config: dict[str, Any]) -> None:
    if kind == "InputLayer":
        config["batch_input_shape"] = config.pop("batch_shape")
    if kind in (*CELLS, "RNN"):
        config |= {"time_major": False, "batch_input_shape": [None, 5, 2], "implementation": 1}
    if kind == "RNN":
        del config["implementation"]
    if kind == "SimpleRNNCell":
        config["implementation"] = 1


def sequential(layer: Any) -> Any:
    return keras.Sequential([keras.Input((5, 2)), layer(3, name="rnn"), keras.layers.Dense(1)])


def functional(layer: Any) -> Any:
    x = keras.Input((5, 2))
    return keras.Model(x, keras.layers.Dense(1)(layer(3, name="rnn")(x)))


def in_both_directions(layer: Any) -> Any:
    return keras.Sequential(
        [keras.Input((5, 2)), keras.layers.Bidirectional(layer(3, name="rnn")), keras.layers.Dense(1)]
    )


def loaded(path: Path, caplog: Any) -> tuple[Any, list[str]]:
    """The model, and what the logger said."""
    with caplog.at_level(logging.WARNING, "elman"):
        model = elman.load_model(path)
    return model, [r.getMessage() for r in caplog.records if r.name == "elman" and "load_model" in r.getMessage()]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("package", "kind"),
    [(elman, sequential), (elman, functional), (elman, in_both_directions), (keras.layers, in_both_directions)],
    ids=["sequential", "functional", "in both directions", "stock"],
)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_file_of_keras_2_loads_and_what_is_dropped_is_named(cell, package, suffix, kind, tmp_path, caplog):
    model = kind(getattr(package, cell))
    model.save(path := tmp_path / f"old{suffix}")
    rewrite(path, as_keras_2)
    before = path.read_bytes()
    again, said = loaded(path, caplog)
    np.testing.assert_allclose(outputs(again), outputs(model), rtol=0, atol=1e-6)
    assert type(again) is type(model)
    assert type(again.layers[-2]) is type(model.layers[-2])
    names = "'forward_rnn', 'backward_rnn'" if kind is in_both_directions else "'rnn'"
    dropped = ["time_major=False", "batch_input_shape", *(["implementation"] if cell == "SimpleRNN" else [])]
    named = "; ".join(f"{argument} of {names}" for argument in dropped)
    assert said == [f"load_model drops what Keras 3 does not have from 'old{suffix}': {named}."]
    if cell != "SimpleRNN" and kind is not in_both_directions:
        assert again.layers[-2].cell.implementation == 1
    assert path.read_bytes() == before


@pytest.mark.medium
def test_stacked_cells_of_keras_2_load(tmp_path, caplog):
    cells = [keras.layers.SimpleRNNCell(3, name="first"), keras.layers.LSTMCell(4)]
    model = keras.Sequential([keras.Input((5, 2)), keras.layers.RNN(cells, name="rnn")])
    model.save(path := tmp_path / "old.keras")
    rewrite(path, as_keras_2)
    again, (said,) = loaded(path, caplog)
    np.testing.assert_array_equal(outputs(again), outputs(model))
    assert "time_major=False of 'rnn'; " in said
    assert "implementation of 'first'" in said


def test_a_functional_model_of_keras_2_has_a_module_that_is_gone(tmp_path):
    model = functional(elman.GRU)
    model.save(path := tmp_path / "old.keras")
    rewrite(path, lambda config: as_keras_2(config) | {"module": "keras.src.engine.functional"})
    np.testing.assert_array_equal(outputs(elman.load_model(path)), outputs(model))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_what_a_model_of_keras_2_was_compiled_with_is_kept(suffix, tmp_path):
    model = sequential(elman.LSTM)
    model.compile("sgd", "mse", metrics=["mae"])
    model.save(path := tmp_path / f"old{suffix}")

    def change(config: Any) -> Any:
        old = as_keras_2(config)
        if suffix == ".keras":
            old["compile_config"] |= {"run_eagerly": None, "steps_per_execution": None, "jit_compile": None}
        return old

    rewrite(path, change)
    again = elman.load_model(path)
    got, expected = (m.evaluate(X, X[:, 0, :1], verbose=0) for m in (again, model))
    assert got == pytest.approx(expected, rel=1e-6)
    assert again.steps_per_execution == 1


@pytest.mark.parametrize("listed", [True, False])
def test_the_first_layer_of_an_old_sequential_model_has_its_input(listed, tmp_path, caplog):
    """In Keras 2.0 a Sequential model was a list, without an input layer, and a GRU of one kind."""
    model = keras.Sequential([keras.Input((5, 2)), elman.GRU(3, reset_after=False, name="rnn"), keras.layers.Dense(1)])
    model.save(path := tmp_path / "old.h5")

    def change(config: Any) -> Any:
        _, *layers = as_keras_2(config)["config"]["layers"]
        del layers[0]["config"]["reset_after"]
        return config | {"config": layers if listed else {"name": "sequential", "layers": layers}}

    rewrite(path, change, "2.0.8")
    again, said = loaded(path, caplog)
    assert again.input_shape == (None, 5, 2)
    np.testing.assert_array_equal(outputs(again), outputs(model))
    assert said == ["load_model drops what Keras 3 does not have from 'old.h5': time_major=False of 'rnn'."]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("cell", CELLS)
def test_time_major_is_refused(cell, suffix, tmp_path):
    sequential(getattr(keras.layers, cell)).save(path := tmp_path / f"old{suffix}")
    rewrite(path, each_layer(lambda kind, config: config.update(time_major=True) if kind == cell else None))
    with pytest.raises(
        ValueError,
        match=rf"load_model got 'old{suffix}' with time_major=True of {cell} 'rnn'; expected time_major=False, .* "
        r"Make the model .* transpose the input, x.transpose\(1, 0, 2\)\.",
    ):
        elman.load_model(path)


def test_another_hard_sigmoid_is_named(tmp_path, caplog):
    model = keras.Sequential([keras.Input((5, 2)), elman.LSTM(3, recurrent_activation="hard_sigmoid", name="rnn")])
    model.save(path := tmp_path / "old.h5")
    rewrite(path, as_keras_2)
    _, (said,) = loaded(path, caplog)
    assert said.endswith(
        " 'old.h5' was written by Keras 2, whose hard_sigmoid was 0.2 x + 0.5; that of Keras 3 is x / 6 + 0.5, so that "
        "the outputs of 'rnn' change."
    )


@keras.saving.register_keras_serializable("elman_tests")
class Major(keras.layers.LSTM):
    """A layer of the user's own, with an argument of its own of that name."""

    def __init__(self, units: int, time_major: bool = False, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.time_major = time_major

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "time_major": self.time_major}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_other_files_are_opened_as_they_are(suffix, tmp_path, caplog, monkeypatch):
    model = keras.Sequential([keras.Input((5, 2)), elman.LSTM(3, return_sequences=True), Major(4, time_major=True)])
    model.save(path := tmp_path / f"new{suffix}")
    opened = []
    load = keras.models.load_model
    monkeypatch.setattr(
        keras.models, "load_model", lambda path, **options: opened.append(path) or load(path, **options)
    )
    again, said = loaded(path, caplog)
    assert again.layers[-1].time_major
    assert opened == [path]
    assert not said


def test_what_is_no_model_file_is_left_to_keras(tmp_path):
    (tmp_path / "text.h5").write_text("no model")
    with pytest.raises(OSError, match="signature"):
        elman.load_model(tmp_path / "text.h5")
    for name in ("none.keras", "none.h5", "none.txt"):
        with pytest.raises((ValueError, FileNotFoundError)):
            elman.load_model(tmp_path / name)


# --- damaged files, and files that are made to do harm -------------------------------------------------------------


def archive_of(folder: Path, name: str = "model.keras", **entries: bytes) -> Path:
    """A .keras file with some parts replaced, each compressed."""
    sequential(keras.layers.GRU).save(path := folder / name)
    with zipfile.ZipFile(path) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, content in (parts | {part.replace("__", "."): c for part, c in entries.items()}).items():
            archive.writestr(part, content)
    return path


def deep(levels: int) -> bytes:
    """A Sequential model in a Sequential model, and so on."""
    start, end = b'{"class_name": "Sequential", "config": {"name": "a", "layers": [', b"]}}"
    return start * levels + end * levels


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("levels", [400, 50_000])
def test_a_config_that_is_nested_too_deep_is_one_sentence(levels, suffix, tmp_path):
    sequential(keras.layers.GRU).save(path := tmp_path / f"deep{suffix}")
    if suffix == ".keras":
        path = archive_of(tmp_path, "deep.keras", config__json=deep(levels))
    else:
        with h5py.File(path, "r+", track_order=True) as file:
            del file.attrs["model_config"]
            file.attrs.create("model_config", deep(levels), dtype=h5py.string_dtype())
    sentence = rf"deep\{suffix} has a config that is nested too deep to be read; expected .* Open a file whose origin"
    with pytest.raises(DataError, match=sentence) as caught:
        elman.load_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["config.json", "metadata.json", "model.weights.h5", "assets/words.txt"])
def test_a_part_that_unpacks_to_too_much_is_refused_before_it_is_read(part, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_LONGEST_CONFIG", 1 << 23)
    monkeypatch.setattr(archives, "_UNPACKED", 1 << 23)
    path = archive_of(tmp_path, **{part: b" " * ((1 << 23) + 1)})
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=rf"has a part {part} that unpacks from .* to 8,388,609 bytes; expected at"):
            elman.load_model(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{}", b'{"class_name": 1, "config": {}}', b"\xff\xfe", b"nan"]
)
def test_a_config_that_is_not_a_models_is_one_sentence(content, tmp_path):
    path = archive_of(tmp_path, config__json=content)
    with pytest.raises(DataError, match=r"model\.keras cannot be read as a \.keras file: it is damaged, or not such a"):
        elman.load_model(path)


def test_a_file_without_its_metadata_loads(tmp_path):
    path = archive_of(tmp_path)
    with zipfile.ZipFile(path) as archive:
        parts = {part: archive.read(part) for part in archive.namelist() if part != "metadata.json"}
    with zipfile.ZipFile(path, "w") as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    assert elman.load_model(path).built


def test_a_flipped_bit_or_a_missing_end_is_one_sentence(tmp_path, monkeypatch):
    sequential(elman.LSTM).save(path := tmp_path / "model.keras")
    whole = path.read_bytes()
    opened: list[Any] = []
    monkeypatch.setattr(keras.models, "load_model", lambda path, **options: opened.append(path))
    flipped = [whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :] for at in range(0, len(whole), 23)]
    sentences = []
    for content in [*flipped, *(whole[:at] for at in range(0, len(whole), 997))]:
        path.write_bytes(content)
        try:
            elman.load_model(path)
        except DataError as error:
            sentences.append(str(error))
    assert len(opened) < len(flipped) / 20  # dates and the like are not used
    assert len(sentences) > len(flipped)
    assert all(sentence.startswith(f"{path} ") and "\n" not in sentence for sentence in sentences)


def test_a_damaged_hdf5_file_is_one_sentence(tmp_path):
    sequential(elman.LSTM).save(path := tmp_path / "model.h5")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"model\.h5 cannot be read as a \.h5 file: it is damaged, .* Save the model"):
        elman.load_model(path)
