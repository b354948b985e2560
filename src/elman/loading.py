# SPDX-License-Identifier: Apache-2.0
"""Model files: those that Keras 3 loads, those of Keras 2 whose configs it refuses, and a sentence for damaged ones.

In: what `keras.models.load_model` takes. Out: the model. A file whose config Keras 3 understands is opened as it is.
Otherwise a copy with a translated config is opened. Layers, weights and states are Keras's to load.
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
from typing import Any, NamedTuple

import keras
import numpy as np

from elman import archives, compiled, keras_2
from elman.archives import CONFIG, WEIGHTS, damaged
from elman.errors import DataError

__all__ = ["load_model"]

_LONGEST_MESSAGE = 2500  # characters of an error of Keras that is shown whole
_log = logging.getLogger("elman")


def load_model(
    filepath: Any,
    custom_objects: Any = None,
    compile: bool = True,  # noqa: A002  as Keras names it
    safe_mode: bool = True,
) -> Any:
    """Loads what `keras.models.load_model` loads, and also files of Keras 2, and HDF5 files of compiled models.

    Recurrent layers of Keras 2 have arguments that Keras 3 refuses: `time_major`, `batch_input_shape`, and
    `implementation` where there is only one. `CuDNNLSTM` and `CuDNNGRU` become `LSTM` and `GRU`. Losses, metrics and
    the optimizer with its variables are restored. What is dropped, or cannot be restored, is named in one warning of
    the logger "elman".

    Args:
        filepath: A path of a `.keras` or `.h5` file, or what else Keras takes.
        custom_objects: Optional dictionary of names to classes or functions.
        compile: Whether to compile the model as it was.
        safe_mode: Whether to refuse a file that holds Python lambdas.

    Returns:
        The model.

    Raises:
        elman.DataError: If the file is damaged, or is not what its suffix says.
        ValueError: If a layer in the file has `time_major=True`; and what Keras raises.

    Example:

        model = elman.load_model("model.keras")
    """
    options = {"custom_objects": custom_objects, "safe_mode": safe_mode}
    file = _read(Path(filepath)) if isinstance(filepath, str | os.PathLike) else None
    if file is None:
        return keras.models.load_model(filepath, compile=compile, **options)
    objects = custom_objects or {}
    translation = keras_2.Translation(file.path.name, file.version, objects)
    settings = file.settings if compile else None
    with _not_damaged(file.path), _not_too_deep(file.path), _readable(filepath, file, translation) as path:
        model = keras.models.load_model(path, compile=compile and settings is None, **options)
    sentences = [translation.warning()]
    if settings is not None:
        saved = compiled.Saved(settings, _optimizer_variables(file.path))
        reason = compiled.restore(model, saved, objects, safe_mode)
        sentences += [f"load_model of {file.path.name!r}: {reason}"] if reason else []
    if any(sentences):
        _log.warning(" ".join(filter(None, sentences)))
    return model


# --- reading -------------------------------------------------------------------------------------------------------


class _File(NamedTuple):
    """A model file without its weights.

    Attributes:
        path: The file's path.
        config: The model's config.
        version: The version of Keras that wrote it; empty if the file does not say.
        settings: The arguments of `compile`, if Keras 3 cannot read them itself; else `None`.
    """

    path: Path
    config: dict[str, Any]
    version: str
    settings: dict[str, Any] | None


def _read(path: Path) -> _File | None:
    """Reads a model file; returns `None` for anything else, which is left to Keras.

    Raises:
        DataError: If it is damaged.
    """
    if not path.is_file():
        return None
    if path.suffix == ".keras":
        return _read_archive(path)
    import h5py  # Keras has it, and loads it when it needs it

    return _read_hdf5(path) if path.suffix in {".h5", ".hdf5"} and h5py.is_hdf5(path) else None


def _read_archive(path: Path) -> _File:
    config, metadata = archives.read_texts(path)
    read, version = _config(path, config), _json(path, metadata).get("keras_version", "")
    version = version if isinstance(version, str) else ""
    settings = read.get("compile_config") if version.startswith(keras_2.PREFIX) else None
    return _File(path, read, version, settings if settings and "optimizer" in settings else None)


def _read_hdf5(path: Path) -> _File | None:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config, version, training = (
                _text(file.attrs.get(key, "")) for key in ("model_config", "keras_version", "training_config")
            )
    except (OSError, RuntimeError, ValueError) as error:  # as h5py reports what HDF5 cannot read
        raise damaged(path, f"{error}") from error
    if not config:
        return None
    settings = None
    if training and "optimizer_config" in (read := _json(path, training)):
        settings = {key: read.get(key) for key in ("loss", "metrics", "weighted_metrics", "loss_weights")}
        settings["optimizer"] = read["optimizer_config"]
    return _File(path, _config(path, config), version, settings)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _config(path: Path, text: str | bytes) -> dict[str, Any]:
    config = _json(path, text)
    if not keras_2.is_record(config):
        raise damaged(path, 'its config is not that of a model, an object with "class_name" and "config"')
    return config


def _json(path: Path, text: str | bytes) -> dict[str, Any]:
    try:
        with _not_too_deep(path):
            value = json.loads(text)
    except ValueError as error:
        raise damaged(path, f"its config is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise damaged(path, "its config is not a JSON object")
    return value


@contextlib.contextmanager
def _not_too_deep(path: Path) -> Iterator[None]:
    try:
        yield
    except RecursionError as error:
        raise DataError(
            f"{path} has a config that is nested too deep to be read; expected one that Keras wrote, of at most some "
            "hundred levels. Open a file whose origin you know."
        ) from error


def _optimizer_variables(path: Path) -> list[tuple[str, np.ndarray]]:
    """The optimizer's variables in the file's order, each with its name, which is empty in a .keras file."""
    import h5py

    if path.suffix != ".keras":
        with h5py.File(path, "r") as file:
            group = file.get("optimizer_weights", {})
            return [(name, group[name][()]) for name in _names(group, "weight_names")]
    with zipfile.ZipFile(path) as archive:
        if WEIGHTS not in archive.namelist():
            return []
        with archive.open(WEIGHTS) as entry, h5py.File(entry, "r") as file:
            group = file.get("optimizer/vars", {})
            return [("", group[key][()]) for key in sorted(group, key=int)]


def _names(group: Any, key: str) -> list[str]:
    """The names in an attribute. Keras splits a long list into `key0`, `key1` and so on."""
    if not group:
        return []
    parts = [key] if key in group.attrs else [f"{key}{i}" for i in range(len(group.attrs))]
    return [_text(name) for part in parts if part in group.attrs for name in group.attrs[part]]


@contextlib.contextmanager
def _not_damaged(path: Path) -> Iterator[None]:
    """Names what Keras and HDF5 raise of values of another kind than a model's file has; their TypeErrors and
    ValueErrors, of a class that is not known for example, stay as they are."""
    try:
        yield
    except (AttributeError, LookupError, OSError, NameError, RuntimeError) as error:
        raise DataError(
            f"{path} cannot be loaded: {type(error).__name__}: {str(error)[:500]}. It is damaged, or a class of "
            "its own raised this. Save the model again."
        ) from error
    except (TypeError, ValueError) as error:
        text = str(error)
        if len(text) <= _LONGEST_MESSAGE:
            raise
        raise DataError(  # Keras quotes the whole config, and has the reason at the end
            f"{path} cannot be loaded: {text[:200]} ... {text[-400:]} It is damaged, or a class of its own raised "
            "this. Save the model again."
        ) from error


# --- a copy in the form of Keras 3 ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _readable(filepath: Any, file: _File, translation: keras_2.Translation) -> Iterator[Any]:
    """Yields the path itself if Keras 3 can read the file, and else the path of a translated copy."""
    translated = translation.of(file.config)
    if translated == file.config:
        yield filepath
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, file.path.name)
        if file.path.suffix == ".keras":
            _copy_archive(file.path, copy, json.dumps(translated), translation)
        else:
            _copy_hdf5(file.path, copy, json.dumps(translated), translation)
        yield copy


def _copy_archive(path: Path, copy: Path, config: str, translation: keras_2.Translation) -> None:
    if translation.has_cudnn:
        raise ValueError(
            f"load_model got {path.name!r} with a CuDNNLSTM or CuDNNGRU layer; expected such layers in an .h5 file, "
            "whose weights can be converted. In Keras 2, save the model as .h5."
        )
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for entry in old.infolist():
            if entry.filename == CONFIG:
                new.writestr(CONFIG, config)
                continue
            header = zipfile.ZipInfo(entry.filename, entry.date_time)
            header.compress_type = entry.compress_type  # so that the copy is no larger than the file
            with old.open(entry) as source, new.open(header, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)


def _copy_hdf5(path: Path, copy: Path, config: str, translation: keras_2.Translation) -> None:
    import h5py

    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["model_config"] = config.encode()
        if translation.has_cudnn:
            weights = file.get("model_weights", file)
            for layer in _names(weights, "layer_names"):
                _convert_cudnn(weights[layer])


def _convert_cudnn(group: Any) -> None:
    """Writes the weights of a layer and its parts in the layout of Keras 3."""
    names = _names(group, "weight_names")
    weights = [group[name][()] for name in names]
    for name, old, new in zip(names, weights, keras_2.from_cudnn(weights), strict=True):
        if new is not old:
            del group[name]  # its shape may change
            group[name] = new
