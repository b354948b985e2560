# SPDX-License-Identifier: Apache-2.0
"""Translates configs and weights of Keras 2 to the form that Keras 3 reads.

In: a model's config as parsed from JSON, or the weights of an HDF5 file. Out: the same in the form of Keras 3, and a
sentence that names what was dropped. No file is opened here, and no model is made.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from elman import layers

Array = np.ndarray

PREFIX = "2."  # of the versions of Keras 2
_SIMPLE = ("SimpleRNN", "SimpleRNNCell")
_CUDNN = {"CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}  # both compute what Keras 3's layer does with its defaults
_BACKENDS = "keras.src.backend."  # where Keras 3 keeps a backend's own optimizers


def is_record(value: Any) -> bool:
    """True if a part of a config describes one object."""
    return isinstance(value, dict) and isinstance(value.get("class_name"), str) and "config" in value


class Translation:
    """Translates one config, and records what is dropped.

    Attributes:
        has_cudnn: True if a layer was `CuDNNLSTM` or `CuDNNGRU`, so that the file's weights need `from_cudnn`.
    """

    def __init__(self, file: str, version: str, custom_objects: dict[str, Any]) -> None:
        """Args:
        file: The file's name, for messages.
        version: The version of Keras that wrote it.
        custom_objects: As `load_model` takes them.
        """
        self._file, self._by_keras_2, self._custom_objects = file, version.startswith(PREFIX), custom_objects
        self._dropped: dict[str, list[str]] = {}  # each argument, as the warning names it, with the layers that had it
        self._hard_sigmoids: list[str] = []
        self.has_cudnn = False

    def of(self, value: Any) -> Any:
        """Translates a config, or a part of one.

        Raises:
            ValueError: If a layer has `time_major=True`.
        """
        if isinstance(value, list):
            return [self.of(item) for item in value]
        if not isinstance(value, dict):
            return value
        if not is_record(value) or not isinstance(value["config"], dict | list):
            return {key: self.of(item) for key, item in value.items()}
        kind = self._kind(value)
        if kind is keras.Sequential:
            value = value | {"config": _with_input(value["config"])}
        inner = self.of(value["config"])
        if kind is not None and isinstance(inner, dict):
            inner = self._arguments(kind, self._resets_after(value, inner))
        changed = _with_states(value, self._takes_states(value, kind)) | self._header(value) | {"config": inner}
        if "compile_config" in value:
            changed["compile_config"] = self.of(value["compile_config"])
        return value | changed

    def warning(self) -> str:
        """Names what was dropped or changes; empty if nothing."""
        sentences = []
        if self._dropped:
            texts = (f"{argument} of {', '.join(names)}" for argument, names in self._dropped.items())
            sentences.append(f"load_model drops what Keras 3 does not have from {self._file!r}: {'; '.join(texts)}.")
        if self._hard_sigmoids:
            sentences.append(
                f"{self._file!r} was written by Keras 2, whose hard_sigmoid was 0.2 x + 0.5; that of Keras 3 is "
                f"x / 6 + 0.5, so that the outputs of {', '.join(self._hard_sigmoids)} change."
            )
        return " ".join(sentences)

    def _kind(self, record: dict[str, Any]) -> type | None:
        """The class of Keras or elman that a record names; `None` for a user's own and for what is not a layer."""
        package, _, name = record["class_name"].rpartition(">")
        module = record.get("module") or "keras"
        if name in self._custom_objects or module.partition(".")[0] not in {"keras", "elman"}:
            return None
        if name == "Sequential":
            return keras.Sequential
        kind = getattr(
            layers if package or record.get("registered_name") else keras.layers, _CUDNN.get(name, name), None
        )
        return kind if isinstance(kind, type) and issubclass(kind, keras.Layer) else None

    def _takes_states(self, record: dict[str, Any], kind: type | None) -> bool:
        """True if the record's class takes `initial_state`, which Keras 2 wrote as further inputs."""
        own = self._custom_objects.get(record["class_name"].rpartition(">")[2])
        kind = kind or (own if isinstance(own, type) else None)
        return kind is not None and issubclass(kind, keras.layers.RNN | keras.layers.Bidirectional)

    def _header(self, record: dict[str, Any]) -> dict[str, Any]:
        """The module and name of a class that Keras 3 has under another one, or for another backend."""
        name, module = record["class_name"], record.get("module") or ""
        if name == "Functional" and module.endswith("engine.functional"):
            return {"module": "keras", "class_name": "Model", "registered_name": None}
        if name in _CUDNN and self._kind(record) is not None:
            self.has_cudnn = True
            return {"class_name": _CUDNN[name]}
        of_other_backend = module.startswith(_BACKENDS) and not module.startswith(_BACKENDS + keras.config.backend())
        if of_other_backend and hasattr(keras.optimizers, name):
            return {"module": "keras.optimizers", "registered_name": None}
        return {}

    @staticmethod
    def _resets_after(record: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
        """Adds the kind of GRU that cuDNN computes. CuDNNGRU has no argument for it."""
        return config | {"reset_after": True} if record["class_name"] == "CuDNNGRU" else config

    def _arguments(self, kind: type, config: dict[str, Any]) -> dict[str, Any]:
        """The arguments of one layer."""
        name = repr(config.get("name", kind.__name__))
        recurrent = issubclass(kind, keras.layers.RNN)
        if recurrent and config.get("time_major"):
            raise ValueError(
                f"load_model got {self._file!r} with time_major=True of {kind.__name__} {name}; expected "
                "time_major=False, as Keras 3 reads only (batch, time, features). Make the model in Keras 2 without "
                "time_major, copy the weights with get_weights and set_weights, save that, and transpose the input, "
                "x.transpose(1, 0, 2)."
            )
        gone = {
            "time_major": recurrent,
            "batch_input_shape": kind is not keras.layers.InputLayer,
            "implementation": kind.__name__ in _SIMPLE,
        }
        for argument in (key for key, drop in gone.items() if drop and key in config):
            text = "time_major=False" if argument == "time_major" else argument
            self._dropped.setdefault(text, []).append(name)
        if self._by_keras_2 and any(k.endswith("activation") and v == "hard_sigmoid" for k, v in config.items()):
            self._hard_sigmoids.append(name)
        kept = {key: value for key, value in config.items() if not gone.get(key)}
        if self._by_keras_2 and kind.__name__ in {"GRU", "GRUCell"}:
            kept.setdefault("reset_after", False)  # the only kind there was before the argument
        return kept


def _with_input(config: Any) -> dict[str, Any]:
    """A Sequential model's config, with an input layer where the first layer holds the input's shape instead."""
    config = {"name": "sequential", "layers": config} if isinstance(config, list) else dict(config)
    first = next(iter(config.get("layers", ())), None)
    shape = first["config"].get("batch_input_shape") if first and isinstance(first.get("config"), dict) else None
    if first is None or first["class_name"] == "InputLayer" or shape is None:
        return config
    inner = {
        "batch_input_shape": shape,
        "dtype": first["config"].get("dtype"),
        "name": f"{first['config'].get('name')}_input",
    }
    rest = {key: value for key, value in first["config"].items() if key != "batch_input_shape"}
    layer = {key: first[key] for key in ("module", "registered_name") if key in first}
    layer |= {"class_name": "InputLayer", "config": inner}
    return config | {"layers": [layer, first | {"config": rest}, *config["layers"][1:]]}


# --- initial states ------------------------------------------------------------------------------------------------


def _with_states(record: dict[str, Any], takes_states: bool) -> dict[str, Any]:
    """What changes in the record of a layer that is called with an initial state: its calls and its input's shape."""
    changed: dict[str, Any] = {}
    if not takes_states:
        return changed
    if isinstance(record.get("inbound_nodes"), list):
        changed["inbound_nodes"] = [_call(node) for node in record["inbound_nodes"]]
    shapes = (record.get("build_config") or {}).get("input_shape")
    if isinstance(shapes, list) and shapes and isinstance(shapes[0], list):
        changed["build_config"] = record["build_config"] | {"input_shape": shapes[0]}
    return changed


def _call(node: Any) -> Any:
    """A call as Keras 3 writes it. Keras 2 wrote `[[layer, node, tensor, keywords], ...]`: inputs, then states."""
    if not isinstance(node, list) or len(node) < 2:
        return node
    keywords = node[0][3] if len(node[0]) > 3 else {}
    sequences, *states = ({"class_name": "__keras_tensor__", "config": _tensor(entry)} for entry in node)
    return {"args": [sequences], "kwargs": keywords | {"initial_state": states}}


def _tensor(entry: list[Any]) -> dict[str, Any]:
    """A reference to the output of a layer. Keras takes the shape and dtype from that layer, not from here."""
    return {"shape": [None], "dtype": "float32", "keras_history": entry[:3]}


# --- weights -------------------------------------------------------------------------------------------------------


def from_cudnn(weights: list[Array]) -> list[Array]:
    """The weights of layers, with those of `CuDNNLSTM` and `CuDNNGRU` in the layout of `LSTM` and `GRU`.

    cuDNN reads each gate's matrix as `(units, features)`: Keras 2 stored the numbers in that order under the shape of
    the transposed matrix. It has two biases, one for each product. LSTM adds them up; GRU keeps both, as rows.

    Args:
        weights: Kernel `(features, gates * units)`, recurrent kernel `(units, gates * units)` and bias
            `(2 * gates * units,)` of such layers, one after the other, among other weights.

    Returns:
        As many weights. Those of other layers are unchanged.
    """
    found = list(weights)
    for i in range(len(weights) - 2):
        kernel, recurrent_kernel, bias = weights[i : i + 3]
        if not _are_cudnn(kernel.shape, recurrent_kernel.shape, bias.shape):
            continue
        gates = recurrent_kernel.shape[1] // recurrent_kernel.shape[0]
        both = bias.reshape(2, -1)
        found[i] = np.hstack([gate.reshape(gate.shape[::-1]).T for gate in np.hsplit(kernel, gates)])
        found[i + 1] = np.hstack([gate.T for gate in np.hsplit(recurrent_kernel, gates)])
        found[i + 2] = both.sum(axis=0) if gates == 4 else both
    return found


def _are_cudnn(kernel: tuple[int, ...], recurrent_kernel: tuple[int, ...], bias: tuple[int, ...]) -> bool:
    """True if three shapes are those of a CuDNN layer. No other layer of Keras has twice as many biases as columns."""
    if len(kernel) != 2 or len(recurrent_kernel) != 2:
        return False
    units, columns = recurrent_kernel
    return columns in {3 * units, 4 * units} and kernel[1] == columns and bias == (2 * columns,)
