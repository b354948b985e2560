# SPDX-License-Identifier: Apache-2.0
"""Training resumes from files of Keras 2 and from HDF5 files. CuDNN layers, and layers called with an initial state.

Each file is one that Keras 3 writes, with its config, its weights and the optimizer's variables rewritten as Keras 2
wrote them, so that the model that was saved is the truth.
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import elman

pytestmark = [pytest.mark.medium, pytest.mark.shared]
CELLS = ("SimpleRNN", "LSTM", "GRU")
SUFFIXES = pytest.mark.parametrize("suffix", [".keras", ".h5"])
X = np.random.default_rng(0).normal(size=(8, 5, 2)).astype("float32")
Y = X[:, 0, :1]


def model_of(**compiled: Any) -> Any:
    """A model after two steps of training."""
    keras.utils.set_random_seed(1)
    layers = [keras.Input((5, 2)), keras.layers.LSTM(3, name="rnn"), keras.layers.Dense(1, name="head")]
    return trained(keras.Sequential(layers), **compiled)


def trained(model: Any, x: Any = X, y: Any = Y, **compiled: Any) -> Any:
    model.compile(**{"optimizer": "adam", "loss": "mse"} | compiled)
    for _ in range(2):
        model.train_on_batch(x, y)
    return model


def outputs(model: Any, x: Any = X) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(model(x)))


def values(variables: Any) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def assert_same_training(again: Any, model: Any, x: Any = X, y: Any = Y) -> None:
    """The two evaluate alike, and have the same weights after a step more."""
    got, expected = (m.evaluate(x, y, verbose=0, return_dict=True) for m in (again, model))
    assert got == pytest.approx(expected, rel=1e-6)
    for each in (again, model):
        each.train_on_batch(x, y)
    for one, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


# --- files as Keras 2 wrote them -----------------------------------------------------------------------------------


class Rewritten:
    """A saved model's file, and what is changed in it.

    `config` is the model's config, and `training` has the arguments of `compile`. `slots` are the names and values of
    the optimizer's variables.
    """

    def __init__(self, model: Any, path: Path) -> None:
        model.save(path)
        self.path = path
        self._read = self._read_archive if path.suffix == ".keras" else self._read_hdf5
        self._read()

    def _read_archive(self) -> None:
        with zipfile.ZipFile(self.path) as archive:
            self.entries = {name: archive.read(name) for name in archive.namelist()}
        self.config = json.loads(self.entries["config.json"])
        self.training = self.config.get("compile_config") or {}
        with h5py.File(io.BytesIO(self.entries["model.weights.h5"])) as file:
            group = file.get("optimizer/vars", {})
            self.slots = [("", group[key][()]) for key in sorted(group, key=int)]

    def _read_hdf5(self) -> None:
        with h5py.File(self.path) as file:
            self.config = json.loads(file.attrs["model_config"])
            self.training = json.loads(file.attrs.get("training_config", "{}"))
            if self.training:
                self.training["optimizer"] = self.training.pop("optimizer_config")
            group = file.get("optimizer_weights", {})
            names = group.attrs["weight_names"] if group else []
            self.slots = [(name, group[name][()]) for name in names]

    def write(self, version: str = "2.15.0") -> Path:
        return self._write_archive(version) if self.path.suffix == ".keras" else self._write_hdf5(version)

    def _write_archive(self, version: str) -> Path:
        if self.training:
            self.config["compile_config"] = self.training
        weights = io.BytesIO(self.entries["model.weights.h5"])
        with h5py.File(weights, "r+") as file:
            if "optimizer/vars" in file:
                del file["optimizer/vars"]
                for i, (_, value) in enumerate(self.slots):
                    file[f"optimizer/vars/{i}"] = value
        self.entries |= {
            "config.json": json.dumps(self.config).encode(),
            "metadata.json": json.dumps({"keras_version": version}).encode(),
            "model.weights.h5": weights.getvalue(),
        }
        with zipfile.ZipFile(self.path, "w") as archive:
            for name, content in self.entries.items():
                archive.writestr(name, content)
        return self.path

    def _write_hdf5(self, version: str) -> Path:
        with h5py.File(self.path, "r+") as file:
            file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(self.config), version
            if self.training:
                training = self.training | {"optimizer_config": self.training["optimizer"]}
                del training["optimizer"]
                file.attrs["training_config"] = json.dumps(training)
            if "optimizer_weights" in file:
                del file["optimizer_weights"]
                group = file.create_group("optimizer_weights")
                group.attrs["weight_names"] = [name for name, _ in self.slots]
                for name, value in self.slots:
                    group[name] = value
        return self.path


def as_keras_2(file: Rewritten, optimizer: Any, metrics: Any = None) -> Rewritten:
    """Rewrites the training settings, with the mean squared error, as Keras 2.11 and later wrote them."""
    name = type(optimizer).__name__
    config = {k: v for k, v in optimizer.get_config().items() if k not in {"loss_scale_factor"}}
    config = {k: v for k, v in config.items() if k != "gradient_accumulation_steps"}
    config |= {"jit_compile": False, "is_legacy_optimizer": False, "name": name}
    archive = file.path.suffix == ".keras"
    header = {"module": "keras.optimizers", "registered_name": None} if archive else {}
    loss = {"class_name": "MeanSquaredError", "config": {"reduction": "auto", "name": "l", "fn": "mean_squared_error"}}
    file.training = {
        "optimizer": {"class_name": name if archive else f"Custom>{name}", "config": config} | header,
        "loss": loss | ({"module": "keras.losses", "registered_name": None} if archive else {}),
        "metrics": metrics,
        "weighted_metrics": None,
        "loss_weights": None,
    }
    (first, iteration), *slots = [(n, v) for n, v in file.slots if not n.endswith("learning_rate")]
    if archive:  # its variables have no names; the second is the learning rate
        slots = slots[1:]
    file.slots = [(first, iteration), *slots]
    return file


OPTIMIZERS = {
    "Adam": lambda: keras.optimizers.Adam(0.01, amsgrad=True, clipnorm=1.0),
    "SGD": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "Adamax": lambda: keras.optimizers.Adamax(0.01),
}


def warnings_of(caplog: Any) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "elman"]


@SUFFIXES
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_resumes_from_a_file_of_keras_2(name, suffix, tmp_path, caplog):
    model = model_of(optimizer=OPTIMIZERS[name]())
    path = as_keras_2(Rewritten(model, tmp_path / f"old{suffix}"), model.optimizer).write()
    again = elman.load_model(path)
    assert not warnings_of(caplog)
    for one, other in zip(values(again.optimizer.variables), values(model.optimizer.variables), strict=True):
        np.testing.assert_array_equal(one, other)
    assert_same_training(again, model)


def test_the_optimizers_before_keras_2_11_had_their_variables_in_another_order(tmp_path):
    model = model_of(optimizer=keras.optimizers.Adam(0.01))
    file = as_keras_2(Rewritten(model, tmp_path / "old.h5"), model.optimizer)
    (_, iteration), *slots = file.slots
    of_kind = {kind: [(name, v) for name, v in slots if name.endswith(kind)] for kind in ("momentum", "velocity")}
    names = {"momentum": "m:0", "velocity": "v:0"}
    file.slots = [("Adam/iter:0", iteration)]
    file.slots += [(f"{name}/{names[kind]}", v) for kind, found in of_kind.items() for name, v in found]
    config = {"name": "Adam", "lr": 0.01, "decay": 0.0, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
    file.training["optimizer"] = {"class_name": "Adam", "config": config | {"amsgrad": False}}
    assert_same_training(elman.load_model(file.write()), model)


def test_a_decay_of_keras_2_becomes_a_schedule(tmp_path):
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 0.5)
    model = model_of(optimizer=keras.optimizers.SGD(schedule))
    file = Rewritten(model, tmp_path / "old.h5")
    config = {"name": "SGD", "learning_rate": 0.1, "decay": 0.5, "momentum": 0.0, "nesterov": False}
    file.training["optimizer"] = {"class_name": "SGD", "config": config}
    assert_same_training(elman.load_model(file.write()), model)


def test_a_schedule_of_keras_2_is_kept(tmp_path):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    model = model_of(optimizer=keras.optimizers.SGD(schedule))
    file = as_keras_2(Rewritten(model, tmp_path / "old.h5"), model.optimizer)
    config = {"initial_learning_rate": 0.1, "decay_steps": 2, "decay_rate": 0.5, "staircase": False, "name": None}
    file.training["optimizer"]["config"]["learning_rate"] = {"class_name": "ExponentialDecay", "config": config}
    assert_same_training(elman.load_model(file.write()), model)


def wrapped(name: str, function: str) -> dict[str, Any]:
    """A metric that was compiled by its name, as Keras 2 wrote it into an HDF5 file."""
    return {"class_name": "MeanMetricWrapper", "config": {"name": name, "dtype": "float32", "fn": function}}


def test_metrics_of_keras_2_are_kept(tmp_path):
    auc = {"class_name": "AUC", "config": {"name": "auc", "dtype": "float32", "num_thresholds": 200}}
    y = (Y > 0).astype("float32")
    model = model_of(y=y, loss="binary_crossentropy", metrics=["accuracy", keras.metrics.AUC(name="auc")])
    metrics = [[wrapped("accuracy", "binary_accuracy"), auc]]
    file = as_keras_2(Rewritten(model, tmp_path / "old.h5"), model.optimizer, metrics)
    file.training["loss"] = "binary_crossentropy"
    again = elman.load_model(file.write())
    assert set(again.evaluate(X, y, verbose=0, return_dict=True)) == {"accuracy", "auc", "loss"}
    assert_same_training(again, model, y=y)


def test_metrics_of_several_outputs_are_kept(tmp_path):
    x = keras.Input((5, 2))
    h = keras.layers.GRU(3)(x)
    model = keras.Model(x, [keras.layers.Dense(1, name="a")(h), keras.layers.Dense(1, name="b")(h)])
    trained(model, y=[Y, Y], loss={"a": "mse", "b": "mae"}, loss_weights={"a": 1.0, "b": 0.5}, metrics={"a": ["mae"]})
    file = as_keras_2(Rewritten(model, tmp_path / "old.h5"), model.optimizer)
    settings = {"loss": {"a": "mse", "b": "mae"}, "loss_weights": {"a": 1.0, "b": 0.5}}
    file.training |= settings | {"metrics": [[wrapped("a_mae", "mean_absolute_error")], [None]]}
    assert_same_training(elman.load_model(file.write()), model, y=[Y, Y])


def squares(truth: Any, got: Any) -> Any:
    """A function of the user's own."""
    return keras.ops.mean(keras.ops.square(keras.ops.subtract(truth, got)), axis=-1)


@SUFFIXES
def test_a_users_own_functions_are_found_in_custom_objects(suffix, tmp_path):
    model = model_of(loss=squares, metrics=[squares])
    file = as_keras_2(Rewritten(model, tmp_path / f"old{suffix}"), model.optimizer)
    file.training |= {"loss": "squares", "metrics": [[wrapped("squares", "squares")]]}
    again = elman.load_model(file.write(), custom_objects={"squares": squares})
    assert_same_training(again, model)


WITHOUT = {
    "loss": ({"loss": "squares"}, "squares"),
    "metric": ({"metrics": [[wrapped("squares", "squares")]]}, "squares"),
    "argument": ({"optimizer": {"class_name": "Adam", "config": {"warmth": 1}}}, "warmth"),
    "optimizer": ({"optimizer": {"class_name": "Warm", "config": {}}}, "Warm"),
}


@pytest.mark.at_most(4)
@SUFFIXES
@pytest.mark.parametrize("name", WITHOUT)
def test_what_cannot_be_compiled_again_is_named(name, suffix, tmp_path, caplog):
    changed, named = WITHOUT[name]
    model = model_of()
    file = as_keras_2(Rewritten(model, tmp_path / f"old{suffix}"), model.optimizer)
    file.training |= changed
    with caplog.at_level(logging.WARNING, "elman"):
        again = elman.load_model(file.write())
    (said,) = warnings_of(caplog)
    assert said.startswith(f"load_model of 'old{suffix}': the model is not compiled: ")
    assert named in said
    assert "Compile it again before you train or evaluate it, for example model.compile('adam', 'mse')" in said
    assert not again.compiled
    np.testing.assert_array_equal(outputs(again), outputs(model))
    trained(again)


@SUFFIXES
def test_variables_of_an_optimizer_that_do_not_fit_are_named(suffix, tmp_path, caplog):
    model = model_of()
    file = as_keras_2(Rewritten(model, tmp_path / f"old{suffix}"), model.optimizer)
    file.slots.pop()
    with caplog.at_level(logging.WARNING, "elman"):
        again = elman.load_model(file.write())
    (said,) = warnings_of(caplog)
    assert said == (
        f"load_model of 'old{suffix}': the optimizer Adam starts with new variables, as those in the file do not fit "
        "it. The weights are those of the file; the first steps of further training differ."
    )
    assert int(again.optimizer.iterations) == 0
    trained(again)


def test_a_model_that_was_saved_before_its_first_step_starts_there(tmp_path, caplog):
    model = model_of()
    file = as_keras_2(Rewritten(model, tmp_path / "old.h5"), model.optimizer)
    file.slots = [("iteration:0", np.int64(0))]
    again = elman.load_model(file.write())
    assert not warnings_of(caplog)
    assert int(again.optimizer.iterations) == 0


@SUFFIXES
def test_a_file_is_not_compiled_where_that_is_not_asked_for(suffix, tmp_path, caplog):
    model = model_of()
    file = as_keras_2(Rewritten(model, tmp_path / f"old{suffix}"), model.optimizer)
    file.training |= {"optimizer": {"class_name": "Warm", "config": {}}}
    assert not elman.load_model(file.write(), compile=False).compiled
    assert not warnings_of(caplog)


# --- HDF5 files of Keras 3 -----------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("elman_tests")
class Slow(keras.optimizers.SGD):
    """An optimizer of the user's own."""


@pytest.mark.parametrize(
    "compiled",
    [
        {"loss": "mse", "metrics": ["mae"]},
        {"loss": "mae", "metrics": ["mse", keras.losses.mean_squared_logarithmic_error], "optimizer": "rmsprop"},
        {"loss": keras.losses.MeanSquaredError(), "metrics": [keras.metrics.RootMeanSquaredError(name="root")]},
        {"loss": "mse", "metrics": [keras.metrics.MeanMetricWrapper(keras.losses.mean_absolute_error, name="own")]},
        {"loss": "mse", "weighted_metrics": ["mae"], "optimizer": Slow(0.1, momentum=0.5)},
    ],
    ids=["words", "functions", "objects", "wrapper", "own optimizer"],
)
def test_a_compiled_hdf5_file_of_keras_3_trains_on(compiled, tmp_path, caplog):
    model = model_of(**compiled)
    model.save(path := tmp_path / "new.h5")
    again = elman.load_model(path)
    assert not warnings_of(caplog)
    assert type(again.optimizer) is type(model.optimizer)
    assert_same_training(again, model)


def test_an_optimizer_of_another_backend_is_the_public_one(tmp_path):
    """PyTorch has optimizers of its own, which a file names by modules that other backends cannot import."""
    model = model_of(optimizer=keras.optimizers.Adam(0.01))
    file = Rewritten(model, tmp_path / "new.keras")
    file.training["optimizer"] |= {
        "module": "keras.src.backend.absent.optimizers.absent_adam",
        "registered_name": "Adam",
    }
    again = elman.load_model(file.write(keras.__version__))
    assert type(again.optimizer) is type(model.optimizer)
    assert_same_training(again, model)


# --- layers that are called with an initial state ------------------------------------------------------------------


def encoder_decoder(cell: str) -> Any:
    layer = getattr(keras.layers, cell)
    x, y = keras.Input((5, 2), name="x"), keras.Input((4, 2), name="y")
    _, *states = layer(3, return_state=True, name="encoder")(x)
    decoded = layer(3, return_sequences=True, name="decoder")(y, initial_state=states)
    again = layer(3, name="last")(decoded, initial_state=states)
    return keras.Model([x, y], again)


def in_both_directions(cell: str) -> Any:
    layer = getattr(keras.layers, cell)
    x, y = keras.Input((5, 2), name="x"), keras.Input((4, 2), name="y")
    _, *states = keras.layers.Bidirectional(layer(3, return_state=True), name="encoder")(x)
    return keras.Model([x, y], keras.layers.Bidirectional(layer(3), name="decoder")(y, initial_state=states))


def with_states_as_inputs(file: Rewritten) -> Rewritten:
    """Keras 2 wrote a call as the list of its tensors, the states after the inputs."""
    for layer in file.config["config"]["layers"]:
        calls = []
        for node in layer["inbound_nodes"]:
            inputs = node["args"][0]
            tensors = [*(inputs if isinstance(inputs, list) else [inputs]), *node["kwargs"].get("initial_state", ())]
            calls.append([[*tensor["config"]["keras_history"], {}] for tensor in tensors])
        layer["inbound_nodes"] = calls
        if len(calls[0] if calls else ()) > 1 and "build_config" in layer:
            built = layer["build_config"]
            shape = built.pop("shapes_dict")["sequences_shape"] if "shapes_dict" in built else built["input_shape"]
            built["input_shape"] = [shape, *[[None, 3]] * (len(calls[0]) - 1)]
    return file


@SUFFIXES
@pytest.mark.parametrize("kind", [encoder_decoder, in_both_directions], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("cell", CELLS)
def test_an_initial_state_of_keras_2_is_passed_on(cell, kind, suffix, tmp_path):
    model, x = kind(cell), [X, X[:, :4]]
    again = elman.load_model(with_states_as_inputs(Rewritten(model, tmp_path / f"old{suffix}")).write())
    np.testing.assert_array_equal(outputs(again, x), outputs(model, x))


# --- CuDNN layers --------------------------------------------------------------------------------------------------


def to_cudnn(weights: list[np.ndarray], gates: int) -> list[np.ndarray]:
    """The weights of one LSTM or GRU in the layout of cuDNN, after the documentation of Keras 2.

    Each gate's matrix is transposed, and the input's keeps its shape: [[0, 1, 2], [3, 4, 5]] is [[0, 3, 1], [4, 2, 5]].
    """
    kernel, recurrent_kernel, bias = weights
    kernels = [gate.T.ravel().reshape(gate.shape) for gate in np.split(kernel, gates, axis=1)]
    recurrent_kernels = [gate.T for gate in np.split(recurrent_kernel, gates, axis=1)]
    both = bias.ravel() if gates == 3 else np.concatenate([0.25 * bias, 0.75 * bias])
    return [np.concatenate(kernels, axis=1), np.concatenate(recurrent_kernels, axis=1), both]


def cudnn_file(model: Any, path: Path, gates: int) -> Path:
    file = Rewritten(model, path)

    def change(value: Any) -> Any:
        if isinstance(value, list):
            return [change(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.get("class_name") in {"LSTM", "GRU"}:
            gone = ("activation", "recurrent_activation", "use_bias", "dropout", "recurrent_dropout", "implementation")
            gone = (*gone, "reset_after", "seed", "unroll", "zero_output_for_mask")
            config = {key: v for key, v in value["config"].items() if key not in gone}
            return value | {"class_name": f"CuDNN{value['class_name']}", "config": config}
        return {key: change(item) for key, item in value.items()}

    file.config = change(file.config)
    file.write()
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as opened:
            groups = [opened["model_weights"][layer.name] for layer in model.layers if layer.name.startswith("rnn")]
            for group in groups:
                names = list(group.attrs["weight_names"])
                for i in range(0, len(names), 3):
                    new = to_cudnn([group[name][()] for name in names[i : i + 3]], gates)
                    for name, weight in zip(names[i : i + 3], new, strict=True):
                        del group[name]
                        group[name] = weight
    return path


def recurrent(cell: str, wrap: Callable[[Any], Any] = lambda layer: layer) -> Any:
    layer = getattr(keras.layers, cell)
    first = layer(3, return_sequences=True, name="rnn_1")
    layers = [first, wrap(layer(4, name="rnn_2")), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((5, 2)), *layers])
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=w.shape, scale=0.5) for w in model.get_weights()])
    return model


@pytest.mark.parametrize(("cell", "gates"), [("LSTM", 4), ("GRU", 3)])
@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
def test_cudnn_layers_become_lstm_and_gru(cell, gates, both, tmp_path):
    wrap = (lambda layer: keras.layers.Bidirectional(layer, name="rnn_both")) if both else (lambda layer: layer)
    model = recurrent(cell, wrap)
    again = elman.load_model(cudnn_file(model, tmp_path / "old.h5", gates))
    assert type(again.layers[0]) is getattr(keras.layers, cell)
    np.testing.assert_allclose(outputs(again), outputs(model), rtol=0, atol=1e-6)


def test_cudnn_layers_in_a_keras_file_are_refused(tmp_path):
    path = cudnn_file(recurrent("GRU"), tmp_path / "old.keras", 3)
    with pytest.raises(ValueError, match=r"'old\.keras' with a CuDNNLSTM or CuDNNGRU layer; expected .* as \.h5\."):
        elman.load_model(path)
