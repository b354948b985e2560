# SPDX-License-Identifier: Apache-2.0
"""Model files: as Keras loads them, and those of Keras 2, whose configs have what Keras 3 refuses.

In: what `keras.models.load_model` takes. Out: the model. A file whose config Keras 3 understands is opened as it is; of
another a copy is, with the config in the words of Keras 3. Weights are left to Keras.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from elman import layers

__all__ = ["load_model"]

_CONFIG = "config.json"  # in a .keras file
_KERAS_2 = "2."  # how its versions begin
_SIMPLE = ("SimpleRNN", "SimpleRNNCell")
_ABBREVIATIONS = ("bce", "kld", "mae", "mape", "mse", "msle")  # losses that Keras 3 does not find in an HDF5 file
_log = logging.getLogger("elman")


def load_model(
    filepath: Any,
    custom_objects: Any = None,
    compile: bool = True,  # noqa: A002  as Keras names it
    safe_mode: bool = True,
) -> Any:
    """As `keras.models.load_model`, which works too after `import elman`; and files of Keras 2.

    Their recurrent layers have arguments that Keras 3 refuses: `time_major`, `batch_input_shape`, and `implementation`
    where there is only one. What is dropped is named in one warning of the logger "elman".

    Args:
        filepath: A path of a `.keras` or `.h5` file, or what else Keras takes.
        custom_objects: Optional dictionary of names to classes or functions.
        compile: Whether to compile the model as it was.
        safe_mode: Whether to refuse a file that holds Python lambdas.

    Returns:
        The model.

    Raises:
        ValueError: If a layer in the file has `time_major=True`; and what Keras raises.

    Example:

        model = elman.load_model("model.keras")
    """
    with _readable(filepath, custom_objects or {}) as path:
        return keras.models.load_model(path, custom_objects=custom_objects, compile=compile, safe_mode=safe_mode)


# --- files ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _readable(filepath: Any, custom_objects: dict[str, Any]) -> Iterator[Any]:
    """The path itself, or that of a copy in the words of Keras 3."""
    read = _read(Path(filepath)) if isinstance(filepath, str | os.PathLike) else None
    if read is None:
        yield filepath
        return
    config, version = read
    path = Path(filepath)
    translation = _Translation(path.name, version.startswith(_KERAS_2), custom_objects)
    translated = translation.of(config)
    if warning := translation.warning():
        _log.warning(warning)
    if translated == config:
        yield filepath
        return
    if settings := translated.get("compile_config"):  # Keras 2 writes what it was not told as null
        translated["compile_config"] = {key: value for key, value in settings.items() if value is not None}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        (_copy_archive if zipfile.is_zipfile(path) else _copy_hdf5)(path, copy, json.dumps(translated))
        yield copy


def _read(path: Path) -> tuple[dict[str, Any], str] | None:
    """The model's config and the version of Keras that wrote it; `None` where Keras has to say what the file is."""
    if not path.is_file():
        return None
    if path.suffix == ".keras" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if not {_CONFIG, "metadata.json"} <= set(archive.namelist()):
                return None
            return json.loads(archive.read(_CONFIG)), json.loads(archive.read("metadata.json"))["keras_version"]
    import h5py  # Keras has it, and loads it when it needs it

    if path.suffix not in {".h5", ".hdf5"} or not h5py.is_hdf5(path):
        return None
    with h5py.File(path, "r") as file:
        config, version = (file.attrs.get(key, "") for key in ("model_config", "keras_version"))
    config, version = (text.decode() if isinstance(text, bytes) else text for text in (config, version))
    return (json.loads(config), version) if config else None


def _copy_archive(path: Path, copy: Path, config: str) -> None:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for entry in old.infolist():
            if entry.filename == _CONFIG:
                new.writestr(_CONFIG, config)
                continue
            header = zipfile.ZipInfo(entry.filename, entry.date_time)
            header.compress_type = entry.compress_type  # so that the copy is no larger than the file
            with old.open(entry) as source, new.open(header, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)


def _copy_hdf5(path: Path, copy: Path, config: str) -> None:
    import h5py

    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["model_config"] = config.encode()
        if "training_config" in file.attrs:
            settings = json.loads(file.attrs["training_config"])
            file.attrs["training_config"] = json.dumps(settings | {"loss": _in_full(settings["loss"])}).encode()


def _in_full(loss: Any) -> Any:
    """A loss of a compiled model, or some in lists and dictionaries, each by its whole name."""
    if isinstance(loss, list):
        return [_in_full(item) for item in loss]
    if isinstance(loss, dict):
        return {key: _in_full(item) for key, item in loss.items()}
    return keras.losses.get(loss).__name__ if loss in _ABBREVIATIONS else loss


# --- configs -------------------------------------------------------------------------------------------------------


class _Translation:
    """One config in the words of Keras 3, and notes of what that leaves out.

    `_dropped` has for each argument, as the warning names it, the layers that had it.
    """

    def __init__(self, file: str, by_keras_2: bool, custom_objects: dict[str, Any]) -> None:
        self._file, self._by_keras_2, self._custom_objects = file, by_keras_2, custom_objects
        self._dropped: dict[str, list[str]] = {}
        self._hard_sigmoids: list[str] = []

    def of(self, value: Any) -> Any:
        """What is at any depth of a config, translated."""
        if isinstance(value, list):
            return [self.of(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "class_name" not in value or not isinstance(value.get("config"), dict | list):
            return {key: self.of(item) for key, item in value.items()}
        kind = self._kind(value)
        if kind is keras.Sequential:
            value = value | {"config": _with_input(value["config"])}
        inner = self.of(value["config"])
        if kind is not None and isinstance(inner, dict):
            inner = self._arguments(kind, inner)
        return value | self._header(value) | {"config": inner}

    def warning(self) -> str:
        """What the user is told of; empty if nothing."""
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
        """The class of Keras or elman that a record names; `None` for the user's own and what is no layer."""
        package, _, name = record["class_name"].rpartition(">")
        if name in self._custom_objects or record.get("module", "keras").partition(".")[0] not in {"keras", "elman"}:
            return None
        kind = getattr(layers if package or record.get("registered_name") else keras.layers, name, None)
        kind = keras.Sequential if name == "Sequential" else kind
        return kind if isinstance(kind, type) and issubclass(kind, keras.Layer) else None

    def _header(self, record: dict[str, Any]) -> dict[str, Any]:
        """A functional model's, whose module in Keras 2 is none of Keras 3."""
        module = record.get("module") or ""
        if record["class_name"] == "Functional" and module.endswith("engine.functional"):
            return {"module": "keras", "class_name": "Model", "registered_name": None}
        return {}

    def _arguments(self, kind: type, config: dict[str, Any]) -> dict[str, Any]:
        """Those of one layer."""
        name = repr(config.get("name", kind.__name__))
        recurrent = issubclass(kind, keras.layers.RNN)
        if recurrent and config.get("time_major"):
            raise ValueError(
                f"load_model got {self._file!r} with time_major=True of {kind.__name__} {name}; expected "
                "time_major=False, as Keras 3 reads (batch, time, features) alone. Make the model in Keras 2 without "
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
    """A Sequential model's, with an input layer where the first layer tells the input's shape in its place."""
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
